"""Lists of the library: workflows page by page, the versions of one, who uses what, and what keeps one from going."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.library import versions
from cogwork.library.entries import User, VersionRecord, WorkflowRecord
from cogwork.library.names import LATEST
from cogwork.records.pages import Page, paged
from cogwork.records.tables.executions import EXECUTIONS
from cogwork.records.tables.library import LABELS, USES, VERSIONS, WORKFLOW_TAGS, WORKFLOWS

STATUSES: Final = ("active", "archived")
OPEN: Final = ("pending", "running", "paused")
SHOWN: Final = 5


def page(
    connection: Connection,
    *,
    tags: Iterable[str] = (),
    status: str | None = None,
    text: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[WorkflowRecord]:
    """Workflows, the latest made first: those with all of the tags, of that status, with that text in name, title or
    description.

    Raises:
        EngineError: ``invalid_input`` or ``invalid_cursor``.
    """
    if status is not None and status not in STATUSES:
        raise EngineError(
            "invalid_input", f"status is {status!r:.40}: it must be active or archived", status=str(status)[:40]
        )
    if isinstance(tags, str):
        raise EngineError("invalid_input", f"tags is a list of texts, not the text {tags!r:.40}")
    wanted = sorted(set(tags))
    query = sa.select(WORKFLOWS).where(WORKFLOWS.c.deleted_at.is_(None))
    if status is not None:
        query = query.where(WORKFLOWS.c.status == status)
    for tag in wanted:
        having = sa.select(WORKFLOW_TAGS.c.workflow_id).where(WORKFLOW_TAGS.c.tag == tag)
        query = query.where(WORKFLOWS.c.id.in_(having))
    if text:
        places = (WORKFLOWS.c.name, WORKFLOWS.c.title, WORKFLOWS.c.description)
        query = query.where(sa.or_(*(each.icontains(text, autoescape=True) for each in places)))
    filters = {"list": "workflows", "tags": wanted or None, "status": status, "text": text or None}
    found = paged(
        connection, query, WORKFLOWS.c.created_at, WORKFLOWS.c.id, filters=filters, limit=limit, cursor=cursor
    )
    return Page(tuple(records(connection, found.items)), found.cursor)


def records(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[WorkflowRecord]:
    """The rows with their labels and tags."""
    ids = [row["id"] for row in rows]
    labels: dict[str, dict[str, int]] = {id: {} for id in ids}
    tags: dict[str, list[str]] = {id: [] for id in ids}
    for row in connection.execute(sa.select(LABELS).where(LABELS.c.workflow_id.in_(ids))).mappings():
        labels[row["workflow_id"]][row["label"]] = row["version"]
    for row in connection.execute(sa.select(WORKFLOW_TAGS).where(WORKFLOW_TAGS.c.workflow_id.in_(ids))).mappings():
        tags[row["workflow_id"]].append(row["tag"])
    return [
        WorkflowRecord(
            id=row["id"],
            name=row["name"],
            title=row["title"],
            description=row["description"],
            status=row["status"],
            version=labels[row["id"]].get(LATEST, row["latest"]),
            newest=row["latest"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
            labels=dict(sorted(labels[row["id"]].items())),
            tags=tuple(sorted(tags[row["id"]])),
            metadata=row["metadata"] or {},
        )
        for row in rows
    ]


def versions_of(connection: Connection, row: Mapping[str, Any]) -> list[VersionRecord]:
    """All versions of a workflow, the newest first."""
    labels = versions.labels_of(connection, row["id"])
    query = sa.select(VERSIONS).where(VERSIONS.c.workflow_id == row["id"]).order_by(VERSIONS.c.version.desc())
    return [versions.record(dict(found), row["name"], labels) for found in connection.execute(query).mappings()]


def users(
    connection: Connection, kind: str, names: Iterable[str], *, depth: int | None = None, every_version: bool = False
) -> list[User]:
    """The versions that use something of one of these names: those that a label stands at, or all; of workflows that are not
    deleted."""
    query = (
        sa.select(USES.c.workflow_id, USES.c.version, sa.func.min(USES.c.depth).label("depth"), WORKFLOWS.c.name)
        .join(WORKFLOWS, WORKFLOWS.c.id == USES.c.workflow_id)
        .where(USES.c.kind == kind, USES.c.name.in_(list(names)), WORKFLOWS.c.deleted_at.is_(None))
        .group_by(USES.c.workflow_id, USES.c.version, WORKFLOWS.c.name)
        .order_by(sa.func.min(USES.c.depth), WORKFLOWS.c.name, USES.c.version)
    )
    if depth is not None:
        query = query.where(USES.c.depth <= depth)
    rows = connection.execute(query).mappings().all()
    ids = {row["workflow_id"] for row in rows}
    at: dict[tuple[str, int], list[str]] = {}
    for label in connection.execute(sa.select(LABELS).where(LABELS.c.workflow_id.in_(ids))).mappings() if ids else ():
        at.setdefault((label["workflow_id"], label["version"]), []).append(label["label"])
    found = [
        User(
            workflow_id=row["workflow_id"],
            workflow=row["name"],
            version=row["version"],
            depth=row["depth"],
            labels=tuple(sorted(at.get((row["workflow_id"], row["version"]), ()))),
        )
        for row in rows
    ]
    return [each for each in found if every_version or each.labels]


def refuse_in_use(connection: Connection, row: Mapping[str, Any]) -> None:
    """Refuse to delete a workflow that is at work, or that others use.

    Raises:
        EngineError: ``in_use``; says by whom.
    """
    mine = sa.or_(
        EXECUTIONS.c.workflow_id == row["id"],
        sa.and_(EXECUTIONS.c.workflow_id.is_(None), EXECUTIONS.c.workflow == row["name"]),
    )
    open_ = sa.and_(mine, EXECUTIONS.c.status.in_(OPEN))
    query = sa.select(EXECUTIONS.c.id).where(open_).order_by(EXECUTIONS.c.created_at).limit(SHOWN)
    running = [str(id) for id in connection.execute(query).scalars()]
    count = connection.execute(sa.select(sa.func.count()).select_from(EXECUTIONS).where(open_)).scalar() or 0
    others = [
        each
        for each in users(connection, "workflow_id", [row["id"]])
        if each.workflow_id != row["id"] and _active(connection, each.workflow_id)
    ]
    if not count and not others:
        return
    by = [f"{count} open executions ({', '.join(running)}{', …' if count > SHOWN else ''})"] if count else []
    names = sorted({each.workflow for each in others})
    by += [f"the workflows {', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''}"] if names else []
    message = f"{row['name']} is used by {' and by '.join(by)}: end or change those first, archive it, or use force"
    raise EngineError("in_use", message, executions=running, open_executions=int(count), workflows=list(names))


def _active(connection: Connection, id: str) -> bool:
    return connection.execute(sa.select(WORKFLOWS.c.status).where(WORKFLOWS.c.id == id)).scalar() == "active"
