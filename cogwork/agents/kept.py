"""Registered agents and hand-overs in the database of the records: each function is a part of one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from cogwork.agents.records import RegisteredAgent, RegisteredHandoff, Status
from cogwork.records.pages import Page, Place, opened_place, paged, sealed_place
from cogwork.records.tables.agents import AGENT_CAPABILITIES, AGENTS, HANDOFFS

DECLARED: Final = 2**62
"""Where a cursor stands among the agents that files declare, which go before all others."""
_SUGGESTED_FROM: Final = 2000


def put_agent(connection: Connection, agent: RegisteredAgent, now: datetime, *, replace: bool = True) -> bool:
    """Keep the agent, in place of one of its id or only where there is none; whether it was written."""
    row = {"id": agent.id, "name": agent.name, "status": agent.status, "record": _plain(agent)}
    if not _put(connection, AGENTS, row, now, replace=replace):
        return False
    connection.execute(sa.delete(AGENT_CAPABILITIES).where(AGENT_CAPABILITIES.c.agent_id == agent.id))
    wanted = [{"agent_id": agent.id, "capability": each} for each in dict.fromkeys(agent.agent.capabilities)]
    if wanted:
        connection.execute(sa.insert(AGENT_CAPABILITIES), wanted)
    return True


def agent_named(connection: Connection, name: str) -> RegisteredAgent | None:
    """The agent of that id, or else of that name."""
    either = (AGENTS.c.id == name) | (AGENTS.c.name == name)
    rows = connection.execute(sa.select(AGENTS.c.id, AGENTS.c.record).where(either)).all()
    found = next((row for row in rows if row.id == name), rows[0] if rows else None)
    return None if found is None else RegisteredAgent.model_validate(found.record)


def agent_words(connection: Connection) -> list[str]:
    """The ids and names of agents, for suggestions."""
    rows = connection.execute(sa.select(AGENTS.c.id, AGENTS.c.name).limit(_SUGGESTED_FROM)).all()
    return [word for row in rows for word in (row.id, row.name)]


def agents(
    connection: Connection,
    capabilities: Iterable[str] = (),
    status: Status | None = None,
    limit: int | None = None,
    but: Iterable[str] = (),
) -> list[RegisteredAgent]:
    """The agents that have all these capabilities, sorted by id, without those of the ids ``but``."""
    query = _fitting(sa.select(AGENTS.c.record), capabilities, status, but).order_by(AGENTS.c.id).limit(limit)
    return [RegisteredAgent.model_validate(row.record) for row in connection.execute(query)]


def agent_page(
    connection: Connection,
    declared: Sequence[RegisteredAgent],
    shadowed: Iterable[str],
    *,
    capabilities: Sequence[str],
    status: Status | None,
    limit: int,
    cursor: str | None,
) -> Page[RegisteredAgent]:
    """One page: first the fitting ``declared``, sorted by id, then the registered, the latest first.

    Raises:
        EngineError: ``invalid_input`` for the limit, ``invalid_cursor`` for the cursor.
    """
    filters = {"of": "agents", "capabilities": sorted(capabilities), "status": status}
    after = opened_place(connection, cursor, filters) if cursor is not None else Place(at=DECLARED, key="")
    files = [each for each in declared if each.id > after.key] if after.at == DECLARED else []
    query = _fitting(sa.select(AGENTS), capabilities, status, shadowed)
    following = cursor if after.at != DECLARED else None
    registered = paged(
        connection, query, AGENTS.c.created_at, AGENTS.c.id, filters=filters, limit=limit, cursor=following
    )
    rows = [RegisteredAgent.model_validate(row["record"]) for row in registered.items]
    if not files:
        return Page(tuple(rows), registered.cursor)
    shown = [*files, *rows][:limit]
    if len(files) + len(rows) <= limit and registered.cursor is None:
        return Page(tuple(shown))
    if len(files) >= limit:
        return Page(tuple(shown), sealed_place(connection, Place(at=DECLARED, key=shown[-1].id), filters))
    last = registered.items[limit - len(files) - 1]
    return Page(tuple(shown), sealed_place(connection, Place.of(last["created_at"], last["id"]), filters))


def _fitting(
    query: sa.Select[Any], capabilities: Iterable[str], status: Status | None, but: Iterable[str]
) -> sa.Select[Any]:
    if status is not None:
        query = query.where(AGENTS.c.status == status)
    for each in sorted(set(capabilities)):
        has = sa.select(AGENT_CAPABILITIES.c.agent_id).where(AGENT_CAPABILITIES.c.capability == each)
        query = query.where(AGENTS.c.id.in_(has))
    unwanted = sorted(but)
    return query.where(AGENTS.c.id.not_in(unwanted)) if unwanted else query


# -- hand-overs ------------------------------------------------------------------------------------------------


def put_handoff(connection: Connection, handoff: RegisteredHandoff, now: datetime, *, replace: bool = True) -> bool:
    """Keep the hand-over, in place of one of its id or only where there is none; whether it was written."""
    row = {"id": handoff.id, "source": handoff.source, "target": handoff.target, "record": _plain(handoff)}
    return _put(connection, HANDOFFS, row, now, replace=replace)


def handoff_of(connection: Connection, id: str) -> RegisteredHandoff | None:
    """The hand-over of that id."""
    record = connection.execute(sa.select(HANDOFFS.c.record).where(HANDOFFS.c.id == id)).scalar()
    return None if record is None else RegisteredHandoff.model_validate(record)


def handoff_words(connection: Connection) -> list[str]:
    """The ids of hand-overs, for suggestions."""
    return list(connection.execute(sa.select(HANDOFFS.c.id).limit(_SUGGESTED_FROM)).scalars())


def handoffs(
    connection: Connection, source: str | None, target: str | None, limit: int | None = None
) -> list[RegisteredHandoff]:
    """The hand-overs between agents of these ids, sorted by id."""
    query = _between(sa.select(HANDOFFS.c.record), source, target).order_by(HANDOFFS.c.id).limit(limit)
    return [RegisteredHandoff.model_validate(row.record) for row in connection.execute(query)]


def handoff_page(
    connection: Connection, source: str | None, target: str | None, *, limit: int, cursor: str | None
) -> Page[RegisteredHandoff]:
    """One page of the hand-overs, the latest first.

    Raises:
        EngineError: ``invalid_input`` for the limit, ``invalid_cursor`` for the cursor.
    """
    filters = {"of": "handoffs", "source": source, "target": target}
    query = _between(sa.select(HANDOFFS), source, target)
    at, key = HANDOFFS.c.created_at, HANDOFFS.c.id
    found = paged(connection, query, at, key, filters=filters, limit=limit, cursor=cursor)
    return found.map(lambda row: RegisteredHandoff.model_validate(row["record"]))


def reach(connection: Connection, start: str) -> set[str]:
    """The agents that work can come to by hand-overs, ``start`` among them; none is added until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"LOCK TABLE {HANDOFFS.name} IN SHARE ROW EXCLUSIVE MODE")
    way = sa.select(sa.literal(start, sa.String).label("agent")).cte("way", recursive=True)
    way = way.union(sa.select(HANDOFFS.c.target).join(way, HANDOFFS.c.source == way.c.agent))
    return set(connection.execute(sa.select(way.c.agent)).scalars())


def _between(query: sa.Select[Any], source: str | None, target: str | None) -> sa.Select[Any]:
    if source is not None:
        query = query.where(HANDOFFS.c.source == source)
    return query.where(HANDOFFS.c.target == target) if target is not None else query


def _put(connection: Connection, table: sa.Table, row: Mapping[str, Any], now: datetime, *, replace: bool) -> bool:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    made = dialect.insert(table).values(**row, created_at=now, updated_at=now)
    changed = {name: made.excluded[name] for name in (*row, "updated_at") if name != "id"}
    placed = (
        made.on_conflict_do_update(index_elements=["id"], set_=changed)
        if replace
        else made.on_conflict_do_nothing(index_elements=["id"])
    )
    return connection.execute(placed.returning(table.c.id)).first() is not None


def _plain(value: RegisteredAgent | RegisteredHandoff) -> Any:
    return value.model_dump(mode="json", by_alias=True)
