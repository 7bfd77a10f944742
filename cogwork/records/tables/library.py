"""Workflows and their versions, labels, tags, and what each version uses."""

from typing import Final

from sqlalchemy import Column, Index, Integer, String, Table, Text, text

from cogwork.records.columns import Instant, Plain
from cogwork.records.tables.base import METADATA, PREFIX

WORKFLOWS: Final = Table(
    f"{PREFIX}workflows",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("title", String(255), nullable=False, server_default=""),
    Column("description", Text, nullable=False, server_default=""),
    Column("status", String(16), nullable=False),
    Column("latest", Integer, nullable=False),
    Column("metadata", Plain, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("deleted_at", Instant),
    Index(
        "uq_cogwork_workflows_name",
        "name",
        unique=True,
        sqlite_where=text("deleted_at IS NULL"),
        postgresql_where=text("deleted_at IS NULL"),
    ),
    Index("ix_cogwork_workflows_page", "created_at", "id"),
    Index("ix_cogwork_workflows_status", "status", "created_at", "id"),
)
"""``status`` is ``active`` or ``archived``; ``latest`` the highest version, whatever the labels say."""
VERSIONS: Final = Table(
    f"{PREFIX}versions",
    METADATA,
    Column("workflow_id", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("digest", String(64), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("spec", String(64)),
    Column("reference", Text),
    Column("arguments", Plain),
    Column("note", Text, nullable=False, server_default=""),
    Column("author", String(255), nullable=False, server_default=""),
    Column("created_at", Instant, nullable=False),
)
"""``kind`` is ``spec`` (``spec`` is the payload that holds the bundle) or ``code`` (``reference`` is ``module:name``)."""
LABELS: Final = Table(
    f"{PREFIX}labels",
    METADATA,
    Column("workflow_id", String(64), primary_key=True),
    Column("label", String(64), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("moved_at", Instant, nullable=False),
)
LABEL_MOVES: Final = Table(
    f"{PREFIX}label_moves",
    METADATA,
    Column("workflow_id", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("label", String(64), nullable=False),
    Column("from_version", Integer),
    Column("to_version", Integer),
    Column("moved_at", Instant, nullable=False),
    Column("author", String(255), nullable=False, server_default=""),
)
WORKFLOW_TAGS: Final = Table(
    f"{PREFIX}workflow_tags",
    METADATA,
    Column("workflow_id", String(64), primary_key=True),
    Column("tag", String(128), primary_key=True),
    Index("ix_cogwork_workflow_tags_tag", "tag", "workflow_id"),
)
USES: Final = Table(
    f"{PREFIX}uses",
    METADATA,
    Column("workflow_id", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("depth", Integer, nullable=False, server_default="1"),
    Index("ix_cogwork_uses_name", "kind", "name"),
)
"""``kind`` is ``workflow``, ``tool``, ``agent``, ``model``, ``prompt`` or ``mode``; ``workflow_id`` is a used workflow of the
library, whatever its name is by now. ``depth`` is 1 for what the workflow names itself, more for what those name that it uses."""
