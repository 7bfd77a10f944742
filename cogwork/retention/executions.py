"""Taking away executions and what belongs to them; each function is one transaction, or a part of one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.records.tables.executions import BATCHES, EVENTS, EXECUTION_TAGS, EXECUTIONS, SEGMENTS, STEPS
from cogwork.records.tables.payloads import FACTS
from cogwork.records.tables.remote import REMOTES
from cogwork.retention.planning import Plan

OPEN: Final = ("pending", "running", "paused")
ENDED: Final = ("completed", "failed", "cancelled")
LEFT: Final = "checkpoints_left:"
"""Begins the names of facts that say which threads have lost their executions, and still have checkpoints."""
Key = tuple[datetime, str]
_BELONGING: Final = {"events": (EVENTS, "seq"), "steps": (STEPS, "path"), "segments": (SEGMENTS, "number")}


def expired(plan: Plan) -> sa.ColumnElement[bool]:
    """Whether an execution is to go: old enough for its status, and nothing open uses it."""
    old = [(EXECUTIONS.c.status == each) & (EXECUTIONS.c.ended_at < at) for each, at in plan.executions.items()]
    return sa.and_(sa.or_(sa.false(), *old), _unused())


def without_checkpoints(plan: Plan) -> sa.ColumnElement[bool]:
    """Whether an execution stays, and its checkpoints go."""
    if plan.checkpoints is None:
        return sa.false()
    old = EXECUTIONS.c.kept & EXECUTIONS.c.status.in_(ENDED) & (EXECUTIONS.c.ended_at < plan.checkpoints)
    return sa.and_(old, _unused())


def without_events(plan: Plan) -> sa.ColumnElement[bool]:
    """Whether an execution stays, and its events go."""
    if plan.events is None:
        return sa.false()
    some = sa.exists().where(EVENTS.c.execution_id == EXECUTIONS.c.id)
    return sa.and_(EXECUTIONS.c.status.in_(ENDED), EXECUTIONS.c.ended_at < plan.events, some)


def _unused() -> sa.ColumnElement[bool]:
    """Whether no open execution needs it: as its child, as a member of its batch, or because they share a thread."""
    other = EXECUTIONS.alias("other")
    ways = [
        other.c.id == EXECUTIONS.c.parent_id,
        other.c.thread == EXECUTIONS.c.thread,
        other.c.batch_id == EXECUTIONS.c.batch_id,
    ]
    return sa.and_(*(sa.not_(sa.exists().where(way, other.c.status.in_(OPEN))) for way in ways))


def next_ids(
    connection: Connection, which: sa.ColumnElement[bool], after: Key | None, limit: int
) -> tuple[list[str], Key | None]:
    """The next executions in the order of their ends, and where the ones behind them begin."""
    query = sa.select(EXECUTIONS.c.id, EXECUTIONS.c.ended_at).where(which, EXECUTIONS.c.ended_at.is_not(None))
    at, key = EXECUTIONS.c.ended_at, EXECUTIONS.c.id
    if after is not None:
        query = query.where(at >= after[0], (at > after[0]) | (key > after[1]))
    rows = connection.execute(query.order_by(at, key).limit(limit)).all()
    return [row.id for row in rows], (rows[-1].ended_at, rows[-1].id) if rows else None


def belonging(
    connection: Connection, which: sa.ColumnElement[bool], ids: Sequence[str], limit: int, tables: Sequence[str]
) -> dict[str, int]:
    """Take away at most so many rows of those executions that still are to go, from the first of the tables that has some."""
    still = sa.select(EXECUTIONS.c.id).where(EXECUTIONS.c.id.in_(ids), which)
    for name in tables:
        table, key = _BELONGING[name]
        columns = (table.c.execution_id, table.c[key])
        some = sa.select(*columns).where(table.c.execution_id.in_(still)).limit(limit)
        gone = connection.execute(sa.delete(table).where(sa.tuple_(*columns).in_(some))).rowcount
        if gone:
            return {name: gone}
    return {}


def take_away(connection: Connection, plan: Plan, ids: Sequence[str]) -> dict[str, int]:
    """Take away those of the executions that still are to go, and say which threads have checkpoints left."""
    rows = _locked(connection, EXECUTIONS.c.id.in_(ids) & expired(plan))
    chosen = [row.id for row in rows]
    if not chosen:
        return {}
    counts = {"tags": _deleted(connection, EXECUTION_TAGS, EXECUTION_TAGS.c.execution_id.in_(chosen))}
    _deleted(connection, REMOTES, REMOTES.c.execution_id.in_(chosen))
    for name, (table, _) in _BELONGING.items():
        counts[name] = _deleted(connection, table, table.c.execution_id.in_(chosen))
    counts["executions"] = _deleted(connection, EXECUTIONS, EXECUTIONS.c.id.in_(chosen))
    _leave(connection, {row.thread for row in rows})
    return counts


def forget_checkpoints(connection: Connection, plan: Plan, ids: Sequence[str]) -> dict[str, int]:
    """Say of those of the executions whose checkpoints still are to go that they are gone, and which threads have some left."""
    rows = _locked(connection, EXECUTIONS.c.id.in_(ids) & without_checkpoints(plan))
    chosen = [row.id for row in rows]
    if chosen:
        connection.execute(sa.update(EXECUTIONS).where(EXECUTIONS.c.id.in_(chosen)).values(kept=False))
        _leave(connection, {row.thread for row in rows})
    return {}


def empty_batches(connection: Connection, before: datetime, limit: int) -> dict[str, int]:
    """Take away batches all of whose executions are gone."""
    members = sa.exists().where(EXECUTIONS.c.batch_id == BATCHES.c.id)
    some = sa.select(BATCHES.c.id).where(BATCHES.c.created_at < before, sa.not_(members)).limit(limit)
    return {"batches": _deleted(connection, BATCHES, BATCHES.c.id.in_(some))}


# -- checkpoints that are left ----------------------------------------------------------------------------------


def left_threads(connection: Connection) -> dict[str, list[str]]:
    """The threads that have checkpoints left, by the name of the fact that says so."""
    query = sa.select(FACTS.c.name, FACTS.c.value).where(FACTS.c.name.startswith(LEFT, autoescape=True))
    return {row.name: json.loads(row.value) for row in connection.execute(query)}


def still_used(connection: Connection, thread: str) -> bool:
    """Whether an execution of the thread has need of its checkpoints."""
    query = sa.select(EXECUTIONS.c.id).where(EXECUTIONS.c.thread == thread, EXECUTIONS.c.kept).limit(1)
    return connection.execute(query).first() is not None


def settle(connection: Connection, fact: str, left: Sequence[str]) -> None:
    """Say that of the threads of a fact only these have checkpoints left."""
    if left:
        connection.execute(sa.update(FACTS).where(FACTS.c.name == fact).values(value=json.dumps([*left])))
    else:
        connection.execute(sa.delete(FACTS).where(FACTS.c.name == fact))


def _leave(connection: Connection, threads: set[str]) -> None:
    row = {"name": f"{LEFT}{uuid.uuid4().hex}", "value": json.dumps(sorted(threads))}
    connection.execute(sa.insert(FACTS).values(**row))


def _locked(connection: Connection, which: sa.ColumnElement[bool]) -> Sequence[Any]:
    query = sa.select(EXECUTIONS.c.id, EXECUTIONS.c.thread).where(which).order_by(EXECUTIONS.c.id)
    return connection.execute(query.with_for_update()).all()


def _deleted(connection: Connection, table: sa.Table, which: sa.ColumnElement[bool]) -> int:
    return connection.execute(sa.delete(table).where(which)).rowcount


def counted(connection: Connection, plan: Plan) -> Mapping[str, int]:
    """How many rows would go, without what belongs to them being looked at one by one."""
    going = sa.select(EXECUTIONS.c.id).where(expired(plan))
    counts = {"executions": _count(connection, EXECUTIONS, expired(plan))}
    for name, (table, _) in _BELONGING.items():
        ends = expired(plan) | without_events(plan) if name == "events" else expired(plan)
        counts[name] = _count(connection, table, table.c.execution_id.in_(sa.select(EXECUTIONS.c.id).where(ends)))
    counts["tags"] = _count(connection, EXECUTION_TAGS, EXECUTION_TAGS.c.execution_id.in_(going))
    loose = expired(plan) | without_checkpoints(plan)
    query = sa.select(sa.func.count(sa.distinct(EXECUTIONS.c.thread))).where(loose, EXECUTIONS.c.kept)
    counts["threads"] = connection.execute(query).scalar_one()
    return counts


def _count(connection: Connection, table: sa.Table, which: sa.ColumnElement[bool]) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(table).where(which)).scalar_one()
