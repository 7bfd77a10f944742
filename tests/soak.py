"""``python -m tests.soak``: simulated traffic on one process and one file, and whether anything grows that should not.

Short runs of many shapes come and go: people answer late, tools fail, runs are paused, cancelled, forked and undone, and
finished threads are deleted as an operator would. Waits cost nothing: the clock of the event loop jumps when all is idle.
Judged are the slopes of memory, open files, threads, rows and bytes, over the runs after the first ones.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import random
import selectors
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langgraph.graph import START
from langgraph.types import Command

from cogwork.app import app
from cogwork.store.checkpoints import SqliteCheckpoints
from cogwork.tools.function import tool
from graphs.graph import WorkflowGraph
from state.errors import CogworkError, Fault, WorkflowCancelled, WorkflowFailed
from state.services import CallContext

BESIDE = 8
"""How many runs go on at the same time."""
ROUNDS = 60
"""Calls of the graph after which a run that has not ended counts as broken."""
ENOUGH = 6
"""Samples without which nothing is judged."""
WARM = 0.3
"""The share of samples at the beginning that is not judged: caches fill."""
IDLE = 0.0003
"""Seconds of the real clock that an idle loop leaves to the thread of the file before its own clock jumps."""
LIMITS: Mapping[str, tuple[float, float]] = {
    "rss": (300.0, 4_000_000.0),
    "files": (0.002, 0.5),
    "threads": (0.002, 0.5),
    "rows": (0.002, 0.5),
    "bytes": (100.0, 500_000.0),
}
"""What may be added per run, and in all: bytes of memory, handles, threads, rows, bytes of the file. What grows by more than
both grows. One object, handle or row that is left behind per run is above; an allocator's noise is below."""
PAPER = """
cogwork: v1
name: soaked
input: {n: {type: integer}, fail: {type: boolean}, many: {type: integer}}
nodes:
  fetch:
    type: tool
    tool: soak.fetch
    args: {n: "{{ input.n }}"}
    retry: {max_attempts: 9, backoff: 1, on: [transient]}
  kind: {type: condition, cases: [{if: fetch > 50, then: big}], else: small}
  big: {type: tool, tool: soak.send, args: {n: "{{ fetch }}"}UNDO}
  small: {type: transform, set: "{{ fetch }}"}
  each:
    for_each: range(0, input.many)
    max_parallel: 3
    on_item_error: collect
    nodes: {s: {type: tool, tool: soak.fetch, args: {n: "{{ item }}", fails: true}}}
  ask: {type: human, ask: "Go on with {{ fetch }}?", form: {ok: boolean}, depends_on: [each]}
  send: {type: tool, tool: soak.send, args: {n: "{{ fetch }}"}, depends_on: [ask, big, small]UNDO}
  end: {type: tool, tool: soak.end, args: {fail: "{{ input.fail }}"}, depends_on: [send]}
"""


class Clock(selectors.DefaultSelector):
    """A selector that does not wait for time to pass: what would be waited is added to the loop's clock."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if ready := super().select(min(timeout, IDLE)):  # Other threads may be about to answer: the file is real.
            return ready
        self.ahead += timeout
        return []


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next thing to do."""

    def __init__(self) -> None:
        self.clock = Clock()
        super().__init__(self.clock)

    def time(self) -> float:
        return super().time() + self.clock.ahead


