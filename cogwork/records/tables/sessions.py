"""Sessions, conversations with their topics and messages."""

from typing import Final

from sqlalchemy import BigInteger, Column, Float, Index, Integer, String, Table, UniqueConstraint

from cogwork.records.columns import Instant, Plain, Words
from cogwork.records.tables.base import METADATA, PREFIX

SESSIONS: Final = Table(
    f"{PREFIX}sessions",
    METADATA,
    Column("id", String(255), primary_key=True),
    Column("user_id", String(255)),
    Column("status", String(16), nullable=False),
    Column("ttl_seconds", Float),
    Column("expires_at", Instant, index=True),
    Column("mode", String(32)),
    Column("preferences", Plain, nullable=False),
    Column("state", Plain, nullable=False),
    Column("state_revision", BigInteger, nullable=False, server_default="0"),
    Column("metadata", Plain, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("active_at", Instant, nullable=False),
    Column("ended_at", Instant, index=True),
    Index("ix_cogwork_sessions_page", "created_at", "id"),
    Index("ix_cogwork_sessions_user", "user_id", "created_at", "id"),
)
"""``status`` is ``active``, ``ended`` or ``expired``; what is ``active`` and past ``expires_at`` counts as expired."""
CONVERSATIONS: Final = Table(
    f"{PREFIX}conversations",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("session_id", String(255), nullable=False),
    Column("title", String(255), nullable=False, server_default=""),
    Column("topic_id", String(64)),
    Column("history_limit", Integer),
    Column("context", Plain, nullable=False),
    Column("summary", Words, nullable=False, server_default=""),
    Column("summarised_to", BigInteger, nullable=False, server_default="0"),
    Column("summarised_by", String(64), nullable=False, server_default=""),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Index("ix_cogwork_conversations_session", "session_id", "created_at", "id"),
)
TOPICS: Final = Table(
    f"{PREFIX}topics",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("conversation_id", String(64), nullable=False, index=True),
    Column("topic", String(255), nullable=False),
    Column("summary", Words, nullable=False, server_default=""),
    Column("summarised_to", BigInteger, nullable=False, server_default="0"),
    Column("summarised_by", String(64), nullable=False, server_default=""),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("conversation_id", "topic"),
)
"""A conversation's other threads: each has its own summary, as the conversation has for what is said outside of all topics."""
MESSAGES: Final = Table(
    f"{PREFIX}messages",
    METADATA,
    Column("conversation_id", String(64), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("topic_id", String(64)),
    Column("role", String(16), nullable=False),
    Column("content", Words, nullable=False),
    Column("at", Instant, nullable=False),
    Column("execution_id", String(255)),
    Column("metadata", Plain, nullable=False),
    Index("ix_cogwork_messages_topic", "conversation_id", "topic_id", "number"),
)
