"""Sessions: created, used, ended; expired by their time, and swept when it is past."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.records.database import Records
from cogwork.records.pages import Page, paged
from cogwork.records.tables.sessions import SESSIONS
from cogwork.sessions.records import (
    MAX_STATE_BYTES,
    MAX_TTL,
    STATUSES,
    SavedState,
    Session,
    SessionMetrics,
    SessionPolicy,
    SessionStatus,
    chosen_mode,
    named,
    patched,
    plain,
    positive,
)
from cogwork.sessions.session_rows import (
    close_sessions,
    delete_sessions,
    found_session,
    has_status,
    session_of,
    usable_session,
)
from state.values import Json

UNSET: Final[Any] = object()
"""Stands for what is not to be changed."""
SWEPT_AT_ONCE: Final = 500


def new_id() -> str:
    """A new id."""
    return uuid.uuid4().hex


def _now() -> datetime:
    return datetime.now(UTC)


class Sessions:
    """The sessions of a database of records.

    ``now`` says the time and ``ids`` draws ids. Every verb raises ``EngineError``: ``session_not_found`` for one that is not
    there or has expired, ``illegal_move`` for one that was ended, ``invalid_input`` for values that do not fit.
    """

    def __init__(
        self,
        records: Records,
        *,
        now: Callable[[], datetime] = _now,
        policy: SessionPolicy | None = None,
        ids: Callable[[], str] = new_id,
    ) -> None:
        self.records, self.now, self.policy, self._ids = records, now, policy or SessionPolicy(), ids

    async def create(
        self,
        user_id: str | None = None,
        *,
        ttl: float | None = UNSET,
        preferences: Mapping[str, Json] | None = None,
        mode: str | None = None,
        metadata: Mapping[str, Json] | None = None,
        id: str | None = None,
    ) -> Session:
        """A new session; ``ttl`` in seconds, None for one that lasts, the policy's where it is left out.

        Raises:
            EngineError: ``conflict``; there is one of that ``id``.
        """
        at = self.now()
        lasts = self.policy.ttl if ttl is UNSET else ttl
        row = {
            "id": named(id, "id of the session") if id is not None else self._ids(),
            "user_id": named(user_id, "user_id") if user_id is not None else None,
            "status": "active",
            "ttl_seconds": None if lasts is None else positive(lasts, "ttl", MAX_TTL),
            "expires_at": None if lasts is None else at + timedelta(seconds=lasts),
            "mode": chosen_mode(mode),
            "preferences": plain(preferences or {}, "preferences"),
            "state": {},
            "metadata": plain(metadata or {}, "metadata"),
            "created_at": at,
            "updated_at": at,
            "active_at": at,
        }

        def make(connection: Connection) -> Session:
            if connection.execute(sa.select(SESSIONS.c.id).where(SESSIONS.c.id == row["id"])).first() is not None:
                raise EngineError("conflict", f"There is a session {row['id']!r} already", session_id=row["id"])
            connection.execute(SESSIONS.insert().values(**row))
            return found_session(connection, str(row["id"]), at)

        return await self.records.writing(make)

    async def get(self, session_id: str) -> Session:
        """The session, for use: with a sliding policy its time begins anew.

        A use within a hundredth of its time (at most a minute) after the one before is not written down.
        """
        at = self.now()
        session = await self.records.reading(lambda connection: usable_session(connection, session_id, at, lock=False))
        step = min(60.0, (session.ttl or MAX_TTL) / 100)
        if (at - session.active_at).total_seconds() < step:
            return session

        def touch(connection: Connection) -> Session:
            current = usable_session(connection, session_id, at)
            values: dict[str, Any] = {"active_at": max(at, current.active_at)}
            if self.policy.sliding and current.ttl is not None and current.expires_at is not None:
                values["expires_at"] = max(current.expires_at, at + timedelta(seconds=current.ttl))
            connection.execute(SESSIONS.update().where(SESSIONS.c.id == session_id).values(**values))
            return found_session(connection, session_id, at)

        return await self.records.writing(touch)

    async def find(self, session_id: str) -> Session:
        """The session as it is, also an ended or expired one; nothing is changed."""
        at = self.now()
        return await self.records.reading(lambda connection: found_session(connection, session_id, at))

    async def list(
        self,
        *,
        user_id: str | None = None,
        status: SessionStatus | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Session]:
        """A page of the sessions, the newest first.

        Raises:
            EngineError: ``invalid_cursor``.
        """
        if status is not None and status not in STATUSES:
            raise EngineError("invalid_input", f"status is {status!r}: it must be one of {', '.join(STATUSES)}")
        at = self.now()
        query = sa.select(SESSIONS)
        if user_id is not None:
            query = query.where(SESSIONS.c.user_id == user_id)
        if status is not None:
            query = query.where(has_status(status, at))
        asked = {"sessions": True, "user_id": user_id, "status": status}

        def page(connection: Connection) -> Page[Session]:
            found = paged(
                connection, query, SESSIONS.c.created_at, SESSIONS.c.id, filters=asked, limit=limit, cursor=cursor
            )
            return found.map(lambda row: session_of(row, at))

        return await self.records.reading(page)

    async def update(
        self,
        session_id: str,
        *,
        preferences: Mapping[str, Json] | None = None,
        metadata: Mapping[str, Json] | None = None,
        mode: str | None = UNSET,
        ttl: float | None = UNSET,
    ) -> Session:
        """Change a session: preferences and metadata entry by entry, where null takes one away; ``ttl`` counts from now."""
        at = self.now()
        changed = {
            "preferences": plain(preferences or {}, "preferences"),
            "metadata": plain(metadata or {}, "metadata"),
        }

        def change(connection: Connection) -> Session:
            current = usable_session(connection, session_id, at)
            values: dict[str, Any] = {
                "preferences": plain(patched(current.preferences, changed["preferences"]), "preferences"),
                "metadata": plain(patched(current.metadata, changed["metadata"]), "metadata"),
                "updated_at": at,
                "active_at": at,
            }
            if mode is not UNSET:
                values["mode"] = chosen_mode(mode)
            if ttl is not UNSET:
                values["ttl_seconds"] = None if ttl is None else positive(ttl, "ttl", MAX_TTL)
                values["expires_at"] = None if ttl is None else at + timedelta(seconds=ttl)
            connection.execute(SESSIONS.update().where(SESSIONS.c.id == session_id).values(**values))
            return found_session(connection, session_id, at)

        return await self.records.writing(change)

    async def end(self, session_id: str) -> Session:
        """End the session and its conversations; ending it again changes nothing."""
        at = self.now()

        def finish(connection: Connection) -> Session:
            current = found_session(connection, session_id, at, lock=True)
            if current.status == "active":
                close_sessions(connection, [session_id], "ended", at)
            return found_session(connection, session_id, at)

        return await self.records.writing(finish)

    async def restore(self, session_id: str) -> Session:
        """Make an ended or expired session that is still kept active again, with a new time; its conversations stay ended."""
        at = self.now()

        def again(connection: Connection) -> Session:
            current = found_session(connection, session_id, at, lock=True)
            until = None if current.ttl is None else at + timedelta(seconds=current.ttl)
            values = {"status": "active", "ended_at": None, "expires_at": until, "active_at": at, "updated_at": at}
            connection.execute(SESSIONS.update().where(SESSIONS.c.id == session_id).values(**values))
            return found_session(connection, session_id, at)

        return await self.records.writing(again)

    async def delete(self, session_id: str) -> None:
        """Delete the session with all that was said in it; its executions stay."""
        at = self.now()

        def gone(connection: Connection) -> None:
            found_session(connection, session_id, at, lock=True)
            delete_sessions(connection, [session_id])

        await self.records.writing(gone)

    # -- state ---------------------------------------------------------------------------------------------

    async def save_state(self, session_id: str, state: Mapping[str, Json], *, expected: int | None = None) -> int:
        """Keep ``state`` for the session in place of what was kept; its new revision.

        With ``expected``, only where that is still the revision: of two who change the same one, one wins.

        Raises:
            EngineError: ``conflict``; somebody saved another one meanwhile.
        """
        at, kept = self.now(), plain(state, "state", MAX_STATE_BYTES)

        def save(connection: Connection) -> int:
            current = usable_session(connection, session_id, at)
            revision = current.state_revision
            if expected is not None and expected != revision:
                raise EngineError(
                    "conflict",
                    f"The state of session {session_id!r} has revision {revision} and not {expected}: load it, and save again",
                    revision=revision,
                    expected=expected,
                )
            values = {"state": kept, "state_revision": revision + 1, "updated_at": at, "active_at": at}
            connection.execute(SESSIONS.update().where(SESSIONS.c.id == session_id).values(**values))
            return revision + 1

        return await self.records.writing(save)

    async def load_state(self, session_id: str) -> SavedState:
        """What was kept for the session, an empty object at first; also of one that has ended."""
        at = self.now()

        def load(connection: Connection) -> SavedState:
            session = found_session(connection, session_id, at)
            value = connection.execute(sa.select(SESSIONS.c.state).where(SESSIONS.c.id == session_id)).scalar_one()
            return SavedState(value=value, revision=session.state_revision)

        return await self.records.reading(load)

    # -- looking and sweeping ------------------------------------------------------------------------------

    async def metrics(self, session_id: str) -> SessionMetrics:
        """What happened in the session up to now."""
        from cogwork.sessions.counting import session_metrics

        at = self.now()
        return await self.records.reading(
            lambda connection: session_metrics(connection, found_session(connection, session_id, at), at)
        )

    async def expire(self) -> int:
        """Mark the sessions whose time is past as expired, and end their conversations; how many they were."""
        at = self.now()
        query = sa.select(SESSIONS.c.id).where(SESSIONS.c.status == "active", SESSIONS.c.expires_at <= at)

        def sweep(connection: Connection) -> int:
            late = list(connection.execute(query.limit(SWEPT_AT_ONCE).with_for_update(skip_locked=True)).scalars())
            close_sessions(connection, late, "expired", at)
            return len(late)

        return await self._until_done(sweep)

    async def purge(self) -> int:
        """Delete the sessions that ended or expired longer ago than the policy keeps them; how many they were."""
        if self.policy.retention is None:
            return 0
        before = self.now() - self.policy.retention
        query = sa.select(SESSIONS.c.id).where(SESSIONS.c.status != "active", SESSIONS.c.ended_at <= before)

        def sweep(connection: Connection) -> int:
            old = list(connection.execute(query.limit(SWEPT_AT_ONCE).with_for_update(skip_locked=True)).scalars())
            delete_sessions(connection, old)
            return len(old)

        return await self._until_done(sweep)

    async def _until_done(self, sweep: Callable[[Connection], int]) -> int:
        total = swept = await self.records.writing(sweep)
        while swept == SWEPT_AT_ONCE:
            swept = await self.records.writing(sweep)
            total += swept
        return total
