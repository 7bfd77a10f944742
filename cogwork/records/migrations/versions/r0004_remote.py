"""Executions whose work is done by another instance."""

import sqlalchemy as sa
from alembic import op

from cogwork.records.columns import Instant, Plain

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make their table."""
    op.create_table(
        "cogwork_remotes",
        sa.Column("execution_id", sa.String(length=255), nullable=False),
        sa.Column("workflow", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("writes", sa.Boolean(), nullable=False),
        sa.Column("isolated", sa.Boolean(), nullable=False),
        sa.Column("labels", Plain(), nullable=False),
        sa.Column("instance", sa.String(length=63), server_default="", nullable=False),
        sa.Column("state", sa.String(length=16), server_default="new", nullable=False),
        sa.Column("remote_id", sa.String(length=255), server_default="", nullable=False),
        sa.Column("number", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("segment", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("moves", sa.Integer(), server_default="0", nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("execution_id", name=op.f("pk_cogwork_remotes")),
    )
