"""Executions found by what they are, in pages that stay right while others arrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.executions.record import Execution, execution_of
from cogwork.executions.statuses import STATUSES
from cogwork.records.pages import Page, paged
from cogwork.records.tables.executions import EXECUTION_TAGS, EXECUTIONS

COUNTED: Final = 2000
"""How many executions of a tag are counted, to find out which of several is the rarest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which executions are wanted; what is None is not asked for. Instants are those of their request, ``until`` left out."""

    workflow: str | None = None
    version: int | None = None
    status: str | tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    session_id: str | None = None
    user_id: str | None = None
    tenant: str | None = None
    batch_id: str | None = None
    parent_id: str | None = None
    mode: str | None = None


def listed(connection: Connection, wanted: Filter, *, limit: int = 20, cursor: str | None = None) -> Page[Execution]:
    """One page, the latest first.

    Raises:
        EngineError: ``invalid_input`` for a status that there is not or a limit that is none; ``invalid_cursor``.
    """
    query = sa.select(EXECUTIONS).where(*_conditions(wanted))
    at: sa.ColumnElement[Any] = EXECUTIONS.c.created_at
    key: sa.ColumnElement[Any] = EXECUTIONS.c.id
    if wanted.tags:
        first, *others = _rarest_first(connection, wanted.tags)
        query = query.join(EXECUTION_TAGS, EXECUTION_TAGS.c.execution_id == EXECUTIONS.c.id)
        query = query.where(EXECUTION_TAGS.c.tag == first)
        at, key = EXECUTION_TAGS.c.created_at, EXECUTION_TAGS.c.execution_id.label("id")
        for tag in others:
            also = EXECUTION_TAGS.alias()
            has = sa.select(1).where(also.c.execution_id == EXECUTION_TAGS.c.execution_id, also.c.tag == tag)
            query = query.where(has.exists())
    if wanted.since is not None:
        query = query.where(at >= aware(wanted.since))
    if (
        wanted.until is not None and cursor is None
    ):  # A cursor is before it: SQLite would read from the end of the time.
        query = query.where(at < aware(wanted.until))
    page = paged(connection, query, at, key, filters=asdict(wanted), limit=limit, cursor=cursor)
    tags = _tags_of(connection, [row["id"] for row in page.items])
    return page.map(lambda row: execution_of(row, tags.get(row["id"], ())))


def _conditions(wanted: Filter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if wanted.status is not None:
        found.append(_of_status((wanted.status,) if isinstance(wanted.status, str) else wanted.status))
    if wanted.workflow is not None:
        own = EXECUTIONS.c.workflow_id if wanted.workflow.startswith("wf-") else EXECUTIONS.c.workflow
        found.append(own == wanted.workflow)
    for name in ("version", "session_id", "user_id", "tenant", "batch_id", "parent_id", "mode"):
        if (value := getattr(wanted, name)) is not None:
            found.append(EXECUTIONS.c[name] == value)
    return found


def _rarest_first(connection: Connection, tags: Sequence[str]) -> list[str]:
    """The tags, the one first whose executions are read to look for the others."""
    if len(tags) == 1:
        return [*tags]

    def count(tag: str) -> int:
        some = sa.select(1).where(EXECUTION_TAGS.c.tag == tag).limit(COUNTED).subquery()
        return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())

    return sorted(tags, key=count)


def _of_status(statuses: Sequence[str]) -> sa.ColumnElement[bool]:
    if unknown := [status for status in statuses if status not in STATUSES]:
        raise EngineError("invalid_input", f"There is no status {unknown[0]!r}: there are {', '.join(STATUSES)}")
    return EXECUTIONS.c.status == statuses[0] if len(statuses) == 1 else EXECUTIONS.c.status.in_(statuses)


def counts(connection: Connection, **matching: Any) -> dict[str, int]:
    """How many executions there are of each status, among those whose columns have these values."""
    conditions = [EXECUTIONS.c[name] == value for name, value in matching.items()]
    query = sa.select(EXECUTIONS.c.status, sa.func.count()).where(*conditions).group_by(EXECUTIONS.c.status)
    return {str(row[0]): int(row[1]) for row in connection.execute(query)}


def aware(at: datetime) -> datetime:
    """An instant; one without a zone is in UTC."""
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _tags_of(connection: Connection, names: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    if not names:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    query = sa.select(EXECUTION_TAGS.c.execution_id, EXECUTION_TAGS.c.tag).where(
        EXECUTION_TAGS.c.execution_id.in_(names)
    )
    for name, tag in connection.execute(query.order_by(EXECUTION_TAGS.c.tag)):
        found[name] = (*found.get(name, ()), tag)
    return found
