"""Records runs beside their checkpoints, whichever door they came through: Studio, the command line, Python, or a worker."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.executions.history import Entry, History, insert, last_number
from cogwork.executions.onlooking import Onlooker
from cogwork.executions.record import Execution, execution_of
from cogwork.executions.settling import Settled, settle
from cogwork.executions.statuses import ENDED, IllegalMove
from cogwork.executions.store import found, utc_now
from cogwork.records import Records, payloads
from cogwork.records.tables.executions import EXECUTIONS, SEGMENTS
from state.errors import CogworkError, Fault
from state.events import Event, EventKind
from state.values import Json

TAKING: Final = "__cogwork_taking"
"""The ``configurable`` key of a ``Taking``, where a segment of an execution is run; not persisted."""
PARENT_RUN: Final = "__cogwork_parent_run"
"""The ``configurable`` key of the run whose step called the workflow as a tool."""
ORIGIN: Final = "__cogwork_origin"
"""The ``configurable`` key of the door through which a run began."""
Steps = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """A segment of an execution that is taken up at a checkpoint; ``most_stuck`` attempts in a row may die there."""

    execution: str
    segment: int
    worker: str
    checkpoint: str
    most_stuck: int


class Stuck(CogworkError):
    """Too many attempts in a row have died at one checkpoint."""


class Recorder:
    """An ``Observer`` of graphs that keeps executions in the records."""

    def __init__(
        self,
        records: Records,
        history: History,
        *,
        origin: str = "python",
        now: Callable[[], datetime] = utc_now,
        onlookers: Sequence[Onlooker] = (),
    ) -> None:
        self.records, self.history, self.origin, self.now = records, history, origin, now
        self.onlookers = tuple(onlookers)

    async def began(
        self,
        thread: str,
        about: Mapping[str, Json],
        *,
        input: Json,
        steps: Steps,
        configurable: Mapping[str, Any],
    ) -> Watch | Silent:
        """Somebody who owns the thread takes up its run: the execution is running from now on.

        Raises:
            IllegalMove: it was cancelled before it began.
            Stuck: too many have died where it stands.
        """
        above = next(filter(None, (each.carried() for each in self.onlookers)), "")
        taken = _Taken(thread, dict(about), input, configurable, self.origin, secrets.token_hex(8), above)
        execution, number = await self.records.writing(lambda connection: _taken_up(connection, taken, self.now()))
        if execution is None:
            return Silent()
        watch = Watch(self, execution, taken.token, steps, number, taken.taking)
        watch.tell("run.started" if number == 0 else "run.resumed", workflow=execution.workflow)
        return watch


class Silent:
    """The witness of a call that repeats an end which is recorded already."""

    traces = False

    def saw(self, event: Event) -> None:
        """Nothing is new."""

    async def left(self, values: Mapping[str, Json], questions: tuple[Json, ...]) -> None:
        """Nothing is new."""

    async def broke(self, error: BaseException) -> None:
        """Nothing is new."""


class Watch:
    """The witness of one call: what happens in it goes into the history, its end into the execution's row."""

    def __init__(
        self, recorder: Recorder, execution: Execution, token: str, steps: Steps, number: int, taking: Taking | None
    ) -> None:
        self._recorder, self._token, self._steps, self._number = recorder, token, steps, number
        self._taking, self._fresh = taking, number == 0
        self.execution = execution
        options = execution.options
        self.traces = bool(options.get("trace"))
        self._sights = [each.took(execution, steps, fresh=self._fresh) for each in recorder.onlookers]
        self._quiet = not (self.traces or options.get("streaming"))
        self._text: Event | None = None

    def saw(self, event: Event) -> None:
        """Put an event into the history; text that is streamed is gathered, where it is kept at all."""
        if event.kind == "step.token":
            self._gather(event)
            return
        for sight in self._sights:
            sight.saw(event)
        self._told_text()
        self._add(event)

    def tell(self, kind: EventKind, **data: Json) -> None:
        """Put an event of the run into the history."""
        at = self._recorder.now().isoformat()
        self._add(Event(kind=kind, run=self.execution.run, at=at, data=data))

    async def left(self, values: Mapping[str, Json], questions: tuple[Json, ...]) -> None:
        """The run has come to an end or a rest: write down which, with all that happened up to it."""
        await self.settled(settle(values, questions, self._steps))

    async def settled(self, settled: Settled) -> None:
        """``left``, for a caller that knows what the run has come to."""
        self._told_text()
        output = None
        if settled.status == "completed":
            try:
                output = await asyncio.to_thread(payloads.encoded, settled.output, "output")
            except EngineError as err:
                settled = _unkept(settled, err)
        kind, data = settled.event
        self.tell(kind, **data)
        await self._written(settled, output)

    async def broke(self, error: BaseException) -> None:
        """Whoever worked on the run has stopped; it can go on from its last checkpoint: in the queue by itself, else when somebody
        resumes it."""
        self._told_text()
        if self._taking is not None and self._taking.worker:
            await self._written(Settled(status="pending"))
            return
        self.tell("run.paused", reason="interrupted", questions=[])
        await self._written(Settled(status="paused", reason="interrupted"))

    async def _written(self, settled: Settled, output: bytes | None = None) -> None:
        recorder, name = self._recorder, self.execution.id
        entries = await recorder.history.take(name)
        now = recorder.now()

        def end(connection: Connection) -> bool:
            digest = payloads.keep_bytes(connection, output) if output is not None else None
            if not settled.write(connection, self.execution, self._token, now, digest, fresh=self._fresh):
                return False
            insert(connection, [entry for entry in entries if entry.owner == self._token])
            if self._taking is not None:
                _segment_ended(connection, self._taking, settled, now)
            return True

        ours = False
        try:
            ours = await recorder.records.writing(end)
        finally:
            for sight in self._sights:
                sight.left(settled) if ours else sight.lost()

    # -- text ------------------------------------------------------------------------------------------------

    def _gather(self, event: Event) -> None:
        """Join the text that one step streams into fewer events."""
        if self._quiet:
            return
        if self._text is not None and self._text.step == event.step and len(self._text.data["text"]) < 400:
            joined = {"text": self._text.data["text"] + event.data["text"]}
            self._text = replace(self._text, data=joined)
            return
        self._told_text()
        self._text = event

    def _told_text(self) -> None:
        if self._text is not None:
            self._add(self._text)
            self._text = None

    def _add(self, event: Event) -> None:
        self._number += 1
        self._recorder.history.add(Entry(self.execution.id, self._token, self._number, event))


