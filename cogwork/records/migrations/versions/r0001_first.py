"""The schema of the first release."""

import sqlalchemy as sa
from alembic import op

from cogwork.records.columns import Instant, Plain
from cogwork.records.pages import new_signing_key
from cogwork.records.tables.payloads import FACTS

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "cogwork_agent_capabilities",
        sa.Column("agent_id", sa.String(length=255), nullable=False),
        sa.Column("capability", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("agent_id", "capability", name=op.f("pk_cogwork_agent_capabilities")),
    )
    op.create_index(
        "ix_cogwork_agent_capabilities_capability",
        "cogwork_agent_capabilities",
        ["capability", "agent_id"],
        unique=False,
    )
    op.create_table(
        "cogwork_agents",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("record", Plain(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cogwork_agents")),
    )
    op.create_index(op.f("ix_cogwork_agents_name"), "cogwork_agents", ["name"], unique=False)
    op.create_index("ix_cogwork_agents_page", "cogwork_agents", ["created_at", "id"], unique=False)
    op.create_index("ix_cogwork_agents_status", "cogwork_agents", ["status", "created_at", "id"], unique=False)
    op.create_table(
        "cogwork_batches",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), server_default="", nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("options", Plain(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cogwork_batches")),
    )
    op.create_table(
        "cogwork_bundles",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("spec", sa.String(length=64), nullable=False),
        sa.Column("kept_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_cogwork_bundles")),
    )
    op.create_table(
        "cogwork_conversations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=255), nullable=False),
        sa.Column("title", sa.String(length=255), server_default="", nullable=False),
        sa.Column("topic_id", sa.String(length=64), nullable=True),
        sa.Column("history_limit", sa.Integer(), nullable=True),
        sa.Column("context", Plain(), nullable=False),
        sa.Column("summary", sa.Text(), server_default="", nullable=False),
        sa.Column("summarised_to", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("summarised_by", sa.String(length=64), server_default="", nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cogwork_conversations")),
    )
    op.create_index(
        "ix_cogwork_conversations_session", "cogwork_conversations", ["session_id", "created_at", "id"], unique=False
    )
    op.create_table(
        "cogwork_events",
        sa.Column("execution_id", sa.String(length=255), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("step", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("data", Plain(), nullable=False),
        sa.PrimaryKeyConstraint("execution_id", "seq", name=op.f("pk_cogwork_events")),
    )
    op.create_table(
        "cogwork_execution_tags",
        sa.Column("execution_id", sa.String(length=255), nullable=False),
        sa.Column("tag", sa.String(length=128), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("execution_id", "tag", name=op.f("pk_cogwork_execution_tags")),
    )
    op.create_index(
        "ix_cogwork_execution_tags_tag", "cogwork_execution_tags", ["tag", "created_at", "execution_id"], unique=False
    )
    op.create_table(
        "cogwork_executions",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("thread", sa.String(length=255), nullable=False),
        sa.Column("run", sa.String(length=64), server_default="", nullable=False),
        sa.Column("workflow", sa.String(length=255), nullable=False),
        sa.Column("workflow_id", sa.String(length=64), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("digest", sa.String(length=64), server_default="", nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), server_default="", nullable=False),
        sa.Column("rev", sa.Integer(), server_default="0", nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("tenant", sa.String(length=255), server_default="", nullable=False),
        sa.Column("session_id", sa.String(length=255), nullable=True),
        sa.Column("user_id", sa.String(length=255), nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("request", sa.String(length=64), nullable=True),
        sa.Column("parent_id", sa.String(length=255), nullable=True),
        sa.Column("batch_id", sa.String(length=64), nullable=True),
        sa.Column("origin", sa.String(length=255), server_default="", nullable=False),
        sa.Column("options", Plain(), nullable=False),
        sa.Column("metadata", Plain(), nullable=False),
        sa.Column("input", sa.String(length=64), nullable=True),
        sa.Column("output", sa.String(length=64), nullable=True),
        sa.Column("error", Plain(), nullable=True),
        sa.Column("questions", Plain(), nullable=True),
        sa.Column("usage", Plain(), nullable=True),
        sa.Column("resources", Plain(), nullable=True),
        sa.Column("segment", sa.Integer(), server_default="0", nullable=False),
        sa.Column("owner", sa.String(length=64), server_default="", nullable=False),
        sa.Column("worker", sa.String(length=255), server_default="", nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("started_at", Instant(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.Column("not_before", Instant(), nullable=True),
        sa.Column("deadline", Instant(), nullable=True),
        sa.Column("wake_at", Instant(), nullable=True),
        sa.Column("kept", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cogwork_executions")),
    )
    op.create_index(
        "ix_cogwork_executions_batch",
        "cogwork_executions",
        ["batch_id", "created_at", "id"],
        unique=False,
        sqlite_where=sa.text("batch_id IS NOT NULL"),
        postgresql_where=sa.text("batch_id IS NOT NULL"),
    )
    op.create_index(op.f("ix_cogwork_executions_digest"), "cogwork_executions", ["digest"], unique=False)
    op.create_index(
        "ix_cogwork_executions_ended",
        "cogwork_executions",
        ["ended_at"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NOT NULL"),
        postgresql_where=sa.text("ended_at IS NOT NULL"),
    )
    op.create_index(
        "ix_cogwork_executions_input",
        "cogwork_executions",
        ["input"],
        unique=False,
        sqlite_where=sa.text("input IS NOT NULL"),
        postgresql_where=sa.text("input IS NOT NULL"),
    )
    op.create_index(
        "ix_cogwork_executions_origin",
        "cogwork_executions",
        ["origin"],
        unique=False,
        sqlite_where=sa.text("status IN ('pending', 'running', 'paused')"),
        postgresql_where=sa.text("status IN ('pending', 'running', 'paused')"),
    )
    op.create_index(
        "ix_cogwork_executions_output",
        "cogwork_executions",
        ["output"],
        unique=False,
        sqlite_where=sa.text("output IS NOT NULL"),
        postgresql_where=sa.text("output IS NOT NULL"),
    )
    op.create_index("ix_cogwork_executions_page", "cogwork_executions", ["created_at", "id"], unique=False)
    op.create_index(
        "ix_cogwork_executions_parent",
        "cogwork_executions",
        ["parent_id", "created_at", "id"],
        unique=False,
        sqlite_where=sa.text("parent_id IS NOT NULL"),
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    op.create_index(op.f("ix_cogwork_executions_run"), "cogwork_executions", ["run"], unique=False)
    op.create_index(
        "ix_cogwork_executions_session",
        "cogwork_executions",
        ["session_id", "created_at", "id"],
        unique=False,
        sqlite_where=sa.text("session_id IS NOT NULL"),
        postgresql_where=sa.text("session_id IS NOT NULL"),
    )
    op.create_index("ix_cogwork_executions_status", "cogwork_executions", ["status", "created_at", "id"], unique=False)
    op.create_index("ix_cogwork_executions_tenant", "cogwork_executions", ["tenant", "created_at", "id"], unique=False)
    op.create_index(op.f("ix_cogwork_executions_thread"), "cogwork_executions", ["thread"], unique=False)
    op.create_index(
        "ix_cogwork_executions_user",
        "cogwork_executions",
        ["user_id", "created_at", "id"],
        unique=False,
        sqlite_where=sa.text("user_id IS NOT NULL"),
        postgresql_where=sa.text("user_id IS NOT NULL"),
    )
    op.create_index(
        "ix_cogwork_executions_version",
        "cogwork_executions",
        ["workflow_id", "version", "created_at", "id"],
        unique=False,
        sqlite_where=sa.text("workflow_id IS NOT NULL"),
        postgresql_where=sa.text("workflow_id IS NOT NULL"),
    )
    op.create_index(
        "ix_cogwork_executions_wake",
        "cogwork_executions",
        ["wake_at"],
        unique=False,
        sqlite_where=sa.text("wake_at IS NOT NULL"),
        postgresql_where=sa.text("wake_at IS NOT NULL"),
    )
    op.create_index(
        "ix_cogwork_executions_workflow", "cogwork_executions", ["workflow", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_cogwork_executions_workflow_id",
        "cogwork_executions",
        ["workflow_id", "created_at", "id"],
        unique=False,
        sqlite_where=sa.text("workflow_id IS NOT NULL"),
        postgresql_where=sa.text("workflow_id IS NOT NULL"),
    )
    op.create_index(
        "ix_cogwork_executions_workflow_id_status",
        "cogwork_executions",
        ["workflow_id", "status", "created_at", "id"],
        unique=False,
        sqlite_where=sa.text("workflow_id IS NOT NULL"),
        postgresql_where=sa.text("workflow_id IS NOT NULL"),
    )
    op.create_index(
        "ix_cogwork_executions_workflow_status",
        "cogwork_executions",
        ["workflow", "status", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "uq_cogwork_executions_idempotency",
        "cogwork_executions",
        ["tenant", "idempotency_key"],
        unique=True,
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_table(
        "cogwork_facts",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cogwork_facts")),
    )
    op.create_table(
        "cogwork_firings",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("source_id", sa.String(length=64), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("fired_at", Instant(), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("execution_id", sa.String(length=255), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("ordered", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("request", Plain(), nullable=True),
        sa.Column("wake_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cogwork_firings")),
    )
    op.create_index("ix_cogwork_firings_due", "cogwork_firings", ["due_at"], unique=False)
    op.create_index("ix_cogwork_firings_source", "cogwork_firings", ["source_id", "due_at", "id"], unique=False)
    op.create_index(
        "ix_cogwork_firings_wake",
        "cogwork_firings",
        ["wake_at"],
        unique=False,
        sqlite_where=sa.text("wake_at IS NOT NULL"),
        postgresql_where=sa.text("wake_at IS NOT NULL"),
    )
    op.create_table(
        "cogwork_handoffs",
        sa.Column("id", sa.String(length=512), nullable=False),
        sa.Column("source", sa.String(length=255), nullable=False),
        sa.Column("target", sa.String(length=255), nullable=False),
        sa.Column("record", Plain(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cogwork_handoffs")),
    )
    op.create_index("ix_cogwork_handoffs_page", "cogwork_handoffs", ["created_at", "id"], unique=False)
    op.create_index("ix_cogwork_handoffs_source", "cogwork_handoffs", ["source", "created_at", "id"], unique=False)
    op.create_index("ix_cogwork_handoffs_target", "cogwork_handoffs", ["target", "created_at", "id"], unique=False)
    op.create_table(
        "cogwork_label_moves",
        sa.Column("workflow_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("from_version", sa.Integer(), nullable=True),
        sa.Column("to_version", sa.Integer(), nullable=True),
        sa.Column("moved_at", Instant(), nullable=False),
        sa.Column("author", sa.String(length=255), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("workflow_id", "number", name=op.f("pk_cogwork_label_moves")),
    )
    op.create_table(
        "cogwork_labels",
        sa.Column("workflow_id", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("moved_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("workflow_id", "label", name=op.f("pk_cogwork_labels")),
    )
    op.create_table(
        "cogwork_messages",
        sa.Column("conversation_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("topic_id", sa.String(length=64), nullable=True),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("execution_id", sa.String(length=255), nullable=True),
        sa.Column("metadata", Plain(), nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", "number", name=op.f("pk_cogwork_messages")),
        sa.UniqueConstraint("id", name=op.f("uq_cogwork_messages_id")),
    )
    op.create_index(
        "ix_cogwork_messages_topic", "cogwork_messages", ["conversation_id", "topic_id", "number"], unique=False
    )
    op.create_table(
        "cogwork_payloads",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("encoding", sa.String(length=8), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("stored_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_cogwork_payloads")),
    )
    op.create_index(op.f("ix_cogwork_payloads_stored_at"), "cogwork_payloads", ["stored_at"], unique=False)
    op.create_table(
        "cogwork_schedules",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("workflow", sa.String(length=255), nullable=False),
        sa.Column("version", sa.String(length=64), server_default="", nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("definition", Plain(), nullable=False),
        sa.Column("input", Plain(), nullable=False),
        sa.Column("options", Plain(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("after", Instant(), nullable=False),
        sa.Column("next_at", Instant(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cogwork_schedules")),
        sa.UniqueConstraint("name", name=op.f("uq_cogwork_schedules_name")),
    )
    op.create_index(op.f("ix_cogwork_schedules_next_at"), "cogwork_schedules", ["next_at"], unique=False)
    op.create_table(
        "cogwork_segments",
        sa.Column("execution_id", sa.String(length=255), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("command", Plain(), nullable=False),
        sa.Column("queued_at", Instant(), nullable=False),
        sa.Column("started_at", Instant(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("stuck", sa.Integer(), server_default="0", nullable=False),
        sa.Column("checkpoint", sa.String(length=255), server_default="", nullable=False),
        sa.Column("worker", sa.String(length=255), server_default="", nullable=False),
        sa.Column("outcome", sa.String(length=64), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("execution_id", "number", name=op.f("pk_cogwork_segments")),
    )
    op.create_table(
        "cogwork_sessions",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("ttl_seconds", sa.Float(), nullable=True),
        sa.Column("expires_at", Instant(), nullable=True),
        sa.Column("mode", sa.String(length=32), nullable=True),
        sa.Column("preferences", Plain(), nullable=False),
        sa.Column("state", Plain(), nullable=False),
        sa.Column("state_revision", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("metadata", Plain(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.Column("active_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cogwork_sessions")),
    )
    op.create_index(op.f("ix_cogwork_sessions_ended_at"), "cogwork_sessions", ["ended_at"], unique=False)
    op.create_index(op.f("ix_cogwork_sessions_expires_at"), "cogwork_sessions", ["expires_at"], unique=False)
    op.create_index("ix_cogwork_sessions_page", "cogwork_sessions", ["created_at", "id"], unique=False)
    op.create_index("ix_cogwork_sessions_user", "cogwork_sessions", ["user_id", "created_at", "id"], unique=False)
    op.create_table(
        "cogwork_steps",
        sa.Column("execution_id", sa.String(length=255), nullable=False),
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("run", sa.String(length=64), server_default="", nullable=False),
        sa.Column("node", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("workflow", sa.String(length=255), nullable=False),
        sa.Column("workflow_id", sa.String(length=64), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("tool", sa.String(length=255), nullable=True),
        sa.Column("model", sa.String(length=255), nullable=True),
        sa.Column("agent", sa.String(length=255), nullable=True),
        sa.Column("started_at", Instant(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cost_usd", sa.Float(), server_default="0", nullable=False),
        sa.Column("error_class", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("execution_id", "path", name=op.f("pk_cogwork_steps")),
    )
    op.create_index("ix_cogwork_steps_agent", "cogwork_steps", ["agent", "ended_at"], unique=False)
    op.create_index("ix_cogwork_steps_ended", "cogwork_steps", ["ended_at"], unique=False)
    op.create_index("ix_cogwork_steps_model", "cogwork_steps", ["model", "ended_at"], unique=False)
    op.create_index("ix_cogwork_steps_tool", "cogwork_steps", ["tool", "ended_at"], unique=False)
    op.create_index("ix_cogwork_steps_workflow", "cogwork_steps", ["workflow", "ended_at"], unique=False)
    op.create_table(
        "cogwork_topics",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("conversation_id", sa.String(length=64), nullable=False),
        sa.Column("topic", sa.String(length=255), nullable=False),
        sa.Column("summary", sa.Text(), server_default="", nullable=False),
        sa.Column("summarised_to", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("summarised_by", sa.String(length=64), server_default="", nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cogwork_topics")),
        sa.UniqueConstraint("conversation_id", "topic", name=op.f("uq_cogwork_topics_conversation_id_topic")),
    )
    op.create_index(op.f("ix_cogwork_topics_conversation_id"), "cogwork_topics", ["conversation_id"], unique=False)
    op.create_table(
        "cogwork_triggers",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("workflow", sa.String(length=255), nullable=False),
        sa.Column("version", sa.String(length=64), server_default="", nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("definition", Plain(), nullable=False),
        sa.Column("mapping", Plain(), nullable=False),
        sa.Column("options", Plain(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("position", Plain(), nullable=True),
        sa.Column("next_at", Instant(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cogwork_triggers")),
        sa.UniqueConstraint("name", name=op.f("uq_cogwork_triggers_name")),
    )
    op.create_index(op.f("ix_cogwork_triggers_kind"), "cogwork_triggers", ["kind"], unique=False)
    op.create_index(op.f("ix_cogwork_triggers_next_at"), "cogwork_triggers", ["next_at"], unique=False)
    op.create_table(
        "cogwork_uses",
        sa.Column("workflow_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("depth", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("workflow_id", "version", "kind", "name", name=op.f("pk_cogwork_uses")),
    )
    op.create_index("ix_cogwork_uses_name", "cogwork_uses", ["kind", "name"], unique=False)
    op.create_table(
        "cogwork_versions",
        sa.Column("workflow_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("spec", sa.String(length=64), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("arguments", Plain(), nullable=True),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("author", sa.String(length=255), server_default="", nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("workflow_id", "version", name=op.f("pk_cogwork_versions")),
    )
    op.create_index(op.f("ix_cogwork_versions_digest"), "cogwork_versions", ["digest"], unique=False)
    op.create_table(
        "cogwork_workers",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=64), server_default="", nullable=False),
        sa.Column("labels", Plain(), nullable=False),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("beat_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cogwork_workers")),
    )
    op.create_index(op.f("ix_cogwork_workers_beat_at"), "cogwork_workers", ["beat_at"], unique=False)
    op.create_table(
        "cogwork_workflow_tags",
        sa.Column("workflow_id", sa.String(length=64), nullable=False),
        sa.Column("tag", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("workflow_id", "tag", name=op.f("pk_cogwork_workflow_tags")),
    )
    op.create_index("ix_cogwork_workflow_tags_tag", "cogwork_workflow_tags", ["tag", "workflow_id"], unique=False)
    op.create_table(
        "cogwork_workflows",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("title", sa.String(length=255), server_default="", nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("latest", sa.Integer(), nullable=False),
        sa.Column("metadata", Plain(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.Column("deleted_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cogwork_workflows")),
    )
    op.create_index("ix_cogwork_workflows_page", "cogwork_workflows", ["created_at", "id"], unique=False)
    op.create_index("ix_cogwork_workflows_status", "cogwork_workflows", ["status", "created_at", "id"], unique=False)
    op.create_index(
        "uq_cogwork_workflows_name",
        "cogwork_workflows",
        ["name"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.bulk_insert(FACTS, [new_signing_key()])