@dataclass(slots=True)
class Traffic:
    """What has happened so far; ``samples`` hold what is judged, by the number of runs ended."""

    ended: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    samples: list[dict[str, float]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def runs(self) -> int:
        return sum(self.ended.values())


def workflow(saver: Any, chance: random.Random) -> WorkflowGraph:
    """The graph that all runs are of, with what this version has."""

    @tool(name="soak.fetch", effect="read")
    async def fetch(n: int, fails: bool = False) -> int:
        """Take a while, and fail now and then."""
        await asyncio.sleep(chance.expovariate(2.0))
        if chance.random() < 0.2:
            raise Fault("tool_error" if fails else "unavailable", "not now", origin="tool")
        return n

    @tool(name="soak.send", effect="write", idempotent=True)
    async def send(n: int, context: CallContext) -> str:
        """Change something."""
        await asyncio.sleep(chance.expovariate(1.0))
        return context.idempotency_key + "x" * 2000

    @tool(name="soak.end", effect="read")
    async def end(fail: bool) -> bool:
        """Fail if told to."""
        if fail:
            raise Fault("tool_error", "told to fail", origin="tool")
        return True

    made = app(tools=[fetch, send, end])
    undoing = PAPER.replace("UNDO", ", undo: {tool: soak.send, args: {n: 0}}")
    fits = not [problem for problem in made.check(undoing) if problem.severity == "error"]
    return made.compile(undoing if fits else PAPER.replace("UNDO", ""), checkpointer=saver)


# -- traffic ---------------------------------------------------------------------------------------------------------


async def _run(graph: WorkflowGraph, saver: Any, number: int, chance: random.Random, traffic: Traffic) -> None:
    """One run from its beginning to its end, whatever happens to it, and the deletion of its thread."""
    thread: Any = {"configurable": {"thread_id": f"t{number}"}}
    given: Any = {"n": chance.randint(0, 99), "fail": chance.random() < 0.2, "many": chance.randint(0, 4)}
    config, work, forks, goes_on = thread, given, int(chance.random() < 0.1), True
    for _ in range(ROUNDS):
        if goes_on:
            with contextlib.suppress(WorkflowCancelled, WorkflowFailed):
                await _called(graph, work, config, chance, traffic)
        state, config, work, goes_on = await graph.aget_state(thread), thread, None, True
        if not state.values.get("run") or START in state.next:
            work = given
        elif state.interrupts:
            work = await _answered(graph, state, thread, chance, traffic)
            goes_on = work is not None
        elif not state.tasks:
            if not forks or (config := await _past(graph, thread, chance)) is None:
                traffic.ended[state.values["run"]["status"]] += 1
                break
            forks = 0
            traffic.done["fork"] += 1
    else:
        raise AssertionError(f"has not ended: {state.values['run']}, next {state.next}")
    await saver.adelete_thread(f"t{number}")


async def _answered(graph: WorkflowGraph, state: Any, thread: Any, chance: random.Random, traffic: Traffic) -> Any:
    """What a person says after a while; or the run is cancelled meanwhile, and there is nothing to say."""
    await asyncio.sleep(chance.expovariate(1 / 3600))
    if chance.random() < 0.1 and hasattr(graph, "acancel"):
        traffic.done["cancel"] += 1
        await graph.acancel(thread, undo=chance.random() < 0.5)
        return None
    traffic.done["answer"] += len(state.interrupts)
    return Command(resume={each.value["at"]: _said(each.value) for each in state.interrupts})


def _said(question: Mapping[str, Any]) -> Any:
    return {"resolution": "retry"} if question.get("kind") == "in_doubt" else {"ok": True}


async def _past(graph: WorkflowGraph, thread: Any, chance: random.Random) -> Any:
    """An earlier checkpoint of the thread, at which something was to be done: a run that is failing is not forked."""
    past = [s async for s in graph.aget_state_history(thread) if s.tasks]
    past = [s for s in past if s.values.get("run", {}).get("status") == "running" and not s.values["run"].get("error")]
    return {"configurable": dict(chance.choice(past).config["configurable"])} if past else None


async def _called(graph: WorkflowGraph, work: Any, config: Any, chance: random.Random, traffic: Traffic) -> None:
    """One call of the graph; now and then it is paused on its way, or its caller goes away."""
    call = asyncio.create_task(graph.ainvoke(work, config))
    share = chance.random()
    if share < 0.2:
        await asyncio.wait((call,), timeout=chance.expovariate(1.0))
        if not call.done() and share < 0.1 and hasattr(graph, "apause"):
            traffic.done["pause"] += 1
            with contextlib.suppress(CogworkError):
                await graph.apause({"configurable": {"thread_id": config["configurable"]["thread_id"]}})
        elif not call.done():
            traffic.done["caller gone"] += 1
            call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call


async def _traffic(path: Path, seconds: float, seed: int, every: int) -> Traffic:
    """Rounds of ``every`` runs, some beside each other, until the time, on the real clock, is over; a sample after each."""
    traffic, until, number = Traffic(), time.monotonic() + seconds, 0
    with SqliteCheckpoints(path, synchronous="NORMAL") as saver:
        graph = workflow(saver, random.Random(seed))

        async def some(numbers: Iterator[int]) -> None:
            for mine in numbers:
                try:
                    await _run(graph, saver, mine, random.Random(f"{seed}/{mine}"), traffic)
                except Exception as error:
                    traffic.wrong.append(f"run {mine}: {type(error).__name__}: {error}")
                    traffic.ended["broken"] += 1

        while time.monotonic() < until or len(traffic.samples) < ENOUGH:
            numbers = iter(range(number, number + every))
            await asyncio.gather(*(some(numbers) for _ in range(BESIDE)))
            number += every
            traffic.samples.append(sample(path, traffic.runs))
    return traffic


# -- judging ---------------------------------------------------------------------------------------------------------


def sample(path: Path, runs: int) -> dict[str, float]:
    """What the process and its file hold right now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as other:
        other.execute("PRAGMA wal_checkpoint(PASSIVE)")
        tables = [name for (name,) in other.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = sum(other.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables)
    return {
        "runs": runs,
        "rss": pages * os.sysconf("SC_PAGE_SIZE"),
        "files": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "rows": rows,
        "bytes": path.stat().st_size,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How one of what is judged grows: per run, with the standard error of that."""

    name: str
    first: float
    last: float
    rise: float
    error: float
    grows: bool

    def __str__(self) -> str:
        said = "GROWS" if self.grows else "flat"
        return f"{self.name:8} {self.first:>12.0f} -> {self.last:>12.0f} {self.rise:+10.4f} ± {self.error:.4f} per run: {said}"


def slope(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The least-squares slope of y over x, and its standard error; 0 and 0 for fewer than three points."""
    if len(points) < 3:
        return 0.0, 0.0
    mean_x, mean_y = (sum(point[axis] for point in points) / len(points) for axis in (0, 1))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    rise = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    rest = sum((y - mean_y - rise * (x - mean_x)) ** 2 for x, y in points)
    return rise, (rest / (len(points) - 2) / spread) ** 0.5


def growth(samples: Sequence[Mapping[str, float]]) -> list[Growth]:
    """How each of what is judged grows per run."""
    judged = samples[int(len(samples) * WARM) :]
    found = []
    for name, (each, whole) in LIMITS.items():
        rise, error = slope([(sample["runs"], sample[name]) for sample in judged])
        runs = judged[-1]["runs"] - judged[0]["runs"] if judged else 0
        grows = rise - 2 * error > each and (rise - 2 * error) * runs > whole
        first, last = (judged[0][name], judged[-1][name]) if judged else (0, 0)
        found.append(Growth(name=name, first=first, last=last, rise=rise, error=error, grows=grows))
    return found


def soak(seconds: float, seed: int, folder: Path, every: int = 50) -> tuple[Traffic, list[Growth]]:
    """Run the traffic for so many seconds of the real clock, and judge it."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        traffic = runner.run(_traffic(folder / "soak.sqlite", seconds, seed, every))
    return traffic, growth(traffic.samples)


def main(arguments: list[str] | None = None) -> int:
    """Soak, print, and judge; 1 where something grows or a run broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="of the real clock (60)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=50, help="runs between two samples (50)")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        traffic, grown = soak(asked.minutes * 60, asked.seed, Path(folder), asked.every)
    print(f"{traffic.runs} runs: {dict(traffic.ended)}; {dict(traffic.done)}")
    for each in grown:
        print(f"  {each}")
    for sentence in traffic.wrong[:20]:
        print(f"  {sentence}")
    enough = len(traffic.samples) >= ENOUGH
    if not enough:
        print(f"  {len(traffic.samples)} samples are too few to judge: soak longer, or sample more often")
    return 1 if traffic.wrong or not enough or any(each.grows for each in grown) else 0


if __name__ == "__main__":
    sys.exit(main())
