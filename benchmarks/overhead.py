"""Overhead: what a node that does nothing costs, in plain LangGraph and in cogwork."""

from __future__ import annotations

import gc
import math
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.dags import Dag, chain, fan, layers
from benchmarks.figures import Cell, Table, median, verdict
from benchmarks.settings import Settings
from benchmarks.subjects import KINDS, STORAGES, Storage, Subject, subject

TARGET, LIMIT = 1.3, 1.5
"""Cogwork's cost over plain LangGraph's: what is wanted, and what is never to be exceeded."""


async def overhead(settings: Settings) -> list[Table]:
    """Microseconds per node that does nothing, with each saver; CPU time is that of all threads."""
    table = Table(
        name="overhead",
        title="microseconds per node that does nothing (medians)",
        columns=("graph", "saver", "subject", "runs", "cpu", "wall", "cpu ratio", "wall ratio", "<= 1.3", "<= 1.5"),
    )
    for dag in shapes(settings.size):
        for storage in STORAGES:
            settings.tell(f"overhead: {dag.name}, {storage}")
            table.rows.extend(await _compared(dag, storage, settings.repetitions))
    return [table]


def shapes(size: int) -> list[Dag]:
    """A chain, a fan and full layers of about ``size`` nodes."""
    side = max(1, math.isqrt(size))
    return [chain(size), fan(size), layers(side, side)]


async def _compared(dag: Dag, storage: Storage, repetitions: int) -> list[tuple[Cell, ...]]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        subjects = [await stack.enter_async_context(subject(kind, dag, storage, folder)) for kind in KINDS]
        for each in subjects:
            await each.run()
            each.costs.clear()
        for _ in range(repetitions):
            for each in subjects:
                gc.collect()
                await each.run()
        plain = subjects[0]
        return [_row(dag, each, plain) for each in subjects]


def _row(dag: Dag, measured: Subject, plain: Subject) -> tuple[Cell, ...]:
    cpu, wall = _per_node(dag, measured)
    base_cpu, base_wall = _per_node(dag, plain)
    cells: tuple[Cell, ...] = (dag.name, measured.storage, measured.name, len(measured.costs), cpu, wall)
    if measured is plain:
        return (*cells, 1.0, 1.0, None, None)
    ratio = cpu / base_cpu
    return (*cells, ratio, wall / base_wall, verdict(ratio <= TARGET), verdict(ratio <= LIMIT))


def _per_node(dag: Dag, measured: Subject) -> tuple[float, float]:
    """CPU and wall time per node in microseconds."""
    scale = 1e6 / len(dag.tasks)
    return median(c.cpu for c in measured.costs) * scale, median(c.wall for c in measured.costs) * scale