def _unkept(settled: Settled, err: EngineError) -> Settled:
    """The end of a run whose output cannot be kept."""
    error = Fault("invalid_output", err.message, origin="workflow", details=err.details).record(node="")
    return replace(settled, status="failed", reason="invalid_output", output=None, error=error)


@dataclass(frozen=True, slots=True)
class _Taken:
    """A run as it is taken up."""

    thread: str
    about: dict[str, Json]
    input: Json
    configurable: Mapping[str, Any]
    origin: str
    token: str
    above: str

    @property
    def run(self) -> str:
        return str(self.about["id"])

    @property
    def taking(self) -> Taking | None:
        taking: Taking | None = self.configurable.get(TAKING)
        return taking


def _taken_up(connection: Connection, taken: _Taken, now: datetime) -> tuple[Execution | None, int]:
    """The execution, running and ours, with the number of its last event; None where its end is recorded already."""
    execution = _known(connection, taken)
    matching: list[Any] = [EXECUTIONS.c.status.notin_(ENDED)]
    if taken.taking is not None:
        # Somebody may have let it rest, or go on otherwise, since this segment was looked at.
        matching = [EXECUTIONS.c.status.in_(("pending", "running")), EXECUTIONS.c.segment == taken.taking.segment]
    if execution is None:
        execution = _made(connection, taken, now)
    elif execution.ended:
        if execution.run in ("", taken.run) and not taken.about.get("ended"):
            raise IllegalMove(execution.id, execution.status, "running")
        return None, 0
    values = {
        "status": "running",
        "reason": "",
        "run": taken.run,
        "digest": taken.about.get("digest") or execution.digest,
        "owner": taken.token,
        "worker": taken.taking.worker if taken.taking is not None else "",
        "rev": EXECUTIONS.c.rev + 1,
        "updated_at": now,
        "started_at": sa.func.coalesce(EXECUTIONS.c.started_at, sa.literal(now, EXECUTIONS.c.started_at.type)),
        "questions": None,
        "wake_at": execution.deadline,
    }
    matching.append(EXECUTIONS.c.id == execution.id)
    done = connection.execute(sa.update(EXECUTIONS).where(*matching).values(**values).returning(EXECUTIONS))
    if (row := done.mappings().first()) is None:
        raise IllegalMove(execution.id, found(connection, execution.id).status, "running")
    if taken.taking is not None:
        _segment_begun(connection, taken.taking, now)
    return execution_of(row), last_number(connection, execution.id) if execution.run else 0


