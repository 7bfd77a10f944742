"""Durability: what a node costs when every superstep, and every effect, is on disk before the next begins."""

from __future__ import annotations

import gc
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from langgraph.types import Command

from benchmarks.dags import Dag, chain, fan
from benchmarks.figures import Cell, Table, median, verdict
from benchmarks.settings import Settings
from benchmarks.subjects import Kind, Subject, document, services, subject
from cogwork.store.checkpoints import SqliteCheckpoints
from graphs.build import build
from graphs.graph import WorkflowGraph
from graphs.language.load import load

KINDS: tuple[Kind, ...] = ("langgraph", "cogwork effect-free", "cogwork write")
LIMITS: dict[Kind, float] = {"cogwork effect-free": 1.0, "cogwork write": 1.5}
"""Of the time that plain LangGraph takes with the same durability."""
CONFIG: Any = {"configurable": {"thread_id": "resumed"}}


async def durable(settings: Settings) -> list[Table]:
    """Milliseconds on the clock per node, on SQLite with an fsync per commit; and how long a long run takes to resume."""
    table = Table(
        name="durable",
        title="milliseconds per durable node, sqlite (medians)",
        columns=("graph", "subject", "runs", "ms", "ratio", "limit", "met"),
    )
    for dag in (chain(settings.size), fan(settings.size)):
        settings.tell(f"durable: {dag.name}")
        table.rows.extend(await _compared(dag, settings.repetitions))
    settings.tell("durable: resuming")
    return [table, await _resuming(settings.size * 10, max(1, settings.repetitions // 8))]


async def _compared(dag: Dag, repetitions: int) -> list[tuple[Cell, ...]]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        subjects = [await stack.enter_async_context(subject(kind, dag, "sqlite", folder)) for kind in KINDS]
        for each in subjects:
            await each.run()
            each.costs.clear()
        for _ in range(repetitions):
            for each in subjects:
                gc.collect()
                await each.run()
        base = _milliseconds(dag, subjects[0])
        return [_row(dag, kind, each, base) for kind, each in zip(KINDS, subjects, strict=True)]


def _row(dag: Dag, kind: Kind, measured: Subject, base: float) -> tuple[Cell, ...]:
    took, limit = _milliseconds(dag, measured), LIMITS.get(kind)
    ratio = took / base
    met = None if limit is None else verdict(ratio <= limit)
    return (dag.name, kind, len(measured.costs), took, ratio, limit, met)


def _milliseconds(dag: Dag, measured: Subject) -> float:
    return median(cost.wall for cost in measured.costs) * 1000 / len(dag.tasks)


# -- resuming ------------------------------------------------------------------------------------------------------


async def _resuming(size: int, times: int) -> Table:
    """From opening the file to the end of a run of which one node, and a person's answer, was left."""
    table = Table(name="resuming", title="resuming a long run (ms, medians)", columns=("what", "nodes", "ms"))
    spec = document(chain(size), pure=True)
    last = list(spec["nodes"])[-1]
    spec["nodes"]["ask"] = {"type": "human", "ask": "Go on?", "depends_on": [last]}
    spec["output"] = "{{ ask }}"
    built, took = [], []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "resumed.sqlite"
            with SqliteCheckpoints(path) as saver:
                await _graph(spec, saver).ainvoke({}, CONFIG)
            start = time.perf_counter()
            with SqliteCheckpoints(path) as saver:
                graph = _graph(spec, saver)
                built.append(time.perf_counter() - start)
                start = time.perf_counter()
                state = await graph.ainvoke(Command(resume={"ask": {"answer": "yes"}}), CONFIG)
                took.append(time.perf_counter() - start)
            if state["run"]["status"] != "completed":
                raise RuntimeError("the run was not resumed to its end")
    table.rows.append(("open the file and build the graph", size, median(built) * 1000))
    table.rows.append(("from the answer to the end", size, median(took) * 1000))
    return table


def _graph(spec: dict[str, Any], saver: Any) -> WorkflowGraph:
    return build(load(spec), services(), lambda name, where: None, checkpointer=saver)
