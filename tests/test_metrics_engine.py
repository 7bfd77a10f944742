"""Metrics of executions that the engine has run: what it writes is what they are computed from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cogwork.metrics import Metrics
from cogwork.settings import Settings
from cogwork.workflow_engine import WorkflowEngine
from tests.clusters import schema
from tests.fleet import drop

pytestmark = pytest.mark.req("E6")
SURE: dict[str, Any] = {
    "cogwork": "v1",
    "name": "sure",
    "input": {"n": {"type": "integer"}},
    "nodes": {
        "each": {"for_each": "range(0, input.n)", "nodes": {"double": {"type": "transform", "set": "{{ item * 2 }}"}}},
        "answer": {"type": "llm", "model": "offline", "prompt": "How much is {{ each[0] }}?"},
        "ask": {
            "type": "human",
            "ask": "{{ each[0] }}?",
            "form": {"go": {"enum": ["yes", "no"]}},
            "depends_on": ["answer"],
        },
    },
    "output": "{{ ask.go }}",
}
FAILS: dict[str, Any] = {
    "cogwork": "v1",
    "name": "fails",
    "nodes": {"parse": {"type": "transform", "set": "{{ int('none') }}"}},
    "output": "{{ parse }}",
}


@pytest.fixture(params=["sqlite", "postgresql"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[WorkflowEngine]:
    """An engine with a worker, on a database of either kind."""
    if request.param == "sqlite":
        async with WorkflowEngine(settings=Settings(state_dir=tmp_path / "state", workflows=[])) as made:
            yield made
        return
    with schema() as url:
        settings = Settings(state_dir=tmp_path / "state", workflows=[], database_url=url)  # type: ignore[arg-type]
        try:
            async with WorkflowEngine(settings=settings) as made:
                yield made
        finally:
            await asyncio.to_thread(drop, url)


async def test_executions_that_were_run_have_figures(engine: WorkflowEngine) -> None:
    sure, fails = await engine.create_workflow(source=SURE), await engine.create_workflow(source=FAILS)
    done = await engine.execute_workflow(workflow_id=sure, input_data={"n": 3})
    rests = await engine.execute_workflow(workflow_id=sure, input_data={"n": 2})
    assert [(await each.wait(60))["status"] for each in (done, rests)] == ["paused", "paused"]
    assert (await (await done.resume({"go": "yes"})).wait(60))["status"] == "completed"
    assert (await (await engine.execute_workflow(workflow_id=fails)).wait(60))["status"] == "failed"
    metrics = Metrics(engine.parts.records)
    report = await metrics.workflow(sure, "last_1_hours")
    assert report["status_counts"] == {"completed": 1, "paused": 1} and report["success_rate"] == 1
    assert report["average_duration"] > 0 and report["waiting_seconds"] > 0
    assert report["input_tokens"] > 0 and report["retries"] == 0
    assert list((await metrics.workflow("fails"))["errors_by_class"].values()) == [1]
    node = await metrics.node("sure", "each.double")
    assert node["execution_count"] == 5 and node["success_rate"] == 1
    assert (await metrics.node("sure", "each"))["execution_count"] == 2
    assert (await metrics.overview())["execution_count"] == 3
