"""Registered agents and hand-overs."""

from typing import Final

from sqlalchemy import Column, String, Table

from cogwork.records.columns import Instant, Plain
from cogwork.records.tables.base import METADATA, PREFIX

AGENTS: Final = Table(
    f"{PREFIX}agents",
    METADATA,
    Column("id", String(255), primary_key=True),
    Column("status", String(16), nullable=False),
    Column("record", Plain, nullable=False),
    Column("updated_at", Instant, nullable=False),
)
HANDOFFS: Final = Table(
    f"{PREFIX}handoffs",
    METADATA,
    Column("id", String(512), primary_key=True),
    Column("source", String(255), nullable=False, index=True),
    Column("target", String(255), nullable=False, index=True),
    Column("record", Plain, nullable=False),
    Column("updated_at", Instant, nullable=False),
)
