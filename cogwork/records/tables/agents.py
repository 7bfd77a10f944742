"""Registered agents and hand-overs."""

from typing import Final

from sqlalchemy import Column, Index, String, Table

from cogwork.records.columns import Instant, Plain
from cogwork.records.tables.base import METADATA, PREFIX

AGENTS: Final = Table(
    f"{PREFIX}agents",
    METADATA,
    Column("id", String(255), primary_key=True),
    Column("name", String(255), nullable=False, index=True),
    Column("status", String(16), nullable=False),
    Column("record", Plain, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Index("ix_cogwork_agents_page", "created_at", "id"),
    Index("ix_cogwork_agents_status", "status", "created_at", "id"),
)
"""``status`` is ``active`` or ``archived``; ``created_at`` when an agent of this id was first registered."""
AGENT_CAPABILITIES: Final = Table(
    f"{PREFIX}agent_capabilities",
    METADATA,
    Column("agent_id", String(255), primary_key=True),
    Column("capability", String(255), primary_key=True),
    Index("ix_cogwork_agent_capabilities_capability", "capability", "agent_id"),
)
HANDOFFS: Final = Table(
    f"{PREFIX}handoffs",
    METADATA,
    Column("id", String(512), primary_key=True),
    Column("source", String(255), nullable=False),
    Column("target", String(255), nullable=False),
    Column("record", Plain, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Index("ix_cogwork_handoffs_page", "created_at", "id"),
    Index("ix_cogwork_handoffs_source", "source", "created_at", "id"),
    Index("ix_cogwork_handoffs_target", "target", "created_at", "id"),
)
