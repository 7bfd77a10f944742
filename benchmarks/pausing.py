"""Pausing: how long a run goes on after somebody has asked it to pause, while a slow node runs.

``python -m benchmarks.pausing FILE RUNS SECONDS`` is the other process: it runs, and says when each run began and rested.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.figures import Cell, Table, median, verdict
from benchmarks.settings import ROOT, Settings
from benchmarks.subjects import services
from cogwork.store.checkpoints import SqliteCheckpoints
from graphs.build import build
from graphs.graph import WorkflowGraph
from graphs.language.load import load

LIMIT = 100.0
"""Milliseconds from the request to the end of the call."""
UNDER_WAY = 0.1
"""Seconds for which the slow node has been running when the pause is asked for."""


async def pausing(settings: Settings) -> list[Table]:
    """Milliseconds from the request to the end of the call that runs the graph."""
    table = Table(
        name="pausing",
        title=f"pause while a node of {settings.pause_seconds:g} s runs (ms)",
        columns=("asked by", "pauses", "median", "max", "limit", "met"),
    )
    if not hasattr(WorkflowGraph, "apause"):
        table.notes.append("skipped: runs cannot be paused yet")
        return [table]
    for name, measure in (("the same process", _within), ("another process", _across)):
        settings.tell(f"pausing: {name}")
        with tempfile.TemporaryDirectory() as folder:
            table.rows.append(_row(name, await measure(Path(folder) / "paused.sqlite", settings)))
    return [table]


def _row(name: str, took: list[float]) -> tuple[Cell, ...]:
    ms = [seconds * 1000 for seconds in took]
    return (name, len(ms), median(ms), max(ms), LIMIT, verdict(max(ms) <= LIMIT))


def graph_of(path: Path, seconds: float) -> WorkflowGraph:
    """One slow node that reads, and one after it."""
    nodes = {
        "slow": {"type": "tool", "tool": "bench.wait", "args": {"seconds": seconds}},
        "after": {"type": "transform", "set": 1, "depends_on": ["slow"]},
    }
    spec = {"cogwork": "v1", "name": "slow", "nodes": nodes}
    return build(load(spec), services(), lambda name, where: None, checkpointer=SqliteCheckpoints(path))


def thread(index: int) -> Any:
    """The configuration of a run."""
    return {"configurable": {"thread_id": f"t{index}"}}


async def _within(path: Path, settings: Settings) -> list[float]:
    graph, took = graph_of(path, settings.pause_seconds), []
    for index in range(settings.pauses):
        call = asyncio.create_task(graph.ainvoke({}, thread(index)))
        await asyncio.sleep(UNDER_WAY)
        asked = time.monotonic()
        await graph.apause(thread(index))
        await _rested(call)
        took.append(time.monotonic() - asked)
    return took


async def _rested(call: asyncio.Task[Any]) -> None:
    state = await call
    if state["run"]["status"] != "paused":
        raise RuntimeError(f"the run was not paused: {state['run']}")


async def _across(path: Path, settings: Settings) -> list[float]:
    graph, took = graph_of(path, settings.pause_seconds), []
    asked = [str(path), str(settings.pauses), str(settings.pause_seconds)]
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.pausing", *asked, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert other.stdout is not None
    for index in range(settings.pauses):
        await other.stdout.readline()
        await asyncio.sleep(UNDER_WAY)
        began = time.monotonic()
        await graph.apause(thread(index))
        took.append(float(await other.stdout.readline()) - began)
    await other.wait()
    return took


async def _other(path: Path, pauses: int, seconds: float) -> None:
    """The process whose runs are paused by another; it says the moment of each rest on the clock that both share."""
    graph = graph_of(path, seconds)
    for index in range(pauses):
        print("begun", flush=True)
        await _rested(asyncio.create_task(graph.ainvoke({}, thread(index))))
        print(time.monotonic(), flush=True)


if __name__ == "__main__":
    asyncio.run(_other(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
