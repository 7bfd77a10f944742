"""The workers that have put themselves down."""

from typing import Final

from sqlalchemy import Column, Integer, String, Table

from cogwork.records.columns import Instant, Plain
from cogwork.records.tables.base import METADATA, PREFIX

WORKERS: Final = Table(
    f"{PREFIX}workers",
    METADATA,
    Column("id", String(255), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("version", String(64), nullable=False, server_default=""),
    Column("labels", Plain, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("beat_at", Instant, nullable=False, index=True),
)
"""``status`` is ``running`` or ``draining``; a worker that ends in order removes its row."""
