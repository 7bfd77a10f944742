"""The health of the whole: what each part answers, and what it makes of the sum."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cogwork.breaker import Breakers
from cogwork.metrics.health import Part, Status, aside, overall, system_health
from cogwork.metrics.probes import (
    disk_probe,
    opened_probes,
    records_probe,
    service_probes,
    store_probe,
    workers_probe,
)
from cogwork.records import Records
from cogwork.records.database import opened
from cogwork.records.schema import HEAD
from cogwork.records.tables.workers import WORKERS
from state.errors import Fault
from tests.clusters import cluster, schema
from tests.ledger import NOW, Ledger, ago

pytestmark = pytest.mark.req("E6")
GIB = 1024**3


@pytest.fixture(params=["sqlite", "postgresql"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    """Empty records in a database of either kind."""
    if request.param == "sqlite":
        with opened(tmp_path / "records.sqlite", synchronous="NORMAL") as made:
            yield made
    else:
        with schema() as url, opened(tmp_path, url) as made:
            yield made


def says(status: Status) -> Callable[[], Awaitable[Part]]:
    """A probe of a part that stands like that."""

    async def probe() -> Part:
        return Part(status=status, detail=f"it is {status}")

    return probe


@pytest.mark.parametrize(
    ("states", "whole"),
    [
        ({}, "healthy"),
        ({"records": "healthy", "mcp": "healthy"}, "healthy"),
        ({"records": "healthy", "mcp": "unhealthy"}, "degraded"),
        ({"records": "degraded"}, "degraded"),
        ({"records": "unhealthy"}, "unhealthy"),
        ({"queue": "unhealthy", "mcp": "healthy"}, "unhealthy"),
    ],
)
async def test_the_whole_is_unhealthy_with_a_vital_part_and_degraded_with_any_other(
    states: dict[str, Status], whole: str
) -> None:
    told = await system_health({name: says(state) for name, state in states.items()})
    assert told["status"] == whole == overall(states)
    assert {name: part["status"] for name, part in told["parts"].items()} == states
    assert all(part["latency_ms"] >= 0 and part["detail"] for part in told["parts"].values())


async def test_a_probe_that_hangs_is_reported_and_holds_up_nothing() -> None:
    never, held = asyncio.Event(), threading.Event()

    async def waits() -> Part:
        await never.wait()
        raise AssertionError

    async def stubborn() -> Part:
        while True:
            try:
                await never.wait()
            except asyncio.CancelledError:
                if held.is_set():
                    raise

    async def blocked() -> Part:
        await aside(held.wait)
        return Part(status="healthy")

    begun = time.monotonic()
    parts = {"waits": waits, "stubborn": stubborn, "blocked": blocked, "records": says("healthy")}
    told = await system_health(parts, within=0.05)
    assert time.monotonic() - begun < 5
    assert told["status"] == "degraded"
    assert {name: part["status"] for name, part in told["parts"].items()} == {
        "blocked": "unhealthy",
        "records": "healthy",
        "stubborn": "unhealthy",
        "waits": "unhealthy",
    }
    assert told["parts"]["waits"]["detail"] == "it did not answer within 0.05 s"
    held.set()
    never.set()
    left = [task for task in asyncio.all_tasks() if task.get_name().startswith("health ")]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def test_a_probe_that_fails_tells_of_an_unhealthy_part() -> None:
    async def fails() -> Part:
        raise RuntimeError("no such\nhost")

    told = await system_health({"memory": fails})
    assert told["parts"]["memory"]["status"] == "unhealthy" and told["parts"]["memory"]["detail"] == "no such host"


async def test_records_tell_their_revision_and_size_and_are_unhealthy_at_another(records: Records) -> None:
    part = await records_probe(records)()
    assert part.status == "healthy" and part.figures["revision"] == HEAD and part.figures["size_bytes"] > 0
    records.write(lambda c: c.exec_driver_sql("UPDATE cogwork_revision SET version_num = '9999'"))
    part = await records_probe(records)()
    assert part.status == "unhealthy" and "9999" in part.detail


async def test_records_whose_server_is_away_are_unhealthy_at_once(tmp_path: Path) -> None:
    with cluster() as server, opened(tmp_path, server.url) as records:
        server.stop()
        told = await system_health({"records": records_probe(records), "workers": workers_probe(records)}, within=20)
    assert told["status"] == "unhealthy"
    for part in told["parts"].values():
        assert "cannot be used" in part["detail"] and part["latency_ms"] < 15_000


async def test_records_that_cannot_be_opened_are_unhealthy(tmp_path: Path) -> None:
    (tmp_path / "records.sqlite").write_text("no database at all, but a text that is long enough to be read")
    told = await system_health(opened_probes(lambda: opened(tmp_path / "records.sqlite")))
    assert {name: part["status"] for name, part in told["parts"].items()} == {
        "records": "unhealthy",
        "queue": "unhealthy",
        "workers": "unhealthy",
    }
    assert "not a database" in told["parts"]["records"]["detail"]


def worker(records: Records, name: str, seconds: float, status: str = "running", concurrency: int = 4) -> None:
    """Put a worker down that was heard of so many seconds ago."""
    row = {"id": name, "host": "h", "pid": 1, "status": status, "concurrency": concurrency, "labels": {}}
    row |= {"started_at": ago(hours=1), "beat_at": ago(seconds=seconds)}
    records.write(lambda c: c.execute(WORKERS.insert().values(**row)))


async def test_workers_are_alive_or_stale_and_busy_or_free(records: Records) -> None:
    probe = workers_probe(records, now=lambda: NOW)
    part = await probe()
    assert (part.status, part.figures["waiting"]) == ("healthy", 0)
    ledger = Ledger()
    ledger.execution("pending")
    ledger.execution("pending", mode="sync")
    ledger.execution("pending", not_before=NOW + timedelta(hours=1))
    for owner in ("one", "one", "gone", ""):
        ledger.execution("running", worker=owner)
    for row in ledger.executions:
        row.setdefault("not_before", None)
    ledger.write(records)
    part = await probe()
    assert part.status == "unhealthy" and "1 executions wait" in part.detail
    worker(records, "one", 1)
    worker(records, "two", 29, concurrency=2)
    worker(records, "leaving", 1, "draining")
    part = await probe()
    assert part.status == "healthy"
    assert part.figures == {"alive": 3, "stale": 0, "draining": 1, "places": 6, "busy": 2, "free": 4, "waiting": 1}
    worker(records, "gone", 31)
    part = await probe()
    assert (part.status, part.figures["stale"], part.figures["busy"]) == ("degraded", 1, 2)


@pytest.mark.parametrize(("free", "status"), [(10 * GIB, "healthy"), (GIB, "degraded"), (GIB // 8, "unhealthy")])
async def test_little_room_on_the_disk_is_told_before_there_is_none(tmp_path: Path, free: int, status: str) -> None:
    room = SimpleNamespace(total=100 * GIB, free=free)
    part = await disk_probe(tmp_path / "not" / "there", usage=lambda path: room)()
    assert part.status == status and part.figures["free_bytes"] == free
    assert (await disk_probe(tmp_path)()).figures["total_bytes"] > 0


async def test_services_whose_breaker_is_open_or_that_cannot_be_reached_are_degraded() -> None:
    breakers, origin = Breakers(threshold=1), "model"
    breakers.of("http:fine")
    probes = service_probes(lambda: {"breakers": breakers.health(), "models": [], "mcp": servers})
    servers: list[Any] = [{"server": "files", "state": "connected", "breaker": {"state": "closed"}}]
    told = await system_health(probes)
    assert told["status"] == "healthy" and told["parts"]["models"]["detail"] == "none was called yet"
    breakers.of("model:openai").failed(Fault("timeout", "too slow", origin=origin))  # type: ignore[arg-type]
    servers.append({"server": "git", "state": "unreachable", "trouble": "no such program", "breaker": {}})
    told = await system_health(probes)
    assert told["status"] == "degraded"
    assert told["parts"]["breakers"]["detail"] == "model:openai is left alone (open): timeout: too slow"
    assert told["parts"]["mcp"]["detail"] == "git cannot be reached: no such program"


async def test_a_store_is_healthy_where_it_can_be_opened() -> None:
    closed: list[bool] = []

    @contextmanager
    def fine() -> Iterator[None]:
        yield
        closed.append(True)

    @contextmanager
    def broken() -> Iterator[None]:
        raise OSError("read-only")
        yield

    told = await system_health({"memory": store_probe(fine, "memory"), "checkpoints": store_probe(broken, "they")})
    assert closed == [True] and told["parts"]["memory"]["status"] == "healthy"
    assert told["status"] == "unhealthy" and told["parts"]["checkpoints"]["detail"] == "read-only"
