"""Schedules, event triggers, and each of their firings."""

from typing import Final

from sqlalchemy import Boolean, Column, Index, Integer, String, Table, text

from cogwork.records.columns import Instant, Plain, Words
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
    Column("next_at", Instant, index=True),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
)
"""``position`` is how far a source of events has been read, ``next_at`` when it is looked at again."""
FIRINGS: Final = Table(
    f"{PREFIX}firings",
    METADATA,
    Column("id", String(255), primary_key=True),
    Column("source_id", String(64), nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("fired_at", Instant, nullable=False),
    Column("outcome", String(32), nullable=False),
    Column("detail", Words, nullable=False, server_default=""),
    Column("execution_id", String(255)),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("ordered", Boolean, nullable=False, server_default=text("false")),
    Column("request", Plain),
    Column("wake_at", Instant),
    Index("ix_cogwork_firings_source", "source_id", "due_at", "id"),
    Index("ix_cogwork_firings_due", "due_at"),
    Index(
        "ix_cogwork_firings_wake",
        "wake_at",
        sqlite_where=text("wake_at IS NOT NULL"),
        postgresql_where=text("wake_at IS NOT NULL"),
    ),
)
"""The id follows from the source and the instant or event, so that a firing is dealt with once.

``request`` is what is to be started and ``wake_at`` when that is tried (again); both are null once the firing is settled.
``ordered`` firings wait for the earlier ones of their source."""
