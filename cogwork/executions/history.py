"""What happened in executions: written in batches off the hot path, read again from any point, and followed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.executions.record import Execution
from cogwork.executions.statuses import ENDED
from cogwork.records import Records
from cogwork.records.tables.executions import EVENTS, EXECUTIONS
from state.events import Event, EventKind
from state.values import Json

log = logging.getLogger(__name__)
FLUSH_SECONDS: Final = 0.2
"""How long an event may wait for others before it is written."""
LOOK_SECONDS: Final = 0.1
"""Between two looks of a listener for new events."""
AT_ONCE: Final = 500
_INSERT: Final = sa.insert(EVENTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event with its number in the execution's history, from 1 without gaps."""

    seq: int
    event: Event

    def to_dict(self) -> dict[str, Json]:
        """The event as plain JSON, with its number."""
        return {"seq": self.seq, **self.event.to_dict()}


@dataclass(frozen=True, slots=True)
class Entry:
    """An event that is to be written for an execution by whoever holds ``owner``."""

    execution: str
    owner: str
    seq: int
    event: Event


class History:
    """The history of executions; one per process gathers what its runs have to write.

    ``add`` returns at once; what is added is on disk after ``FLUSH_SECONDS``, or when ``flushed`` returns.
    """

    def __init__(self, records: Records) -> None:
        self.records = records
        self._waiting: list[Entry] = []
        self._flushing: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    # -- writing ---------------------------------------------------------------------------------------------

    def add(self, entry: Entry) -> None:
        """Have an event written soon; to be called on an event loop."""
        self._waiting.append(entry)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.get_running_loop().create_task(self._soon())

    async def take(self, execution: str) -> list[Entry]:
        """What waits to be written for one execution, for a caller that writes it in a transaction of its own; what was taken
        before is written when this returns."""
        async with self._writing:
            mine = [entry for entry in self._waiting if entry.execution == execution]
            self._waiting = [entry for entry in self._waiting if entry.execution != execution]
            return mine

    async def flushed(self) -> None:
        """Return once all that was added is written.

        Raises:
            EngineError: ``database_error``; it waits to be written still.
        """
        while self._waiting or self._writing.locked():
            await asyncio.shield(asyncio.ensure_future(self._flush()))

    async def _flush(self) -> None:
        async with self._writing:
            taken, self._waiting = self._waiting, []
            if not taken:
                return
            try:
                await self.records.writing(lambda connection: write(connection, taken))
            except BaseException:
                self._waiting = [*taken, *self._waiting]
                raise

    async def _soon(self) -> None:
        await asyncio.sleep(FLUSH_SECONDS)
        try:
            await self.flushed()
        except EngineError as err:
            log.warning("The history is written later: %s", err)

    async def close(self) -> None:
        """Write what waits."""
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.wait([self._flushing])
        await self.flushed()

    # -- reading ---------------------------------------------------------------------------------------------

    async def read(self, execution: str, *, after: int = 0, limit: int = AT_ONCE) -> list[Told]:
        """At most ``limit`` events of the execution, those after number ``after``, in their order."""
        matching = (EVENTS.c.execution_id == execution, EVENTS.c.seq > after)
        query = sa.select(EVENTS).where(*matching).order_by(EVENTS.c.seq).limit(limit)
        run = sa.select(EXECUTIONS.c.run).where(EXECUTIONS.c.id == execution)

        def found(connection: Connection) -> list[Told]:
            of = str(connection.execute(run).scalar() or "")
            return [_told(row, of) for row in connection.execute(query).mappings()]

        return await self.records.reading(found)

    async def follow(
        self, execution: str, *, after: int = 0, ended: Callable[[str], bool] | None = None
    ) -> AsyncIterator[Told]:
        """The events after number ``after``, those to come as well, until the execution ends, or ``ended`` says of its status
        that nothing more is waited for.

        Raises:
            EngineError: ``execution_not_found``; also where it is cleaned up meanwhile.
        """
        from cogwork.executions.store import found

        over = ended or (lambda status: status in ENDED)
        while True:
            # The status is read first: what comes to an end has written its history before.
            stands = (await self.records.reading(lambda connection: found(connection, execution))).status
            told = await self.read(execution, after=after)
            for each in told:
                yield each
                after = each.seq
            if len(told) == AT_ONCE:
                continue
            if over(stands):
                return
            await asyncio.sleep(LOOK_SECONDS)


def write(connection: Connection, entries: Sequence[Entry]) -> None:
    """Write events; those of executions that somebody else has taken over are left out."""
    if not entries:
        return
    names = {entry.execution for entry in entries}
    query = sa.select(EXECUTIONS.c.id, EXECUTIONS.c.owner).where(EXECUTIONS.c.id.in_(names)).order_by(EXECUTIONS.c.id)
    if connection.dialect.name == "postgresql":
        query = query.with_for_update(read=True)
    owners = {row.id: row.owner for row in connection.execute(query)}
    insert(connection, [entry for entry in entries if owners.get(entry.execution) == entry.owner])


def insert(connection: Connection, entries: Sequence[Entry]) -> None:
    """Write events of executions that are the writer's own."""
    if entries:
        connection.execute(_INSERT, [_row(entry) for entry in entries])


def note(connection: Connection, execution: Execution, now: datetime) -> None:
    """Tell in its history the rest or end that an execution came to while nobody worked on it."""
    kinds: dict[str, EventKind] = {
        "paused": "run.paused",
        "completed": "run.completed",
        "failed": "run.failed",
        "cancelled": "run.cancelled",
    }
    if (kind := kinds.get(execution.status)) is None:
        return
    data: dict[str, Json] = {"error": dict(execution.error or {})}
    if execution.status == "paused":
        data = {"reason": execution.reason, "questions": list(execution.questions)}
    event = Event(kind=kind, run=execution.run, at=now.isoformat(), data=data)
    entry = Entry(execution.id, "", last_number(connection, execution.id) + 1, event)
    connection.execute(sa.insert(EVENTS).values(**_row(entry)))


def last_number(connection: Connection, execution: str) -> int:
    """The number of the execution's last event; 0 without any."""
    query = sa.select(sa.func.max(EVENTS.c.seq)).where(EVENTS.c.execution_id == execution)
    return int(connection.execute(query).scalar() or 0)


def _row(entry: Entry) -> dict[str, Any]:
    event = entry.event
    return {
        "execution_id": entry.execution,
        "seq": entry.seq,
        "kind": event.kind,
        "step": event.step[:1024],
        "at": datetime.fromisoformat(event.at),
        "data": event.data,
    }


def _told(row: Mapping[Any, Any], run: str) -> Told:
    event = Event(kind=row["kind"], run=run, at=row["at"].isoformat(), step=row["step"], data=row["data"] or {})
    return Told(seq=row["seq"], event=event)
