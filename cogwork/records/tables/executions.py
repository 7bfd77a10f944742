"""Executions, their stretches, steps and events."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, String, Table, text

from cogwork.records.columns import Instant, Plain, Words
from cogwork.records.tables.base import METADATA, PREFIX


def _of_some(name: str, first: str, *others: str) -> Index:
    """An index of the executions that have something in the first of its columns: most have no session, batch or parent."""
    there = text(f"{first} IS NOT NULL")
    return Index(f"ix_cogwork_executions_{name}", first, *others, sqlite_where=there, postgresql_where=there)


EXECUTIONS: Final = Table(
    f"{PREFIX}executions",
    METADATA,
    Column("id", String(255), primary_key=True),
    Column("thread", String(255), nullable=False, index=True),
    Column("run", String(64), nullable=False, server_default="", index=True),
    Column("workflow", String(255), nullable=False),
    Column("workflow_id", String(64)),
    Column("version", Integer),
    Column("digest", String(64), nullable=False, server_default="", index=True),
    Column("status", String(16), nullable=False),
    Column("reason", String(64), nullable=False, server_default=""),
    Column("rev", Integer, nullable=False, server_default="0"),
    Column("mode", String(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("tenant", String(255), nullable=False, server_default=""),
    Column("session_id", String(255)),
    Column("user_id", String(255)),
    Column("idempotency_key", String(255)),
    Column("request", String(64)),
    Column("parent_id", String(255)),
    Column("batch_id", String(64)),
    Column("origin", String(255), nullable=False, server_default=""),
    Column("options", Plain, nullable=False),
    Column("metadata", Plain, nullable=False),
    Column("input", String(64)),
    Column("output", String(64)),
    Column("error", Plain),
    Column("questions", Plain),
    Column("usage", Plain),
    Column("resources", Plain),
    Column("segment", Integer, nullable=False, server_default="0"),
    Column("owner", String(64), nullable=False, server_default=""),
    Column("worker", String(255), nullable=False, server_default=""),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("ended_at", Instant),
    Column("updated_at", Instant, nullable=False),
    Column("not_before", Instant),
    Column("deadline", Instant),
    Column("wake_at", Instant),
    Column("kept", Boolean, nullable=False, server_default=text("true")),
    Index("ix_cogwork_executions_page", "created_at", "id"),
    Index("ix_cogwork_executions_workflow", "workflow", "created_at", "id"),
    Index("ix_cogwork_executions_workflow_status", "workflow", "status", "created_at", "id"),
    _of_some("version", "workflow_id", "version", "created_at", "id"),
    Index("ix_cogwork_executions_status", "status", "created_at", "id"),
    Index("ix_cogwork_executions_tenant", "tenant", "created_at", "id"),
    _of_some("workflow_id", "workflow_id", "created_at", "id"),
    _of_some("workflow_id_status", "workflow_id", "status", "created_at", "id"),
    *(_of_some(whose, f"{whose}_id", "created_at", "id") for whose in ("session", "user", "batch", "parent")),
    Index(
        "ix_cogwork_executions_origin",
        "origin",
        sqlite_where=text("status IN ('pending', 'running', 'paused')"),
        postgresql_where=text("status IN ('pending', 'running', 'paused')"),
    ),
    Index(
        "uq_cogwork_executions_idempotency",
        "tenant",
        "idempotency_key",
        unique=True,
        sqlite_where=text("idempotency_key IS NOT NULL"),
        postgresql_where=text("idempotency_key IS NOT NULL"),
    ),
    *(_of_some(column.removesuffix("_at"), column) for column in ("wake_at", "input", "output", "ended_at")),
)
"""One row per execution. ``thread`` is LangGraph's, ``run`` the run's id on it; ``rev`` counts the moves of the status;
``segment`` the stretches between rests; ``owner`` is the token of whoever may move it on; ``input`` and ``output`` are payloads;
``request`` is the digest of what was asked for under the idempotency key; ``kept`` is false once its checkpoints are gone."""
EXECUTION_TAGS: Final = Table(
    f"{PREFIX}execution_tags",
    METADATA,
    Column("execution_id", String(255), primary_key=True),
    Column("tag", String(128), primary_key=True),
    Column("created_at", Instant, nullable=False),
    Index("ix_cogwork_execution_tags_tag", "tag", "created_at", "execution_id"),
)
SEGMENTS: Final = Table(
    f"{PREFIX}segments",
    METADATA,
    Column("execution_id", String(255), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("command", Plain, nullable=False),
    Column("queued_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("ended_at", Instant),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("stuck", Integer, nullable=False, server_default="0"),
    Column("checkpoint", String(255), nullable=False, server_default=""),
    Column("worker", String(255), nullable=False, server_default=""),
    Column("outcome", String(64), nullable=False, server_default=""),
)
"""A stretch of an execution between two rests; ``command`` says what it begins with. ``stuck`` counts the attempts in a row that
began at the same ``checkpoint``."""
BUNDLES: Final = Table(
    f"{PREFIX}bundles",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("spec", String(64), nullable=False),
    Column("kept_at", Instant, nullable=False),
)
"""What executions began with: the digest of a workflow and all that it uses, and the payload that holds their documents."""
EVENTS: Final = Table(
    f"{PREFIX}events",
    METADATA,
    Column("execution_id", String(255), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("step", String(1024), nullable=False, server_default=""),
    Column("at", Instant, nullable=False),
    Column("data", Plain, nullable=False),
)
STEPS: Final = Table(
    f"{PREFIX}steps",
    METADATA,
    Column("execution_id", String(255), primary_key=True),
    Column("path", String(1024), primary_key=True),
    Column("run", String(64), nullable=False, server_default=""),
    Column("node", String(255), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("status", String(16), nullable=False),
    Column("cause", Words),
    Column("workflow", String(255), nullable=False),
    Column("workflow_id", String(64)),
    Column("version", Integer),
    Column("tool", String(255)),
    Column("model", String(255)),
    Column("agent", String(255)),
    Column("started_at", Instant),
    Column("ended_at", Instant),
    Column("seconds", Float),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("input_tokens", BigInteger, nullable=False, server_default="0"),
    Column("output_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cost_usd", Float, nullable=False, server_default="0"),
    Column("error_class", String(32)),
    Index("ix_cogwork_steps_workflow", "workflow", "ended_at"),
    Index("ix_cogwork_steps_agent", "agent", "ended_at"),
    Index("ix_cogwork_steps_tool", "tool", "ended_at"),
    Index("ix_cogwork_steps_model", "model", "ended_at"),
    Index("ix_cogwork_steps_ended", "ended_at"),
)
"""What the metrics are computed from: one row per settled step instance of the latest run."""
BATCHES: Final = Table(
    f"{PREFIX}batches",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("name", String(255), nullable=False, server_default=""),
    Column("total", Integer, nullable=False),
    Column("options", Plain, nullable=False),
    Column("created_at", Instant, nullable=False),
)
