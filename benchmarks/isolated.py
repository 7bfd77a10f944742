"""Isolated executions: what a process of its own costs, in time to the first step and to the end, and in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.figures import Cell, Table, median, verdict
from benchmarks.settings import Settings
from cogwork.isolation import Isolation, Job, Zygote, isolated_events
from cogwork.store.checkpoints import SqliteCheckpoints
from cogwork.tools.function import FunctionTool
from cogwork.tools.toolbox import Toolbox
from graphs.build import build
from graphs.language.dump import to_dict
from graphs.language.load import load
from state.events import Event
from state.services import Services

TARGET = 0.5
"""Seconds that an isolated execution may take to its first step."""
AT_ONCE = 8
CHAIN = ("a", "b", "c", "d", "e")


async def isolated(settings: Settings) -> list[Table]:
    """Milliseconds of executions of five steps, with and without isolation; and the memory of one that is at work."""
    times = Table(
        name="isolated",
        title="milliseconds of an execution of five steps with SQLite checkpoints (medians)",
        columns=("how", "runs", "first step", "end", "first step ratio", "end ratio", "< 500 ms"),
    )
    memory = Table(
        name="isolated_memory",
        title="MiB of an isolated execution at work",
        columns=("process", "PSS", "private dirty"),
    )
    with TemporaryDirectory() as folder, SqliteCheckpoints(Path(folder) / "c.sqlite") as saver:
        world = _World(saver)
        settings.tell("isolated: starting the fork server")
        begun = time.perf_counter()
        async with Zygote() as zygote:
            start = time.perf_counter() - begun
            settings.tell("isolated: one by one")
            await _times(world, zygote, max(3, settings.repetitions // 2), times)
            memory.rows.extend(await _memory(world, zygote))
            held = ", ".join(zygote.containment.held)
            lacking = ", ".join(zygote.containment.missing) or "nothing"
    times.notes.extend([f"starting the fork server, once: {start:.1f} s", f"held: {held}; missing: {lacking}"])
    return [times, memory]


class _World:
    """A chain of tool calls, its services and where it is kept."""

    def __init__(self, saver: SqliteCheckpoints) -> None:
        self.saver, self.door = saver, asyncio.Event()
        self.waiting = asyncio.Event()
        self.count = 0

        async def step(hold: bool = False) -> int:
            if hold:
                self.waiting.set()
                await self.door.wait()
            return 1

        tool = FunctionTool.from_function(step, name="t.step", effect="read")
        nothing: Any = _Nothing()
        self.services = Services(tools=Toolbox([tool]), models=nothing, prompts=nothing)

    def spec(self, *, hold: bool = False) -> dict[str, Any]:
        """The chain; with ``hold`` its first step waits at the door."""
        nodes = {
            name: {
                "type": "tool",
                "tool": "t.step",
                "args": {"hold": hold and name == "a"},
                "depends_on": [CHAIN[index - 1]] if index else [],
            }
            for index, name in enumerate(CHAIN)
        }
        return {"cogwork": "v1", "name": "chain", "nodes": nodes}

    def thread(self) -> str:
        """A new one."""
        self.count += 1
        return f"t{self.count}"

    async def warm(self) -> AsyncIterator[Event]:
        """The events of an execution in this process, its graph built anew."""
        graph = build(load(self.spec()), self.services, lambda name, user: None, checkpointer=self.saver)
        async for event in graph.aevents({}, {"configurable": {"thread_id": self.thread()}}, tokens=False):
            yield event

    def isolated(self, zygote: Zygote, *, hold: bool = False) -> AsyncIterator[Event]:
        """Those of one in a process of its own."""
        job = Job(thread=self.thread(), bundle=(to_dict(load(self.spec(hold=hold)).spec),), input={})
        return isolated_events(zygote, job, services=self.services, saver=self.saver, isolation=Isolation())


class _Nothing:
    def find(self, name: str | None, **_: Any) -> None:
        """There is none."""

    def names(self) -> list[str]:
        """None."""
        return []


async def _timed(events: AsyncIterator[Event]) -> tuple[float, float]:
    """Seconds to the first step and to the end.

    Raises:
        RuntimeError: the execution did not complete.
    """
    begun, first, last = time.perf_counter(), 0.0, None
    async for event in events:
        last = event
        if event.kind == "step.started" and not first:
            first = time.perf_counter() - begun
    if last is None or last.kind != "run.completed":
        raise RuntimeError(f"the execution ended with {last}")
    return first, time.perf_counter() - begun


async def _times(world: _World, zygote: Zygote, runs: int, table: Table) -> None:
    ways: dict[str, Callable[[], AsyncIterator[Event]]] = {
        "in the worker": world.warm,
        "isolated": lambda: world.isolated(zygote),
    }
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for number in range(runs + 1):
        for way, events in ways.items():
            taken = await _timed(events())
            found[way] += [taken] if number else []
    base = found["in the worker"]
    for way, taken in found.items():
        table.rows.append(_row(way, taken, base))
    for way, events in ways.items():
        rounds = [await asyncio.gather(*(_timed(events()) for _ in range(AT_ONCE))) for _ in range(max(2, runs // 4))]
        table.rows.append(_row(f"{way}, {AT_ONCE} at once", [each for taken in rounds for each in taken], base))


def _row(way: str, taken: list[tuple[float, float]], base: list[tuple[float, float]]) -> tuple[Cell, ...]:
    first, end = median(each for each, _ in taken), median(each for _, each in taken)
    ratios = (first / median(each for each, _ in base), end / median(each for _, each in base))
    judged = verdict(first < TARGET) if "isolated" in way else None
    return (way, len(taken), first * 1000, end * 1000, *ratios, judged)


async def _memory(world: _World, zygote: Zygote) -> list[tuple[Cell, ...]]:
    """The memory of an execution whose first step waits, and of what stands above it."""

    async def run() -> None:
        async for _ in world.isolated(zygote, hold=True):
            pass

    going = asyncio.create_task(run())
    await world.waiting.wait()
    server = zygote.pid
    assert server is not None, "it has just forked"
    keeper = _children(server)[0]
    named = {"execution": _children(keeper)[0], "its keeper": keeper, "fork server": server}
    rows = [(name, *_mebibytes(process)) for name, process in named.items()]
    world.door.set()
    await going
    return rows


def _children(process: int) -> list[int]:
    return [*map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())]


def _mebibytes(process: int) -> tuple[float, float]:
    """PSS and private dirty memory."""
    found = dict.fromkeys(("Pss", "Private_Dirty"), 0.0)
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in found:
                found[name] = int(rest.split()[0]) / 1024
    return found["Pss"], found["Private_Dirty"]
