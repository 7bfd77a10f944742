"""Schedules, event triggers, and each of their firings."""

from typing import Final

from sqlalchemy import Boolean, Column, Index, Integer, String, Table, Text

from cogwork.records.columns import Instant, Plain
from cogwork.records.tables.base import METADATA, PREFIX

SCHEDULES: Final = Table(
    f"{PREFIX}schedules",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("workflow", String(255), nullable=False),
    Column("version", String(64), nullable=False, server_default=""),
    Column("source", String(16), nullable=False),
    Column("definition", Plain, nullable=False),
    Column("input", Plain, nullable=False),
    Column("options", Plain, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("after", Instant, nullable=False),
    Column("next_at", Instant, index=True),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
)
"""``after`` is the instant up to which all firings have been dealt with; ``source`` is ``engine`` or ``spec``."""
TRIGGERS: Final = Table(
    f"{PREFIX}triggers",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("workflow", String(255), nullable=False),
    Column("version", String(64), nullable=False, server_default=""),
    Column("source", String(16), nullable=False),
    Column("kind", String(32), nullable=False, index=True),
    Column("definition", Plain, nullable=False),
    Column("mapping", Plain, nullable=False),
    Column("options", Plain, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("position", Plain),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
)
"""``position`` is how far a source of events has been read."""
FIRINGS: Final = Table(
    f"{PREFIX}firings",
    METADATA,
    Column("id", String(255), primary_key=True),
    Column("source_id", String(64), nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("fired_at", Instant, nullable=False),
    Column("outcome", String(32), nullable=False),
    Column("detail", Text, nullable=False, server_default=""),
    Column("execution_id", String(255)),
    Column("attempt", Integer, nullable=False, server_default="1"),
    Index("ix_cogwork_firings_source", "source_id", "due_at", "id"),
)
"""The id follows from the source and the instant or event, so that a firing is dealt with once."""