_ONE: Final = (
    SEGMENTS.c.execution_id == sa.bindparam("of", type_=sa.String),
    SEGMENTS.c.number == sa.bindparam("at", type_=sa.Integer),
)
_AGAIN: Final = sa.and_(SEGMENTS.c.attempts > 0, SEGMENTS.c.checkpoint == sa.bindparam("from", type_=sa.String))
_BEGUN: Final = (
    sa.update(SEGMENTS)
    .where(*_ONE)
    .values(
        attempts=SEGMENTS.c.attempts + 1,
        worker=sa.bindparam("by", type_=sa.String),
        started_at=sa.func.coalesce(SEGMENTS.c.started_at, sa.bindparam("now", type_=SEGMENTS.c.started_at.type)),
        checkpoint=sa.bindparam("from", type_=sa.String),
        stuck=sa.case((_AGAIN, SEGMENTS.c.stuck + 1), else_=0),
    )
    .returning(SEGMENTS.c.stuck)
)
_ENDED: Final = (
    sa.update(SEGMENTS)
    .where(*_ONE)
    .values(
        ended_at=sa.bindparam("now", type_=SEGMENTS.c.ended_at.type),
        outcome=sa.bindparam("came_to", type_=sa.String),
    )
)


def _segment_begun(connection: Connection, taking: Taking, now: datetime) -> None:
    given = {"of": taking.execution, "at": taking.segment, "by": taking.worker, "from": taking.checkpoint, "now": now}
    stuck = connection.execute(_BEGUN, given).scalar() or 0
    if stuck >= taking.most_stuck:  # The transaction is rolled back.
        raise Stuck(f"whoever worked on it died {stuck} times at the same place")


def _segment_ended(connection: Connection, taking: Taking, settled: Settled, now: datetime) -> None:
    outcome = f"{settled.status} ({settled.reason})" if settled.reason else settled.status
    given = {"of": taking.execution, "at": taking.segment, "now": now, "came_to": outcome[:64]}
    connection.execute(_ENDED, given)


def _known(connection: Connection, taken: _Taken) -> Execution | None:
    """The execution that this run belongs to: the one that is named, else that of the run, else one that waits to begin."""
    if taken.taking is not None:
        return found(connection, taken.taking.execution)
    of_thread = sa.select(EXECUTIONS).where(EXECUTIONS.c.thread == taken.thread)
    for row in connection.execute(of_thread.order_by(EXECUTIONS.c.created_at.desc())).mappings():
        if row["run"] == taken.run or (row["run"] == "" and row["status"] == "pending"):
            return execution_of(row)
    return None


def _made(connection: Connection, taken: _Taken, now: datetime) -> Execution:
    """The execution of a run that began at a door of its own."""
    about, context = taken.about, taken.about.get("context") or {}
    known = connection.execute(sa.select(EXECUTIONS.c.id).where(EXECUTIONS.c.id == taken.thread)).first()
    name = taken.thread if known is None else f"{taken.thread}.{taken.run[:8]}"
    session, user = context.get("session"), context.get("user")
    parent = taken.configurable.get(PARENT_RUN)
    above = sa.select(EXECUTIONS.c.id, EXECUTIONS.c.tenant).where(EXECUTIONS.c.run == str(parent)).limit(1)
    of = connection.execute(above).first() if parent else None
    connection.execute(
        sa.insert(EXECUTIONS).values(
            id=name,
            thread=taken.thread,
            run=taken.run,
            workflow=str(about.get("workflow") or "")[:255],
            digest=str(about.get("digest") or ""),
            status="pending",
            mode="sync",
            priority=10,
            session_id=_name_of(session),
            user_id=_name_of(user),
            parent_id=of.id if of is not None else None,
            tenant=of.tenant if of is not None else "",
            origin="workflow" if parent else str(taken.configurable.get(ORIGIN) or taken.origin),
            options={"traceparent": taken.above} if taken.above else {},
            metadata={},
            input=payloads.kept(connection, taken.input, "input"),
            created_at=now,
            updated_at=now,
        )
    )
    return found(connection, name)


def _name_of(given: Json) -> str | None:
    """The id of a session or user that the context names, by itself or in an object."""
    if isinstance(given, Mapping):
        given = given.get("id")
    return str(given)[:255] if isinstance(given, str | int) and not isinstance(given, bool) else None
