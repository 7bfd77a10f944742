"""Processes of the engine without processes: parts on one folder or database that tests open, kill and open again, a queue that
tells what it was told, and an account of every move of every status, kept by the database itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cogwork.app import App, app
from cogwork.engine.chores import orphans, wake
from cogwork.engine.parts import Parts, Shared
from cogwork.engine.queue import QueueClient, Queues, segment_id
from cogwork.engine.worker import Worker
from cogwork.executions.listing import Filter, listed
from cogwork.executions.options import options_of
from cogwork.executions.record import Execution
from cogwork.executions.statuses import ENDED, MOVES
from cogwork.executions.store import Request
from cogwork.records.tables.executions import EVENTS, EXECUTIONS, SEGMENTS
from cogwork.settings import Settings
from cogwork.tools.function import FunctionTool
from state.errors import Fault
from state.services import CallContext

_LOOK = {"type": "tool", "tool": "ledger.look", "args": {"hold": "{{ input.hold }}"}}
_PAY = {
    "type": "tool",
    "tool": "ledger.pay",
    "depends_on": ["look"],
    "undo": {"tool": "ledger.refund", "args": {"of": "{{ output }}"}},
}
_INPUT = {"hold": {"type": "string", "default": ""}, "n": {"type": "integer", "default": 1}}
ASKING: dict[str, Any] = {
    "cogwork": "v1",
    "name": "asking",
    "input": _INPUT,
    "nodes": {
        "look": _LOOK,
        "pay": _PAY,
        "sure": {
            "type": "human",
            "ask": "{{ pay }}?",
            "form": {"go": {"enum": ["yes", "no"]}},
            "timeout": "1h",
            "on_timeout": {"go": "no"},
        },
        "told": {"type": "transform", "set": {"go": "{{ sure.go }}"}},
    },
    "output": "{{ told.go }}",
}
"""Looks, pays, asks a person and tells."""
FAILING: dict[str, Any] = {
    "cogwork": "v1",
    "name": "failing",
    "input": _INPUT,
    "nodes": {"look": _LOOK, "pay": _PAY, "boom": {"type": "tool", "tool": "ledger.fail", "depends_on": ["pay"]}},
    "output": "{{ boom }}",
}
"""Looks, pays and fails: what was paid is given back."""
PLAIN: dict[str, Any] = {
    "cogwork": "v1",
    "name": "plain",
    "input": _INPUT,
    "nodes": {"look": _LOOK, "pay": _PAY},
    "output": "{{ pay }}",
}
SPECS = {spec["name"]: spec for spec in (ASKING, FAILING, PLAIN)}
RIGHT, WRONG = {"go": "yes"}, {"go": "perhaps"}
_TRACE = sa.Table(
    "law_moves",
    sa.MetaData(),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("id", sa.String),
    *(sa.Column(f"{which}_{name}", sa.String) for which in ("old", "new") for name in ("status", "rev", "segment")),
)
_NAMES = "id, old_status, old_rev, old_segment, new_status, new_rev, new_segment"
_VALUES = "NEW.id, OLD.status, OLD.rev, OLD.segment, NEW.status, NEW.rev, NEW.segment"


class Line:
    """A queue that outlives the processes: what was put into it, and how that stands."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.meant: dict[str, tuple[str, int]] = {}
        self.before: Callable[[str], None] = lambda what: None

    def client(self, queues: Queues) -> QueueClient:
        """The queue for one process."""
        return _Client(self, queues)  # type: ignore[return-value]

    def waiting(self) -> list[str]:
        """The segments that a worker may take, the first first."""
        return [name for name, status in self.rows.items() if status == "ENQUEUED"]

    def recover(self) -> None:
        """What dead workers had taken is put back."""
        self.rows |= {name: "ENQUEUED" for name, status in self.rows.items() if status == "PENDING"}


