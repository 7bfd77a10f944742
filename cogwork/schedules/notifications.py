"""Notifications of PostgreSQL: one worker listens per trigger, and says what it may have missed.

NOTIFY is not durable: what is sent while nobody listens is gone. Such stretches of time are recorded as firings of the outcome
``gap``.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.records.columns import instant, micros
from cogwork.records.database import Records
from cogwork.records.tables.schedules import TRIGGERS
from cogwork.schedules.recording import record_event, record_note
from cogwork.schedules.rows import TriggerRecord, trigger_of
from cogwork.schedules.store import utc_now
from cogwork.schedules.trigger_rows import write_trigger
from graphs.language.triggers import PostgresTrigger
from state.errors import Fault
from state.services import NoSecrets, Secrets
from state.values import Json, UnfitValue, normalise

if TYPE_CHECKING:
    import psycopg

LOOK: Final = 2.0
"""Seconds between looks at which triggers there are."""
_LOG: Final = logging.getLogger(__name__)


class Listener:
    """Listens for all PostgreSQL triggers of the records that no other worker listens for.

    ``database`` is the address where triggers name none. ``run`` is one task of a worker, ended by cancelling it; ``heard`` is
    called after each recorded notification, so that the worker may tick at once.
    """

    def __init__(
        self,
        records: Records,
        *,
        database: str | None = None,
        secrets: Secrets | None = None,
        now: Callable[[], datetime] = utc_now,
        heard: Callable[[], None] = lambda: None,
        look: float = LOOK,
    ) -> None:
        self._records, self._database, self._now, self._heard, self._look = records, database, now, heard, look
        self._secrets = secrets or NoSecrets()

    async def run(self) -> None:
        """Listen until cancelled."""
        tasks: dict[str, tuple[datetime, asyncio.Task[None]]] = {}
        try:
            while True:
                wanted = {each.id: each for each in await self._wanted()}
                for known, (made, task) in list(tasks.items()):
                    if known not in wanted or wanted[known].updated_at != made or task.done():
                        await _ended(task)
                        del tasks[known]
                for trigger in wanted.values():
                    if trigger.id not in tasks:
                        tasks[trigger.id] = (trigger.updated_at, asyncio.create_task(self._listen(trigger)))
                await asyncio.sleep(self._look)
        finally:
            for _, task in tasks.values():
                await _ended(task)

    async def _wanted(self) -> list[TriggerRecord]:
        query = sa.select(TRIGGERS).where(TRIGGERS.c.kind == "postgres", TRIGGERS.c.enabled.is_(True))
        try:
            rows = await self._records.reading(lambda connection: connection.execute(query).mappings().all())
            return [trigger_of(row) for row in rows]
        except EngineError as err:
            _LOG.warning("The triggers cannot be read", extra={"reason": str(err)})
            return []

    async def _listen(self, trigger: TriggerRecord) -> None:
        """Listen for one trigger until the connection is lost; ``run`` begins anew."""
        import psycopg

        definition = trigger.definition
        assert isinstance(definition, PostgresTrigger)
        try:
            address = self._address(definition)
            async with await psycopg.AsyncConnection.connect(address, autocommit=True) as connection:
                if not await _alone(connection, trigger.id):
                    return
                await connection.execute(
                    psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(definition.channel))
                )
                await self._records.writing(lambda records: _begun(records, trigger.id, self._now()))
                while True:
                    async for notification in connection.notifies(timeout=self._look):
                        await self._take(trigger.id, notification.payload)
                    await connection.execute("SELECT 1")
                    await self._records.writing(lambda records: _alive(records, trigger.id, self._now()))
        except (psycopg.Error, OSError, EngineError, Fault) as err:
            told = f"{type(err).__name__}: {' '.join(str(err).split())[:300]}"
            _LOG.warning("A channel is not listened to", extra={"trigger": trigger.name, "reason": told})

    def _address(self, definition: PostgresTrigger) -> str:
        given = self._secrets.resolve(definition.database) if definition.database is not None else self._database
        if not isinstance(given, str):
            raise EngineError("invalid_input", "The trigger names no database, and the settings have no database_url")
        return given

    async def _take(self, trigger_id: str, payload: str) -> None:
        read = _payload(payload)
        await self._records.writing(lambda records: _recorded(records, trigger_id, read, self._now()))
        self._heard()


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _alone(connection: psycopg.AsyncConnection[Any], trigger_id: str) -> bool:
    """Whether nobody else listens for it; held until the connection ends."""
    locked = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
    row = await (await connection.execute(locked, (f"cogwork trigger {trigger_id}",))).fetchone()
    return bool(row and row[0])


def _payload(payload: str) -> Json:
    """The JSON of a payload, or its text."""
    try:
        return normalise(json.loads(payload)) if payload else {}
    except (ValueError, RecursionError, UnfitValue):
        return payload.replace("\0", "\ufffd")


def _kept(connection: Connection, trigger_id: str) -> TriggerRecord | None:
    query = sa.select(TRIGGERS).where(TRIGGERS.c.id == trigger_id, TRIGGERS.c.enabled.is_(True)).with_for_update()
    row = connection.execute(query).mappings().first()
    return trigger_of(row) if row is not None else None


def _position(trigger: TriggerRecord) -> dict[str, Any]:
    return dict(trigger.position) if isinstance(trigger.position, dict) else {"count": 0, "heard_to": None}


def _begun(connection: Connection, trigger_id: str, now: datetime) -> None:
    """Note that it is listened to again, and since when it had not been."""
    if (trigger := _kept(connection, trigger_id)) is None:
        return
    position = _position(trigger)
    if position["heard_to"] is not None:
        since = instant(position["heard_to"])
        told = f"nobody listened from {since:%Y-%m-%dT%H:%M:%SZ} to {now:%Y-%m-%dT%H:%M:%SZ}: what was sent meanwhile is lost"
        record_note(connection, trigger, f"gap-{micros(now)}", "gap", told, now)
    write_trigger(connection, replace(trigger, position={**position, "heard_to": micros(now)}))


def _alive(connection: Connection, trigger_id: str, now: datetime) -> None:
    if (trigger := _kept(connection, trigger_id)) is not None:
        write_trigger(connection, replace(trigger, position={**_position(trigger), "heard_to": micros(now)}))


def _recorded(connection: Connection, trigger_id: str, payload: Json, now: datetime) -> None:
    """Record one notification; its number and its firing are written together."""
    if (trigger := _kept(connection, trigger_id)) is None:
        return
    position = _position(trigger)
    number = position["count"] + 1
    definition = trigger.definition
    assert isinstance(definition, PostgresTrigger)
    event: dict[str, Json] = {"channel": definition.channel, "payload": payload}
    record_event(connection, trigger, f"{micros(trigger.created_at)}-{number}", event, payload, now)
    write_trigger(connection, replace(trigger, position={"count": number, "heard_to": micros(now)}))
