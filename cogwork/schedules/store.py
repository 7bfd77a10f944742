"""Schedules and their verbs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.records.database import Records
from cogwork.records.pages import Page, paged
from cogwork.records.tables.schedules import SCHEDULES
from cogwork.schedules.firings import firing_id, firings, shift_of
from cogwork.schedules.keeping import (
    changed_schedule,
    drop_planned,
    firings_of,
    found_schedule,
    insert_schedule,
    made_schedule,
    read_firing,
    switched_schedule,
)
from cogwork.schedules.planning import planned
from cogwork.schedules.ports import Starter
from cogwork.schedules.rows import Firing, ScheduleRecord, insert_once, schedule_of
from cogwork.schedules.starting import Starting
from graphs.language.triggers import Schedule
from state.values import Json

_CHANGEABLE: Final = ("workflow", "version", "input", "options", "definition")
MAX_UPCOMING: Final = 1000
_FAR: Final = datetime(9990, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """The instant that it is."""
    return datetime.now(UTC)


def drawn(prefix: str) -> str:
    """A new id."""
    return f"{prefix}-{secrets.token_hex(6)}"


class Schedules:
    """The schedules of the records. Without ``start``, what ``run_now`` fires is left to the next worker that ticks."""

    def __init__(
        self,
        records: Records,
        start: Starter | None = None,
        *,
        now: Callable[[], datetime] = utc_now,
        new_id: Callable[[str], str] = drawn,
    ) -> None:
        self._records, self._now, self._new_id = records, now, new_id
        self._starting = Starting(records, start, now) if start is not None else None

    # -- what there is ---------------------------------------------------------------------------------------

    async def create(
        self,
        name: str,
        workflow: str,
        definition: Schedule | Mapping[str, Any],
        *,
        version: str = "",
        input: Mapping[str, Json] | None = None,
        options: Mapping[str, Json] | None = None,
        enabled: bool = True,
    ) -> ScheduleRecord:
        """Add a schedule; its first firing is the first one later than now.

        Raises:
            EngineError: ``invalid_input`` says what is wrong and what to do; ``conflict`` where the name is taken.
        """
        made = made_schedule(
            self._new_id("sch"), name, workflow, definition, version, input, options, enabled, self._now()
        )
        await self._records.writing(lambda connection: insert_schedule(connection, made))
        return made

    async def get(self, name: str) -> ScheduleRecord:
        """The schedule of that name or id.

        Raises:
            EngineError: ``schedule_not_found``, with the nearest names.
        """
        return await self._records.reading(lambda connection: found_schedule(connection, name))

    async def list(
        self, *, workflow: str | None = None, enabled: bool | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[ScheduleRecord]:
        """The schedules, the latest first.

        Raises:
            EngineError: ``invalid_input`` for the limit, ``invalid_cursor``.
        """
        query = sa.select(SCHEDULES)
        if workflow is not None:
            query = query.where(SCHEDULES.c.workflow == workflow)
        if enabled is not None:
            query = query.where(SCHEDULES.c.enabled.is_(enabled))
        filters = {"list": "schedules", "workflow": workflow, "enabled": enabled}
        at, key = SCHEDULES.c.created_at, SCHEDULES.c.id
        page = await self._records.reading(
            lambda connection: paged(connection, query, at, key, filters=filters, limit=limit, cursor=cursor)
        )
        return page.map(schedule_of)

    async def upcoming(self, name: str, n: int = 5) -> tuple[datetime, ...]:
        """The next ``n`` firings, if it stays as it is; none while it is disabled.

        Raises:
            EngineError: ``schedule_not_found``; ``invalid_input``.
        """
        if not 1 <= n <= MAX_UPCOMING:
            raise EngineError("invalid_input", f"{n} is no number of firings: give one from 1 to {MAX_UPCOMING}")
        schedule = await self.get(name)
        shift = shift_of(schedule.id, schedule.definition)
        after = max(schedule.after, self._now())
        return tuple(firings(schedule.definition, after, _FAR, shift=shift, most=n)) if schedule.enabled else ()

    async def firings(self, name: str, limit: int = 50, cursor: str | None = None) -> Page[Firing]:
        """What became of its firings, the latest first.

        Raises:
            EngineError: ``schedule_not_found``, ``invalid_input``, ``invalid_cursor``.
        """
        return await self._records.reading(
            lambda connection: firings_of(connection, found_schedule(connection, name).id, limit, cursor)
        )

    # -- changes ---------------------------------------------------------------------------------------------

    async def update(self, name: str, /, **changes: Any) -> ScheduleRecord:
        """Change its ``definition``, ``workflow``, ``version``, ``input`` or ``options``.

        What was due under the old definition is dealt with under the old one.

        Raises:
            EngineError: ``invalid_input``, ``schedule_not_found``.
        """
        if unknown := sorted(set(changes) - set(_CHANGEABLE)):
            told = f"A schedule has no {unknown[0]!r} to change: there are {', '.join(_CHANGEABLE)}"
            raise EngineError("invalid_input", told)
        return await self._records.writing(lambda connection: changed_schedule(connection, name, changes, self._now()))

    async def enable(self, name: str) -> ScheduleRecord:
        """Let it fire from now on; what was due while it was disabled is not made up for.

        Raises:
            EngineError: ``schedule_not_found``.
        """
        return await self._records.writing(lambda connection: switched_schedule(connection, name, True, self._now()))

    async def disable(self, name: str) -> ScheduleRecord:
        """Let it fire no more; firings that have not begun are dropped.

        Raises:
            EngineError: ``schedule_not_found``.
        """
        return await self._records.writing(lambda connection: switched_schedule(connection, name, False, self._now()))

    async def delete(self, name: str) -> None:
        """Remove it; the record of its firings stays for as long as any.

        Raises:
            EngineError: ``schedule_not_found``.
        """

        def removed(connection: Connection) -> None:
            schedule = found_schedule(connection, name, lock=True)
            drop_planned(connection, schedule.id, "the schedule was deleted")
            connection.execute(sa.delete(SCHEDULES).where(SCHEDULES.c.id == schedule.id))

        await self._records.writing(removed)

    async def run_now(self, name: str) -> Firing:
        """Fire it once, beside its times and whatever is still open.

        Raises:
            EngineError: ``schedule_not_found``.
        """
        now = self._now()

        def recorded(connection: Connection) -> str:
            schedule = found_schedule(connection, name)
            fire = f"{firing_id(schedule.id, now)}-{self._new_id('now')}"
            insert_once(connection, [planned(schedule, fire, now, now, forced=True)])
            return fire

        fire = await self._records.writing(recorded)
        if self._starting is not None:
            return await self._starting.work(fire)
        return await self._records.reading(lambda connection: read_firing(connection, fire))
