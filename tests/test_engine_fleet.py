"""Executions on workers that die, freeze, drain and are replaced; on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cogwork.executions.listing import Filter, listed
from tests.clusters import cluster
from tests.fleet import CHAIN, Fleet, asked, attempts, ended, fleet, repeated, shared

pytestmark = [pytest.mark.req("E2", "M2", "M8", "R3", "E9"), pytest.mark.slow]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where executions are kept: nothing to start, or a server whose connections nobody else uses up."""
    if request.param == "sqlite":
        yield ""
        return
    with cluster() as server:
        yield server.url


async def _many(folder: Path, url: str, total: int, disturb: object = None) -> dict[str, int]:
    with shared(folder, url) as opened:
        parts = opened.parts()
        request = asked(parts, CHAIN, {"n": 1})
        await asyncio.gather(*(parts.dispatch.start(request) for _ in range(total)))
        task = asyncio.create_task(disturb()) if callable(disturb) else None
        found = await ended(parts, total)
        if task is not None:
            await task
        page = await parts.records.reading(lambda c: listed(c, Filter(status="completed"), limit=1000))
        outputs = {await parts.executions.output_of(each) for each in page.items[:20]}
        assert outputs == {4}
        await parts.close()
        return found


def _sound(made: Fleet, found: dict[str, int], total: int, in_flight: int) -> None:
    assert found == {"completed": total}, made.said()
    assert repeated(made.folder) == []
    again = sum(count - 1 for count in attempts(made.folder).values())
    assert again <= in_flight, "only what was in flight when a worker died may begin again"


async def test_workers_that_are_killed_amid_many_executions_lose_none_and_repeat_no_finished_step(
    tmp_path: Path, url: str
) -> None:
    total, kills, rng = (1000, 20, random.Random(5)) if url else (200, 6, random.Random(5))
    with fleet(tmp_path, url, concurrency=20) as made:
        made.start(2)

        async def kill() -> None:
            for _ in range(kills):
                await asyncio.sleep(rng.uniform(0.3, 1.2))
                made.kill(rng.choice(made.alive()))
                await asyncio.to_thread(made.start)

        found = await _many(tmp_path, url, total, kill)
        _sound(made, found, total, kills * 20)


async def test_a_frozen_worker_loses_its_executions_and_writes_nothing_when_it_wakes(tmp_path: Path, url: str) -> None:
    if not url:
        pytest.skip("on SQLite a frozen owner keeps its runs until it dies, and nobody takes them over")
    with fleet(tmp_path, url, hold=0.4, concurrency=5) as made:
        frozen, _ = made.start(2)

        async def freeze() -> None:
            await asyncio.sleep(1.0)
            made.signal(frozen, signal.SIGSTOP)
            await asyncio.sleep(16.0)
            made.signal(frozen, signal.SIGCONT)

        found = await _many(tmp_path, url, 30, freeze)
        _sound(made, found, 30, 5)
        assert frozen.poll() is None, "it goes on as a worker"


async def test_a_worker_that_is_asked_to_end_hands_its_executions_on_and_ends_at_once(tmp_path: Path, url: str) -> None:
    with fleet(tmp_path, url, hold=0.3, concurrency=5) as made:
        ending, _ = made.start(2)
        seconds = []

        async def drain() -> None:
            await asyncio.sleep(1.0)
            began = time.monotonic()
            made.signal(ending, signal.SIGTERM)
            assert await asyncio.to_thread(ending.wait, 30) == 0, made.said()
            seconds.append(time.monotonic() - began)

        found = await _many(tmp_path, url, 30, drain)
        _sound(made, found, 30, 5)
        assert seconds and seconds[0] < 10


async def test_a_rolling_restart_strands_nothing(tmp_path: Path, url: str) -> None:
    with fleet(tmp_path, url, hold=0.1, concurrency=10) as made:
        made.start(2)

        async def roll() -> None:
            for worker in list(made.workers):
                await asyncio.to_thread(made.start)
                made.signal(worker, signal.SIGTERM)
                await asyncio.to_thread(worker.wait, 60)

        found = await _many(tmp_path, url, 100, roll)
        _sound(made, found, 100, 20)


async def test_executions_outlive_a_server_that_crashes_and_comes_back(tmp_path: Path) -> None:
    with cluster() as server, fleet(tmp_path, server.url, hold=0.3, concurrency=5) as made:
        made.start(2)

        async def restart() -> None:
            await asyncio.sleep(1.0)
            await asyncio.to_thread(server.stop)
            await asyncio.sleep(2.0)
            await asyncio.to_thread(server.start)

        found = await _many(tmp_path, server.url, 30, restart)
        _sound(made, found, 30, 10)
