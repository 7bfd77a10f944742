"""Metrics: how long figures over 30 days take among a million executions and a million steps, on both databases."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from benchmarks.databases import server
from benchmarks.figures import Cell, Table, median, verdict
from benchmarks.settings import Settings
from cogwork.metrics import Metrics
from cogwork.records import Records
from cogwork.records.database import opened
from cogwork.records.tables.executions import EXECUTIONS, STEPS
from cogwork.records.tables.library import WORKFLOWS

ROWS: Final = 1_000_000
DAYS: Final = 90
SHARES: Final = {"big": 0.5, "middle": 0.1, "small": 0.01}
"""Of the executions; all others belong to forty workflows more."""
LIMIT: Final = 1.0
"""Seconds for the middle workflow, of which about 33,000 executions lie within 30 days."""
COUNTS: Final = ["execution_count", "success_rate", "average_duration", "error_count"]
NOW: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
CHUNK: Final = 20_000


async def metrics(settings: Settings) -> list[Table]:
    """Seconds of each report, and how many times a bare count of the same executions that is."""
    table = Table(
        name="metrics",
        title=f"figures over 30 of {DAYS} days",
        columns=("database", "report", "executions", "rows in all", "s", "times a bare count", "limit", "met"),
    )
    rows, repetitions = (ROWS, 5) if settings.repetitions > 5 else (settings.size * 20, settings.repetitions)
    for name in ("sqlite", "postgresql"):
        settings.tell(f"metrics: filling {name} with {rows:,} executions and {rows:,} steps")
        try:
            with _filled(name, rows) as records:
                table.rows.extend(await _measured(name, records, rows, repetitions, settings))
        except LookupError as missing:
            table.notes.append(str(missing))
    return [table]


@contextmanager
def _filled(name: str, rows: int) -> Iterator[Records]:
    with tempfile.TemporaryDirectory() as folder:
        if name == "sqlite":
            with opened(Path(folder, "records.sqlite"), synchronous="NORMAL") as records:
                _fill(records, rows)
                yield records
            return
        with server() as url, opened(Path(folder), url) as records:
            _fill(records, rows)
            yield records


def _fill(records: Records, rows: int) -> None:
    drawn = random.Random(1)
    span = timedelta(days=DAYS) / rows
    for first in range(0, rows, CHUNK):
        made = [
            _execution(drawn, number, NOW - timedelta(days=DAYS) + number * span)
            for number in range(first, min(rows, first + CHUNK))
        ]
        steps = [_step(drawn, row) for row in made]
        records.write(
            lambda c, made=made, steps=steps: (
                c.execute(sa.insert(EXECUTIONS), made),
                c.execute(sa.insert(STEPS), steps),
            )
        )  # type: ignore[misc]
    library = {"id": "wf-middle", "name": "middle", "status": "active", "latest": 3, "metadata": {}}
    kept = {**library, "created_at": NOW, "updated_at": NOW}
    records.write(lambda c: c.execute(sa.insert(WORKFLOWS).values(**kept)))
    if records.dialect == "postgresql":  # It does so by itself after a while; SQLite does not.
        records.write(lambda c: c.exec_driver_sql("ANALYZE"))


def _execution(drawn: random.Random, number: int, at: datetime) -> dict[str, Any]:
    workflow = _workflow(drawn) if number >= len(SHARES) else list(SHARES)[number]
    failed = drawn.random() < 0.05
    error = {"class": drawn.choice(("timeout", "tool_error")), "message": "it failed"} if failed else None
    return {
        "id": f"exec-{drawn.getrandbits(64):016x}-{number}",
        "thread": f"thread-{number}",
        "workflow": workflow,
        "workflow_id": f"wf-{workflow}",
        "version": drawn.randrange(1, 4),
        "status": "failed" if failed else "completed",
        "mode": "async",
        "priority": 5,
        "options": {},
        "metadata": {},
        "error": error,
        "created_at": at,
        "started_at": at,
        "ended_at": at + timedelta(seconds=drawn.lognormvariate(1, 1)),
        "updated_at": at,
    }


def _workflow(drawn: random.Random) -> str:
    chance, other = drawn.random(), f"other-{drawn.randrange(40)}"
    for name, share in SHARES.items():
        if chance < share:
            return name
        chance -= share
    return other


def _step(drawn: random.Random, execution: dict[str, Any]) -> dict[str, Any]:
    seconds = (execution["ended_at"] - execution["started_at"]).total_seconds()
    return {
        "execution_id": execution["id"],
        "path": "answer",
        "node": "answer",
        "kind": "llm",
        "status": "done",
        "workflow": execution["workflow"],
        "workflow_id": execution["workflow_id"],
        "version": execution["version"],
        "agent": f"agent-{drawn.randrange(20)}",
        "model": f"model-{drawn.randrange(5)}",
        "started_at": execution["started_at"],
        "ended_at": execution["ended_at"],
        "seconds": seconds,
        "attempts": 1,
        "input_tokens": 1000,
        "output_tokens": 100,
        "cost_usd": 0.001,
    }


async def _measured(
    name: str, records: Records, rows: int, repetitions: int, settings: Settings
) -> list[tuple[Cell, ...]]:
    own, found = Metrics(records, now=lambda: NOW), list[tuple[Cell, ...]]()
    whole = "last_30_days"
    reports: dict[str, tuple[str | None, Callable[[], Awaitable[Any]]]] = {
        "documents' four, middle workflow": ("middle", lambda: own.workflow("middle", whole, COUNTS)),
        "all, small workflow": ("small", lambda: own.workflow("small", whole)),
        "all, middle workflow": ("middle", lambda: own.workflow("middle", whole)),
        "all, middle workflow by id": ("middle", lambda: own.workflow("wf-middle", whole)),
        "all, big workflow": ("big", lambda: own.workflow("big", whole)),
        "all, an agent": (None, lambda: own.agent("agent-1", whole)),
        "all, a model": (None, lambda: own.model("model-1", whole)),
        "all, overview": ("", lambda: own.overview(whole)),
    }
    for title, (workflow, report) in reports.items():
        settings.tell(f"metrics: {name}, {title}")
        taken, bare, count = list[float](), list[float](), 0
        for _ in range(max(1, repetitions)):
            begun = time.perf_counter()
            count = (await report())["execution_count"]
            between = time.perf_counter()
            if workflow is not None:
                await records.reading(lambda c, workflow=workflow: c.execute(_bare(workflow)).scalar())  # type: ignore[misc]
                bare.append(time.perf_counter() - between)
            taken.append(between - begun)
        limited = "middle" in title
        took = median(taken)
        met = (LIMIT, verdict(took <= LIMIT)) if limited else (None, "")
        found.append((name, title, count, rows, took, took / median(bare) if bare else None, *met))
    return found


def _bare(workflow: str) -> sa.Select[Any]:
    within: Sequence[Any] = (EXECUTIONS.c.created_at >= NOW - timedelta(days=30), EXECUTIONS.c.created_at < NOW)
    of = (EXECUTIONS.c.workflow == workflow,) if workflow else ()
    return sa.select(sa.func.count()).select_from(EXECUTIONS).where(*within, *of)
