"""Schedules and triggers that start executions in the queue, whoever published them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cogwork.engine.firing import schedules_of, triggers_of
from cogwork.settings import Settings
from cogwork.workflow_engine import WorkflowEngine
from tests.test_engine import PLAIN

pytestmark = pytest.mark.req("R5", "M10")


async def _ended(engine: WorkflowEngine, count: int) -> list[Any]:
    async with asyncio.timeout(60):
        while len(found := (await engine.list_executions(status="completed"))["executions"]) < count:
            await asyncio.sleep(0.1)
    return found


async def test_a_schedule_an_end_and_a_file_each_start_their_workflow_in_the_queue(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state", workflows=[], roots=[tmp_path])
    async with WorkflowEngine(settings=settings) as engine:
        await engine.create_workflow(source={**PLAIN, "triggers": {"often": {"type": "schedule", "every": "1s"}}})
        after = {"type": "workflow", "of": "plain", "on": ["completed"], "input": {"n": "{{ event.output }}"}}
        await engine.create_workflow(source={**PLAIN, "name": "after", "triggers": {"then": after}})
        found = await _ended(engine, 4)
        origins = {each["workflow"]: each["origin"] for each in found}
        assert set(origins) == {"plain", "after"}, "the schedule fires, and the end of what it started fires the next"
        schedules, triggers = schedules_of(engine.parts), triggers_of(engine.parts)
        names = [each.name for each in (await schedules.list()).items]
        assert names == ["plain/often"] and [each.name for each in (await triggers.list()).items] == ["after/then"]
        await engine.library.archive("plain")
        async with asyncio.timeout(30):
            while (await schedules.list()).items:
                await asyncio.sleep(0.1)
