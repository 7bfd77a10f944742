"""A day of schedules and traffic on a virtual clock, over a change to summer time and restarts: nothing missed, nothing grows."""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cogwork.app import app
from cogwork.engine.chores import orphans, wake
from cogwork.engine.firing import QueueStarter, schedules_of
from cogwork.engine.parts import Parts, Shared
from cogwork.engine.queue import Queues
from cogwork.records.columns import instant
from cogwork.records.tables import METADATA
from cogwork.records.tables.executions import EXECUTIONS
from cogwork.retention import plan, sweep
from cogwork.schedules.clockwork import Clockwork
from cogwork.sections import Retention
from cogwork.settings import Settings

BEGIN = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
STEP = timedelta(minutes=5)
STEPS = 24 * 12
TICKING: dict[str, Any] = {
    "cogwork": "v1",
    "name": "ticking",
    "nodes": {"a": {"type": "transform", "set": {"x": 1}}},
    "output": "{{ a.x }}",
}


class Scripted:
    """A queue that keeps what is to run, for a test that runs it itself."""

    def __init__(self, queues: Queues) -> None:
        self.queues = queues
        self.waiting: dict[tuple[str, int], None] = {}

    async def enqueue(self, execution: str, number: int, **_: Any) -> None:
        """Note the segment; asked twice, it is noted once."""
        self.waiting[execution, number] = None

    async def withdraw(self, execution: str, number: int) -> None:
        """Forget the segment."""
        self.waiting.pop((execution, number), None)

    async def standing(self, names: list[str]) -> dict[str, str]:
        """What of these waits."""
        known = {f"{execution}.{number}" for execution, number in self.waiting}
        return {name: "ENQUEUED" for name in names if name in known}

    async def run(self, parts: Parts) -> int:
        """Run all that waits."""
        count = 0
        while self.waiting:
            (execution, number), _ = self.waiting.popitem()
            await parts.segments.run(execution, number)
            count += 1
        return count

    def close(self) -> None:
        """Nothing is open."""


class Clock:
    """The time, which goes on when it is told to."""

    def __init__(self) -> None:
        self.at = BEGIN

    def __call__(self) -> datetime:
        return self.at


def _opened(folder: Path, clock: Clock) -> tuple[Shared, Parts, Scripted]:
    house = app(Settings(state_dir=folder / "state", workflows=[]))
    shared = Shared(house, now=clock)
    queue = Scripted(shared.queues)
    shared.queue = lambda: queue  # type: ignore[method-assign, assignment, return-value]
    return shared, shared.parts(), queue


def _rows(parts: Parts) -> int:
    def counted(connection: sa.Connection) -> int:
        tables = METADATA.sorted_tables
        return sum(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() for table in tables)

    return parts.records.read(counted)


@pytest.mark.req("R5", "X13", "E2")
async def test_a_day_of_schedules_and_traffic_misses_and_doubles_nothing_and_nothing_grows(tmp_path: Path) -> None:
    clock = Clock()
    shared, parts, queue = _opened(tmp_path, clock)
    await parts.library.create(TICKING)
    schedules = schedules_of(parts)
    await schedules.create("often", "ticking", {"every": "5m", "catch_up": "all"})
    await schedules.create("nightly", "ticking", {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "catch_up": "all"})
    fired: Counter[str] = Counter()
    sizes: list[tuple[int, int, int]] = []
    retention = Retention(completed="1h", events="1h", checkpoints="1h", payloads="6h", firings="1h")  # type: ignore[arg-type]
    for step in range(1, STEPS + 1):
        clock.at = BEGIN + step * STEP
        clockwork = Clockwork(parts.records, QueueStarter(parts), now=clock)
        await clockwork.tick()
        await parts.dispatch.start((await parts.starting.request("ticking", {}, _options(step)))[0])
        await wake(parts)
        await orphans(parts)
        await queue.run(parts)
        fired.update(await _origins(parts, clock.at - STEP))
        if step % 12 == 0:
            await sweep(parts.records, parts.saver, plan(retention, clock.at))
        if step % 72 == 0:
            await parts.close()
            shared.close()
            shared.house.close()  # type: ignore[attr-defined]
            gc.collect()
            shared, parts, queue = _opened(tmp_path, clock)
            sizes.append((_rows(parts), len(os.listdir("/proc/self/fd")), threading.active_count()))
    kinds = Counter({origin.partition(":")[0]: count for origin, count in fired.items()})
    by_name = {each.id: each.name for each in (await schedules_of(parts).list()).items}
    of = {by_name.get(origin.partition(":")[2], origin): count for origin, count in fired.items()}
    assert of["often"] == STEPS and of["nightly"] == 1, "at 02:30 of a night that has none, it fires once"
    assert of["python"] == STEPS and kinds["python"] == STEPS
    first, *later = sizes
    for rows, handles, threads in later:
        assert rows <= first[0] * 1.2 and handles <= first[1] + 3 and threads <= first[2] + 3, sizes
    await parts.close()
    shared.close()
    shared.house.close()  # type: ignore[attr-defined]


def _options(step: int) -> Any:
    from cogwork.executions.options import options_of

    return options_of({"idempotency_key": f"traffic-{step}", "tags": ["traffic"]})


async def _origins(parts: Parts, since: datetime) -> list[str]:
    """Where the executions came from that were asked for since then, all of which have completed."""
    query = sa.select(EXECUTIONS.c.origin, EXECUTIONS.c.status).where(EXECUTIONS.c.created_at > since)
    rows = await parts.records.reading(lambda c: c.execute(query).all())
    assert {row.status for row in rows} <= {"completed"}
    assert instant(0) < since
    return [str(row.origin) for row in rows]
