"""Taking away sessions with their conversations, and old firings; each function is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.records.tables.executions import EXECUTIONS
from cogwork.records.tables.schedules import FIRINGS, TRIGGERS
from cogwork.records.tables.sessions import CONVERSATIONS, MESSAGES, SESSIONS, TOPICS
from cogwork.retention.executions import OPEN

_KEPT_KINDS: Final = ("file",)
"""Triggers whose source goes on offering what has fired already: the firing is how that is known."""


def over(before: datetime) -> sa.ColumnElement[bool]:
    """Whether a session ended or expired before then, and no open execution is in it."""
    used = sa.exists().where(EXECUTIONS.c.session_id == SESSIONS.c.id, EXECUTIONS.c.status.in_(OPEN))
    return sa.and_((SESSIONS.c.ended_at < before) | (SESSIONS.c.expires_at < before), sa.not_(used))


def close(connection: Connection, before: datetime, limit: int) -> list[str]:
    """Sessions that are to go, marked as expired where they had not ended, so that nobody goes on in them."""
    query = sa.select(SESSIONS.c.id).where(over(before)).order_by(SESSIONS.c.id).limit(limit)
    ids = list(connection.execute(query.with_for_update()).scalars())
    still = SESSIONS.c.id.in_(ids) & (SESSIONS.c.status == "active")
    connection.execute(sa.update(SESSIONS).where(still).values(status="expired"))
    return ids


def some_messages(connection: Connection, ids: Sequence[str], limit: int) -> dict[str, int]:
    """Take away at most so many messages of the sessions."""
    columns = (MESSAGES.c.conversation_id, MESSAGES.c.number)
    some = sa.select(*columns).where(MESSAGES.c.conversation_id.in_(_conversations(ids))).limit(limit)
    return {"messages": connection.execute(sa.delete(MESSAGES).where(sa.tuple_(*columns).in_(some))).rowcount}


def take_away(connection: Connection, before: datetime, ids: Sequence[str]) -> dict[str, int]:
    """Take away those of the sessions that still are to go, with all that is left of their conversations."""
    query = sa.select(SESSIONS.c.id).where(SESSIONS.c.id.in_(ids), over(before)).order_by(SESSIONS.c.id)
    chosen = list(connection.execute(query.with_for_update()).scalars())
    within = _conversations(chosen)
    steps = {
        "messages": sa.delete(MESSAGES).where(MESSAGES.c.conversation_id.in_(within)),
        "topics": sa.delete(TOPICS).where(TOPICS.c.conversation_id.in_(within)),
        "conversations": sa.delete(CONVERSATIONS).where(CONVERSATIONS.c.session_id.in_(chosen)),
        "sessions": sa.delete(SESSIONS).where(SESSIONS.c.id.in_(chosen)),
    }
    return {name: connection.execute(statement).rowcount for name, statement in steps.items()}


def _conversations(sessions: Sequence[str]) -> sa.Select[Any]:
    return sa.select(CONVERSATIONS.c.id).where(CONVERSATIONS.c.session_id.in_(sessions))


def old_firings(before: datetime) -> sa.ColumnElement[bool]:
    """Whether a firing is to go: of before then, its execution is not open, and it is not what keeps another from happening."""
    used = sa.exists().where(EXECUTIONS.c.id == FIRINGS.c.execution_id, EXECUTIONS.c.status.in_(OPEN))
    needed = sa.exists().where(TRIGGERS.c.id == FIRINGS.c.source_id, TRIGGERS.c.kind.in_(_KEPT_KINDS))
    return sa.and_(FIRINGS.c.fired_at < before, sa.not_(used), sa.not_(needed))


def take_firings(connection: Connection, before: datetime, after: str, limit: int) -> tuple[dict[str, int], str | None]:
    """Look at the next firings by their ids, take the old ones away; how many, and where the ones behind begin."""
    query = sa.select(FIRINGS.c.id).where(FIRINGS.c.id > after).order_by(FIRINGS.c.id).limit(limit)
    ids = list(connection.execute(query).scalars())
    gone = connection.execute(sa.delete(FIRINGS).where(FIRINGS.c.id.in_(ids), old_firings(before))).rowcount
    return {"firings": gone}, ids[-1] if ids else None


def counted(connection: Connection, sessions: datetime | None, firings: datetime | None) -> dict[str, int]:
    """How many would go."""
    counts: dict[str, int] = {}
    if sessions is not None:
        going = sa.select(SESSIONS.c.id).where(over(sessions))
        within = sa.select(CONVERSATIONS.c.id).where(CONVERSATIONS.c.session_id.in_(going))
        counts["sessions"] = _count(connection, SESSIONS, over(sessions))
        counts["conversations"] = _count(connection, CONVERSATIONS, CONVERSATIONS.c.session_id.in_(going))
        counts["topics"] = _count(connection, TOPICS, TOPICS.c.conversation_id.in_(within))
        counts["messages"] = _count(connection, MESSAGES, MESSAGES.c.conversation_id.in_(within))
    if firings is not None:
        counts["firings"] = _count(connection, FIRINGS, old_firings(firings))
    return counts


def _count(connection: Connection, table: sa.Table, which: sa.ColumnElement[bool]) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(table).where(which)).scalar_one()
