"""Makespan: how much longer a run takes than its longest path, on graphs of real workflows with tasks that sleep."""

from __future__ import annotations

import gc
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.dags import Dag, read
from benchmarks.figures import Cell, Table, median, verdict
from benchmarks.settings import Settings
from benchmarks.subjects import Kind, Storage, Subject, subject

SEED = 1
PLAIN_EVERY = 4
"""Plain LangGraph hardly varies and can take several times as long: it runs in every fourth round."""
LARGE = 500
"""Nodes above which the bookkeeping of a superstep is allowed more."""
MEDIAN_LIMITS: dict[tuple[Storage, bool], float] = {
    ("memory", False): 1.05,
    ("sqlite", False): 1.10,
    ("memory", True): 1.15,
    ("sqlite", True): 1.25,
}
MAX_LIMIT = 1.25
SUBJECTS: tuple[tuple[Kind, Storage], ...] = (
    ("cogwork tool", "memory"),
    ("cogwork tool", "sqlite"),
    ("langgraph", "memory"),
    ("langgraph", "sqlite"),
)


async def makespan(settings: Settings) -> list[Table]:
    """Makespan / critical path of every real graph, with its real durations and with log-normal ones."""
    table = Table(
        name="makespan",
        title=f"makespan / critical path ({settings.critical_path:g} s)",
        columns=("graph", "nodes", "durations", "subject", "saver", "runs", "median", "max", "cpu s", "limit", "met"),
    )
    paths = _paths(settings)
    if not paths:
        table.notes.append(f"skipped: there are no graphs in {settings.data}")
    for path in paths:
        real = read(path)
        for durations, dag in (("real", real), ("log-normal", real.lognormal(SEED))):
            settings.tell(f"makespan: {dag.name}, {durations}")
            table.rows.extend(await _compared(dag.scaled(settings.critical_path), durations, settings))
    return [table]


def _paths(settings: Settings) -> list[Path]:
    found = sorted(settings.data.glob("*.json.gz"))
    wanted = settings.only_graphs
    return [path for path in found if not wanted or any(part in path.name for part in wanted)]


async def _compared(dag: Dag, durations: str, settings: Settings) -> list[tuple[Cell, ...]]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        subjects = [await stack.enter_async_context(subject(kind, dag, to, folder)) for kind, to in SUBJECTS]
        for index in range(settings.runs):
            for each in subjects:
                if each.name == "langgraph" and index % PLAIN_EVERY:
                    continue
                gc.collect()
                await each.run()
        return [_row(dag, durations, each) for each in subjects]


def _row(dag: Dag, durations: str, measured: Subject) -> tuple[Cell, ...]:
    ratios = [cost.wall / dag.critical_path for cost in measured.costs]
    middle, worst = median(ratios), max(ratios)
    cells: tuple[Cell, ...] = (dag.name, len(dag.tasks), durations, measured.name, measured.storage, len(ratios))
    cpu = median(cost.cpu for cost in measured.costs)
    if measured.name == "langgraph":
        return (*cells, middle, worst, cpu, None, None)
    limit = MEDIAN_LIMITS[measured.storage, len(dag.tasks) > LARGE]
    return (*cells, middle, worst, cpu, limit, verdict(middle <= limit and worst <= MAX_LIMIT))
