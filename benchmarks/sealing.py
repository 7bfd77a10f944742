"""Sealing: what a durable run costs more whose checkpoints are encrypted, and how fast values are sealed."""

from __future__ import annotations

import gc
import itertools
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks.dags import chain
from benchmarks.figures import Cell, Table, median, verdict
from benchmarks.settings import Settings
from benchmarks.subjects import Subject, document, services, write
from cogwork.sealing.keys import Key, Ring
from cogwork.sealing.xaes import Xaes
from cogwork.store.checkpoints import SqliteCheckpoints
from cogwork.tools.toolbox import Toolbox, tool
from graphs.build import build
from graphs.language.load import load
from state.services import Services

NODES: Final = 50
LIMIT: Final = 1.25
"""Of the time that the same run takes unsealed."""
SUBJECTS: Final = {"plain": Ring(), "sealed": Ring((Key(bytes(32)),))}
SIZES: Final = (100, 10_000, 1_000_000)
_folders = itertools.count()


@tool(name="bench.text", effect="write", idempotent=False)
async def text() -> str:
    """Give 4,000 characters."""
    return "what a step may say " * 200


async def sealing(settings: Settings) -> list[Table]:
    """Ratios of a chain of 50 durable steps on SQLite, each a write that is recorded; microseconds per value."""
    table = Table(
        name="sealing",
        title="a chain of durable writes, sealed (medians)",
        columns=("nodes", "each gives", "subject", "runs", "ms", "CPU ms", "ratio", "CPU ratio", "limit", "met"),
    )
    for called, gives in (("bench.write", "a number"), ("bench.text", "4,000 characters")):
        settings.tell(f"sealing: {gives}")
        table.rows.extend(await _compared(called, gives, min(NODES, settings.size), settings.repetitions))
    return [table, _values(settings.repetitions)]


async def _compared(called: str, gives: str, size: int, repetitions: int) -> list[tuple[Cell, ...]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        subjects = {name: _subject(stack, folder, name, called, size) for name in SUBJECTS}
        for round in range(repetitions + 1):
            for each in subjects.values():
                gc.collect()
                await each.run()
                if not round:
                    each.costs.clear()
    base = subjects["plain"]
    return [_row(name, gives, size, each, base) for name, each in subjects.items()]


def _subject(stack: ExitStack, folder: Path, name: str, called: str, size: int) -> Subject:
    saver = stack.enter_context(SqliteCheckpoints(folder / f"{next(_folders)}.sqlite", ring=SUBJECTS[name]))
    spec: Any = document(chain(size), pure=False, called=called)
    graph = build(load(spec), _services(), lambda *_: None, checkpointer=saver)
    return Subject(name=name, storage="sqlite", graph=graph, saver=saver, expected=size)


def _services() -> Services:
    known = services()
    return Services(tools=Toolbox([write, text]), models=known.models, prompts=known.prompts)


def _row(name: str, gives: str, size: int, measured: Subject, base: Subject) -> tuple[Cell, ...]:
    wall, cpu = (median(getattr(cost, part) for cost in measured.costs) for part in ("wall", "cpu"))
    ratio = wall / median(cost.wall for cost in base.costs)
    more = cpu / median(cost.cpu for cost in base.costs)
    bound, met = (None, None) if name == "plain" else (LIMIT, verdict(ratio <= LIMIT))
    return (size, gives, name, len(measured.costs), wall * 1000, cpu * 1000, ratio, more, bound, met)


def _values(repetitions: int) -> Table:
    table = Table(name="sealed", title="a value sealed and opened (medians)", columns=("bytes", "seal us", "open us"))
    cipher = Xaes(bytes(32))
    for size in SIZES:
        data, seals, opens = bytes(size), [], []
        for _ in range(max(5, repetitions)):
            start = time.perf_counter()
            sealed = cipher.sealed(data, b"place")
            between = time.perf_counter()
            cipher.opened(sealed, b"place")
            opens.append(time.perf_counter() - between)
            seals.append(between - start)
        table.rows.append((size, median(seals) * 1e6, median(opens) * 1e6))
    return table