class _Client:
    def __init__(self, line: Line, queues: Queues) -> None:
        self._line, self.queues = line, queues

    async def enqueue(self, execution: str, number: int, **options: Any) -> None:
        self._line.before("enqueue")
        name = segment_id(execution, number)
        self._line.rows.setdefault(name, "ENQUEUED")
        self._line.meant[name] = (execution, number)

    async def withdraw(self, execution: str, number: int) -> None:
        self._line.before("withdraw")
        if self._line.rows.get(segment_id(execution, number)) == "ENQUEUED":
            self._line.rows[segment_id(execution, number)] = "CANCELLED"

    async def standing(self, names: list[str]) -> dict[str, str]:
        return {name: self._line.rows[name] for name in names if name in self._line.rows}

    def close(self) -> None:
        """Nothing is open."""


class Died(BaseException):
    """The process has died: nothing that it does afterwards leaves a trace."""


@dataclass
class Fate:
    """When a process dies: before its ``at``-th write, or with ``after`` when that is on disk, and before it knows."""

    at: int = 10**9
    after: bool = False
    count: int = 0
    dead: bool = False
    told: list[str] = field(default_factory=list)

    async def write(self, what: str, call: Callable[[], Any]) -> Any:
        """Do the write, if the process lives."""
        if self.dead:
            raise Died(what)
        self.count += 1
        self.told.append(what)
        doomed = self.count == self.at
        if doomed and not self.after:
            self.dead = True
            raise Died(what)
        outcome = await call()
        if doomed or self.dead:
            self.dead = True
            raise Died(what)
        return outcome

    def over(self, thing: Any, *names: str) -> None:
        """Let those methods be writes."""
        for name in names:
            setattr(thing, name, self._fated(f"{type(thing).__name__}.{name}", getattr(thing, name)))

    def _fated(self, what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        async def fated(*args: Any, **kwargs: Any) -> Any:
            return await self.write(what, lambda: call(*args, **kwargs))

        return fated


class _Shared(Shared):
    line: Line

    def queue(self) -> QueueClient:
        if self._client is None:
            self._client = self.line.client(self.queues)
        return self._client


@dataclass
class Clock:
    """The time, which tests move on."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.at

    def pass_(self, **time: float) -> None:
        """Let time pass."""
        self.at += timedelta(**time)


class Clocked:
    """The graphs of executions, by the clock of the test."""

    def __init__(self, graphs: Any, clock: Clock) -> None:
        self._graphs, self._clock = graphs, clock

    async def of(self, execution: Execution) -> Any:
        graph = await self._graphs.of(execution)
        graph.now = self._clock
        return graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What one process has open."""

    house: App
    shared: Shared
    parts: Parts
    worker: Worker

    async def close(self) -> None:
        """End in order; one that has died leaves what it had open."""
        with suppress(Died):
            await self.parts.close()
        await asyncio.to_thread(self.shared.close)
        await asyncio.to_thread(self.house.close)


@dataclass
class Scene:
    """The folder or database on which processes come and go, and what they did in the world."""

    folder: Path
    url: str = ""
    line: Line = field(default_factory=Line)
    clock: Clock = field(default_factory=Clock)
    ledger: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often (pay | refund) was done for which idempotency key."""
    doors: dict[str, asyncio.Event] = field(default_factory=dict)
    holding: bool = False
    parked: int = 0
    """Whether those that look now and are to hold wait at their door."""

    def _tools(self) -> list[FunctionTool]:
        async def look(context: CallContext, hold: str = "") -> str:
            if hold and self.holding:
                self.parked += 1
                await self.doors.setdefault(hold, asyncio.Event()).wait()
            return "seen"

        async def pay(context: CallContext) -> str:
            self.ledger["pay", context.idempotency_key] += 1
            return "paid"

        async def refund(context: CallContext, of: str) -> str:
            self.ledger["refund", context.idempotency_key] += 1
            return of

        async def fail(context: CallContext) -> str:
            raise Fault("refused", "it was told to fail", origin="tool")

        made = FunctionTool.from_function
        return [
            made(look, name="ledger.look", description="Look.", effect="read"),
            made(pay, name="ledger.pay", description="Pay.", effect="write"),
            made(refund, name="ledger.refund", description="Give it back.", effect="write"),
            made(fail, name="ledger.fail", description="Fail.", effect="read"),
        ]

    def _open(self) -> tuple[App, Shared]:
        given: dict[str, Any] = {"state_dir": self.folder / "state", "workflows": [], "synchronous": "NORMAL"}
        house = app(Settings(**given, **({"database_url": self.url} if self.url else {})), tools=self._tools())
        shared = _Shared(house, now=self.clock)
        shared.line = self.line  # type: ignore[attr-defined]
        return house, shared

    async def open(self, fate: Fate | None = None) -> Process:
        """A fresh process, with its fate."""
        house, shared = await asyncio.to_thread(self._open)
        await asyncio.to_thread(shared.records.write, _traced)
        if fate is not None:
            fate.over(shared.records, "writing")
            fate.over(shared.saver, "aput", "aput_writes")
            fate.over(shared.saver.calls, "keep")
            fate.over(shared.saver.requests, "make", "close")
            fate.over(shared.queue(), "enqueue", "withdraw")
        parts = shared.parts()
        parts.segments.graphs = Clocked(parts.graphs, self.clock)
        worker = Worker(
            executions=parts.executions,
            segments=parts.segments,
            dispatch=parts.dispatch,
            saver=parts.saver,
            queues=parts.queues,
        )
        return Process(house=house, shared=shared, parts=parts, worker=worker)

    def asked(self, process: Process, name: str, input: Mapping[str, Any] | None = None, **options: Any) -> Request:
        """A request for one of the workflows above."""
        parts = process.parts
        graph = parts.house.compile(SPECS[name], checkpointer=parts.saver)
        parts.bundles.keep(graph)
        made = Request(workflow=name, input={"hold": "", "n": 1, **(input or {})}, digest=graph.digest)
        return replace(made, options=options_of(options))

    async def work(self, process: Process, name: str) -> str:
        """A worker takes a segment, runs it and says so, as DBOS does."""
        self.line.rows[name] = "PENDING"
        try:
            outcome = await process.worker.run(*self.line.meant[name])
        except Exception:
            self.line.rows[name] = "ERROR"
            raise
        self.line.rows[name] = "SUCCESS"
        return outcome

    async def chores(self, process: Process) -> None:
        """Everything that workers do beside segments, once."""
        await process.parts.dispatch.requeue()
        await orphans(process.parts)
        await wake(process.parts)

    async def quiet(self, process: Process, rounds: int = 12) -> None:
        """Workers do all that there is to be done."""
        for door in self.doors.values():
            door.set()
        for _ in range(rounds):
            self.line.recover()
            self.clock.pass_(seconds=90)
            await self.chores(process)
            waiting = self.line.waiting()
            for name in waiting:
                await self.work(process, name)
            if not waiting:
                return
        raise AssertionError(f"the work has no end: {self.line.rows}")

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """What somebody says who knows what has happened in the world."""
        if question["kind"] != "in_doubt":
            return RIGHT
        what = "refund" if "undo" in question["at"] else "pay"
        if any(self.paid(question["run"], what)):
            return {"resolution": "done", "result": "paid"}
        return {"resolution": "retry"}

    # -- looking -----------------------------------------------------------------------------------------------

    def paid(self, run: str, what: str = "pay") -> list[int]:
        """How often each payment of the run was made or given back."""
        return [count for (kind, key), count in self.ledger.items() if kind == what and key.startswith(f"{run}:")]


async def all_of(process: Process) -> list[Execution]:
    """The executions, the latest first."""
    return [*(await process.parts.records.reading(lambda c: listed(c, Filter(), limit=200))).items]


async def moves(process: Process) -> list[Any]:
    """Every change of every execution's row, in order, as the database has noted it."""
    query = sa.select(_TRACE).order_by(_TRACE.c.number)
    return [*(await process.parts.records.reading(lambda c: c.execute(query).all()))]


def lawful(trace: Sequence[Any]) -> None:
    """The changes keep the table of moves, revisions only grow, segments grow by one, and what has ended stays."""
    for move in trace:
        told = tuple(move)
        if move.old_status != move.new_status:
            assert move.new_status in MOVES[move.old_status], f"an illegal move: {told}"
            assert int(move.new_rev) > int(move.old_rev), f"the revision stands still: {told}"
        assert int(move.new_rev) >= int(move.old_rev), f"the revision goes back: {told}"
        assert 0 <= int(move.new_segment) - int(move.old_segment) <= 1, f"segments are left out: {told}"
        if move.old_status in ENDED:
            assert (move.old_status, move.old_rev) == (move.new_status, move.new_rev), f"what had ended changed: {told}"


async def sound(scene: Scene, process: Process, *, resting: bool = False) -> None:
    """The laws that hold at every moment; with ``resting`` those too that hold while nobody works on anything."""
    lawful(await moves(process))
    await process.parts.history.flushed()
    for execution in await all_of(process):
        events = await process.parts.history.read(execution.id, limit=10_000)
        assert [told.seq for told in events] == list(range(1, len(events) + 1)), f"gaps: {execution.id}"
        numbers = (
            sa.select(SEGMENTS.c.number).where(SEGMENTS.c.execution_id == execution.id).order_by(SEGMENTS.c.number)
        )
        found = await process.parts.records.reading(lambda c, numbers=numbers: c.execute(numbers).scalars().all())
        assert list(found) == list(range(1, execution.segment + 1)), f"segments of {execution.id}: {found}"
        assert all(count == 1 for what in ("pay", "refund") for count in scene.paid(execution.run or "?", what))
        if execution.ended:
            last = events[-1].event
            assert last.kind == f"run.{execution.status}", f"{execution.id} is {execution.status}, told {last}"
            await _agrees(scene, process, execution)
        elif execution.status == "paused":
            assert events and events[-1].event.kind == "run.paused", f"{execution.id} rests untold: {events[-1:]}"
            assert events[-1].event.data["reason"] == execution.reason
        elif resting:
            assert execution.status == "pending", f"{execution.id} runs, and nobody works on it"


async def _agrees(scene: Scene, process: Process, execution: Execution) -> None:
    """The record of an end says what the checkpoint and the world do."""
    paid, back = len(scene.paid(execution.run or "?")), len(scene.paid(execution.run or "?", "refund"))
    if execution.status == "completed":
        assert (paid, back) == (1, 0), f"{execution.id}: {paid} paid, {back} given back"
    elif execution.status == "failed" and execution.run:
        assert paid == back, f"{execution.id}: {paid} paid, {back} given back"
    if execution.run:
        config: Any = {"configurable": {"thread_id": execution.thread}}
        values = (await (await process.parts.graphs.of(execution)).aget_state(config)).values
        if values:
            assert values["run"]["status"] == execution.status, (execution, values["run"], values["nodes"])


def _traced(connection: sa.Connection) -> None:
    """Let the database note every change of an execution's row."""
    if connection.dialect.name == "sqlite":
        columns = _NAMES.replace(",", " TEXT,")
        connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS law_moves (number INTEGER PRIMARY KEY, {columns} TEXT)")
        connection.exec_driver_sql(
            f"CREATE TRIGGER IF NOT EXISTS law AFTER UPDATE ON {EXECUTIONS.name} BEGIN "
            f"INSERT INTO law_moves ({_NAMES}) VALUES ({_VALUES}); END"
        )
        return
    columns = _NAMES.replace(",", " TEXT,")
    connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS law_moves (number BIGSERIAL PRIMARY KEY, {columns} TEXT)")
    connection.exec_driver_sql(
        "CREATE OR REPLACE FUNCTION law() RETURNS trigger AS $$ BEGIN "
        f"INSERT INTO law_moves ({_NAMES}) VALUES ({_VALUES}); RETURN NEW; END $$ LANGUAGE plpgsql"
    )
    connection.exec_driver_sql(
        f"CREATE OR REPLACE TRIGGER law AFTER UPDATE ON {EXECUTIONS.name} FOR EACH ROW EXECUTE FUNCTION law()"
    )


async def finish(scene: Scene, process: Process) -> None:
    """Workers do what there is to be done, people answer what they are asked, and all that rests goes on, to the end."""
    for _ in range(6):
        await scene.quiet(process)
        open_ = [each for each in await all_of(process) if not each.ended]
        if not open_:
            return
        for execution in open_:
            assert execution.status == "paused", f"{execution.id} is {execution.status} for ever"
            answers = {question["at"]: scene.answer(question) for question in execution.questions}
            await process.parts.dispatch.resume(execution.id, answers or None)
    raise AssertionError("they come to no end")


__all__ = ["EVENTS", "Process", "Scene", "all_of", "finish", "lawful", "moves", "sound"]
