"""What waits and what may begin: priorities, limits by queue and tenant, rates, delays; on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cogwork.settings import Settings
from cogwork.workflow_engine import WorkflowEngine
from tests.clusters import schema
from tests.fleet import drop

pytestmark = pytest.mark.req("E2", "R5", "M2", "X13")
HOLDING: dict[str, Any] = {
    "cogwork": "v1",
    "name": "holding",
    "input": {"n": {"type": "integer"}},
    "nodes": {"hold": {"type": "tool", "tool": "hold", "args": {"n": "{{ input.n }}"}}},
    "output": "{{ hold }}",
}


async def hold(n: int) -> int:
    """Takes a moment."""
    await asyncio.sleep(0.15)
    return n


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Where executions are kept."""
    if request.param == "sqlite":
        yield None
        return
    with schema() as found:
        try:
            yield found
        finally:
            drop(found)


@asynccontextmanager
async def _engine(folder: Path, url: str | None, *, worker: bool = True, **more: Any) -> AsyncIterator[WorkflowEngine]:
    given = {"state_dir": folder / "state", "workflows": [], "database_url": url, **more}
    async with WorkflowEngine(settings=Settings(**given), tools=[hold], worker=worker) as engine:
        yield engine


async def _all(engine: WorkflowEngine, count: int) -> list[dict[str, Any]]:
    """The executions once all have completed, in the order in which they began."""
    async with asyncio.timeout(90):
        while True:
            found = (await engine.list_executions(limit=100))["executions"]
            if sum(each["status"] == "completed" for each in found) == count:
                return sorted(found, key=lambda each: each["started_at"])
            await asyncio.sleep(0.1)


async def test_what_waits_begins_by_priority_and_then_in_its_order(tmp_path: Path, url: str | None) -> None:
    wanted = ["high", "high", "normal", "normal", "low", "low"]
    async with _engine(tmp_path, url, worker=False) as engine:
        for n, priority in enumerate(["low", "normal", "high", "low", "high", "normal"]):
            await engine.execute_workflow(HOLDING, {"n": n}, priority=priority, tags=[priority])
            await asyncio.sleep(0.01)
    async with _engine(tmp_path, url, engine={"concurrency": 1}) as engine:
        begun = await _all(engine, 6)
    assert [each["tags"][0] for each in begun] == wanted
    asked = [each["created_at"] for each in begun]
    assert all(asked[i] < asked[i + 1] for i in (0, 2, 4)), "of one priority the first that was asked for goes first"


async def test_a_queue_lets_one_of_each_tenant_run_at_a_time(tmp_path: Path, url: str | None) -> None:
    queues = {"fair": {"per": "tenant", "per_concurrency": 1, "workflows": ["hold*"]}}
    async with _engine(tmp_path, url, queues=queues) as engine:
        for n in range(8):
            await engine.execute_workflow(HOLDING, {"n": n}, tenant=f"t{n % 2}")
        begun = await _all(engine, 8)
    for tenant in ("t0", "t1"):
        own = [each for each in begun if each["tenant"] == tenant]
        assert all(one["ended_at"] <= other["started_at"] for one, other in itertools.pairwise(own)), own


async def test_a_queue_begins_no_more_than_its_rate(tmp_path: Path, url: str | None) -> None:
    queues = {"slow": {"rate": {"limit": 2, "period": "2s"}}}
    async with _engine(tmp_path, url, queues=queues) as engine:
        for n in range(5):
            await engine.execute_workflow(HOLDING, {"n": n}, queue="slow")
        begun = [datetime.fromisoformat(each["started_at"]) for each in await _all(engine, 5)]
    assert (begun[2] - begun[0]).total_seconds() > 1.5 and (begun[4] - begun[2]).total_seconds() > 1.5


async def test_a_delayed_execution_begins_when_its_time_has_come(tmp_path: Path, url: str | None) -> None:
    async with _engine(tmp_path, url) as engine:
        await engine.execute_workflow(HOLDING, {"n": 1}, delay="2s")
        [each] = await _all(engine, 1)
    waited = datetime.fromisoformat(each["started_at"]) - datetime.fromisoformat(each["created_at"])
    assert waited.total_seconds() >= 1.9
