"""The rows of sessions, within the transactions of who calls."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError, not_found
from cogwork.records.tables.sessions import CONVERSATIONS, MESSAGES, SESSIONS, TOPICS
from cogwork.sessions.records import Session

KNOWN: Final = 200
"""Among so many of the newest a name like an unknown one is looked for."""


def found_session(connection: Connection, session_id: str, at: datetime, *, lock: bool = False) -> Session:
    """The session as it is.

    Raises:
        EngineError: ``session_not_found``.
    """
    query = sa.select(SESSIONS).where(SESSIONS.c.id == session_id)
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    if row is None:
        recent = sa.select(SESSIONS.c.id).order_by(SESSIONS.c.created_at.desc(), SESSIONS.c.id.desc()).limit(KNOWN)
        raise not_found("session_not_found", "session", str(session_id), connection.execute(recent).scalars())
    return session_of(row, at)


def usable_session(connection: Connection, session_id: str, at: datetime, *, lock: bool = True) -> Session:
    """The session, if it may be used; with ``lock``, within a write, nobody else changes it meanwhile.

    Raises:
        EngineError: ``session_not_found`` for one that has expired too, ``illegal_move`` for one that was ended.
    """
    session = found_session(connection, session_id, at, lock=lock)
    when = session.ended_at or session.expires_at
    told = when.isoformat(timespec="seconds") if when is not None else ""
    if session.status == "expired":
        raise EngineError(
            "session_not_found",
            f"Session {session_id!r} expired at {told}: create a new one, or restore it",
            session_id=session_id,
            status="expired",
            expired_at=told,
        )
    if session.status == "ended":
        raise EngineError(
            "illegal_move",
            f"Session {session_id!r} was ended at {told}: create a new one, or restore it",
            session_id=session_id,
            status="ended",
            ended_at=told,
        )
    return session


def close_sessions(connection: Connection, ids: list[str], status: str, at: datetime) -> None:
    """Give the sessions their last status, and end their conversations; an expired one ended when its time was past."""
    if not ids:
        return
    ended = SESSIONS.c.expires_at if status == "expired" else sa.literal(at, SESSIONS.c.ended_at.type)
    values = {"status": status, "ended_at": ended, "updated_at": at}
    connection.execute(SESSIONS.update().where(SESSIONS.c.id.in_(ids)).values(**values))
    open_ones = CONVERSATIONS.c.session_id.in_(ids) & CONVERSATIONS.c.ended_at.is_(None)
    connection.execute(CONVERSATIONS.update().where(open_ones).values(ended_at=at, updated_at=at))


def delete_sessions(connection: Connection, ids: list[str]) -> None:
    """Delete the sessions, their conversations, topics and messages."""
    if not ids:
        return
    theirs = sa.select(CONVERSATIONS.c.id).where(CONVERSATIONS.c.session_id.in_(ids)).scalar_subquery()
    for table in (MESSAGES, TOPICS):
        connection.execute(table.delete().where(table.c.conversation_id.in_(theirs)))
    connection.execute(CONVERSATIONS.delete().where(CONVERSATIONS.c.session_id.in_(ids)))
    connection.execute(SESSIONS.delete().where(SESSIONS.c.id.in_(ids)))


def has_status(status: str, at: datetime) -> sa.ColumnElement[bool]:
    """Whether a session's status is that at the time."""
    late = SESSIONS.c.expires_at <= at
    match status:
        case "active":
            return (SESSIONS.c.status == "active") & sa.or_(SESSIONS.c.expires_at.is_(None), sa.not_(late))
        case "expired":
            return sa.or_(SESSIONS.c.status == "expired", (SESSIONS.c.status == "active") & late)
        case _:
            return SESSIONS.c.status == status


def session_of(row: Mapping[Any, Any], at: datetime) -> Session:
    """The session of a row, whose time may be past."""
    late = row["status"] == "active" and row["expires_at"] is not None and row["expires_at"] <= at
    return Session(
        id=row["id"],
        user_id=row["user_id"],
        status="expired" if late else row["status"],
        mode=row["mode"],
        ttl=row["ttl_seconds"],
        expires_at=row["expires_at"],
        preferences=row["preferences"],
        metadata=row["metadata"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        active_at=row["active_at"],
        ended_at=row["ended_at"],
        state_revision=row["state_revision"],
    )
