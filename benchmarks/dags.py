"""Graphs of tasks with a duration each: real ones from ``shared/data``, and the shapes that show overhead."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

SIGMA = 0.8
"""Of the log-normal latencies: the slowest of 20 calls takes about four times the median."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task, the tasks it waits for, and how long it takes in seconds."""

    name: str
    parents: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dag:
    """Tasks in an order in which parents come first."""

    name: str
    tasks: tuple[Task, ...]

    @property
    def critical_path(self) -> float:
        """The seconds of the longest path: no schedule can be faster."""
        ends: dict[str, float] = {}
        for task in self.tasks:
            ends[task.name] = task.seconds + max((ends[parent] for parent in task.parents), default=0.0)
        return max(ends.values())

    @property
    def leaves(self) -> list[str]:
        """The tasks that none waits for."""
        inner = {parent for task in self.tasks for parent in task.parents}
        return [task.name for task in self.tasks if task.name not in inner]

    def timed(self, seconds: Mapping[str, float]) -> Dag:
        """The same tasks with other durations."""
        return replace(self, tasks=tuple(replace(task, seconds=seconds[task.name]) for task in self.tasks))

    def scaled(self, critical_path: float) -> Dag:
        """The same tasks, faster or slower, with that critical path."""
        factor = critical_path / (self.critical_path or 1.0)
        return self.timed({task.name: task.seconds * factor for task in self.tasks})

    def lognormal(self, seed: int) -> Dag:
        """The same edges with log-normal durations, as models and remote services have."""
        chance = random.Random(seed)
        return self.timed({task.name: chance.lognormvariate(0.0, SIGMA) for task in self.tasks})


def read(path: Path) -> Dag:
    """The graph of a file ``{"instance", "tasks": [{"id", "depends_on", "runtime_s"}]}``, gzipped."""
    raw = json.loads(gzip.decompress(path.read_bytes()))
    names = _names([task["id"] for task in raw["tasks"]])
    tasks = [
        Task(
            name=names[task["id"]],
            parents=tuple(names[parent] for parent in task["depends_on"]),
            seconds=float(task["runtime_s"]),
        )
        for task in raw["tasks"]
    ]
    return Dag(name=raw["instance"], tasks=tuple(_ordered(tasks)))


def chain(length: int) -> Dag:
    """Each task waits for the one before."""
    tasks = [Task(name=f"n{i}", parents=(f"n{i - 1}",) if i else ()) for i in range(length)]
    return Dag(name=f"chain {length}", tasks=tuple(tasks))


def fan(width: int) -> Dag:
    """One task, many beside each other, one task."""
    between = [Task(name=f"n{i}", parents=("first",)) for i in range(width)]
    last = Task(name="last", parents=tuple(task.name for task in between))
    return Dag(name=f"fan 1+{width}+1", tasks=(Task(name="first"), *between, last))


def layers(depth: int, width: int) -> Dag:
    """Each task of a layer waits for all of the layer before."""
    tasks = [
        Task(name=f"n{row}_{i}", parents=tuple(f"n{row - 1}_{j}" for j in range(width)) if row else ())
        for row in range(depth)
        for i in range(width)
    ]
    return Dag(name=f"layers {depth}x{width}", tasks=tuple(tasks))


def _names(ids: Iterable[str]) -> dict[str, str]:
    """Ids to names that both LangGraph and expressions take."""
    names: dict[str, str] = {}
    for task_id in ids:
        name = re.sub(r"\W", "_", task_id)
        names[task_id] = name if name not in names.values() else f"{name}__{len(names)}"
    return names


def _ordered(tasks: Iterable[Task]) -> list[Task]:
    """The tasks with parents first."""
    waiting = {task.name: task for task in tasks}
    ordered: dict[str, Task] = {}
    while waiting:
        ready = [task for task in waiting.values() if all(parent in ordered for parent in task.parents)]
        if not ready:
            raise ValueError(f"The tasks wait for each other: {', '.join(sorted(waiting))[:200]}")
        for task in ready:
            ordered[task.name] = waiting.pop(task.name)
    return list(ordered.values())
