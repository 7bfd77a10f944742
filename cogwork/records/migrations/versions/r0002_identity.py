"""Tokens, and the audit log that only grows."""

import sqlalchemy as sa
from alembic import op

from cogwork.records.columns import Instant, Plain

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

REFUSED = "the audit log only grows: its rows are neither changed nor taken away"
ON_SQLITE = (
    f"""CREATE TRIGGER cogwork_audit_unchanged BEFORE UPDATE ON cogwork_audit
    BEGIN SELECT RAISE(ABORT, '{REFUSED}'); END""",
    f"""CREATE TRIGGER cogwork_audit_kept BEFORE DELETE ON cogwork_audit
    BEGIN SELECT RAISE(ABORT, '{REFUSED}'); END""",
    # INSERT OR REPLACE takes the old row away without asking the trigger above.
    f"""CREATE TRIGGER cogwork_audit_not_replaced BEFORE INSERT ON cogwork_audit
    WHEN EXISTS (SELECT 1 FROM cogwork_audit WHERE seq = NEW.seq)
    BEGIN SELECT RAISE(ABORT, '{REFUSED}'); END""",
    f"""CREATE TRIGGER cogwork_audit_head_kept BEFORE DELETE ON cogwork_audit_head
    BEGIN SELECT RAISE(ABORT, '{REFUSED}'); END""",
)
ON_POSTGRESQL = (
    f"""CREATE FUNCTION cogwork_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION '{REFUSED}'; END $$""",
    """CREATE TRIGGER cogwork_audit_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON cogwork_audit
    FOR EACH STATEMENT EXECUTE FUNCTION cogwork_audit_refuse()""",
    """CREATE TRIGGER cogwork_audit_head_kept BEFORE DELETE OR TRUNCATE ON cogwork_audit_head
    FOR EACH STATEMENT EXECUTE FUNCTION cogwork_audit_refuse()""",
)


def upgrade() -> None:
    """Make the tables, their triggers, and the row that says that the log is empty."""
    _tokens()
    _audit()
    head = op.create_table(
        "cogwork_audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cogwork_audit_head")),
    )
    op.bulk_insert(head, [{"id": 1, "seq": 0, "digest": "0" * 64}])
    for statement in ON_SQLITE if op.get_bind().dialect.name == "sqlite" else ON_POSTGRESQL:
        op.execute(statement)


def _tokens() -> None:
    op.create_table(
        "cogwork_tokens",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("secret", sa.String(length=80), nullable=False),
        sa.Column("earlier_secret", sa.String(length=80), nullable=True),
        sa.Column("earlier_until", Instant(), nullable=True),
        sa.Column("metadata", Plain(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=True),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.Column("last_used_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cogwork_tokens")),
    )
    op.create_index("ix_cogwork_tokens_page", "cogwork_tokens", ["created_at", "id"], unique=False)
    op.create_index(
        "uq_cogwork_tokens_name",
        "cogwork_tokens",
        ["name"],
        unique=True,
        sqlite_where=sa.text("revoked_at IS NULL"),
        postgresql_where=sa.text("revoked_at IS NULL"),
    )


def _audit() -> None:
    op.create_table(
        "cogwork_audit",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("principal_id", sa.String(length=255), nullable=False),
        sa.Column("principal_name", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("via", sa.String(length=32), nullable=False),
        sa.Column("verb", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=512), nullable=False),
        sa.Column("outcome", sa.String(length=48), nullable=False),
        sa.Column("door", sa.String(length=32), nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("details", Plain(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_cogwork_audit")),
    )
    op.create_index("ix_cogwork_audit_at", "cogwork_audit", ["at"], unique=False)
    op.create_index("ix_cogwork_audit_principal", "cogwork_audit", ["principal_id", "seq"], unique=False)
    op.create_index("ix_cogwork_audit_target", "cogwork_audit", ["target", "seq"], unique=False)
