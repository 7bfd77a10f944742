"""Workflows that require labels: refused wherever those are missing, whichever way they are reached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import cogwork
from cogwork.app import app
from cogwork.cli.root import cli
from cogwork.engine.parts import Shared
from cogwork.errors import EngineError
from cogwork.executions.options import options_of
from cogwork.settings import Settings
from cogwork.workflow_engine import WorkflowEngine
from graphs.language.dump import to_dict
from state.errors import Fault
from tests.threads import until

pytestmark = pytest.mark.req("M9")
EUROPEAN = """
cogwork: v1
name: european
requires: {labels: [eu, audited]}
nodes: {here: {type: transform, set: done}}
output: "{{ here }}"
"""
USING = """
cogwork: v1
name: using
nodes: {there: {use: european}}
output: "{{ there }}"
"""
CALLING = """
cogwork: v1
name: calling
nodes: {there: {type: tool, tool: workflow.european}}
output: "{{ there }}"
"""
CHOOSING = """
cogwork: v1
name: choosing
nodes: {there: {type: tool, tool: workflow.calling}}
output: "{{ there }}"
"""
NAMES = ("european", "using", "calling", "choosing")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the workflows."""
    for text in (EUROPEAN, USING, CALLING, CHOOSING):
        (tmp_path / f"{yaml.safe_load(text)['name']}.yaml").write_text(text)
    return tmp_path


def settings(folder: Path, labels: list[str], **more: Any) -> Settings:
    """The settings of an instance with these labels."""
    return Settings(state_dir=folder / "state", workflows=[folder], labels=labels, **more)


@asynccontextmanager
async def engine(folder: Path, labels: list[str], **more: Any) -> AsyncIterator[WorkflowEngine]:
    """An engine with these labels."""
    async with WorkflowEngine(settings=settings(folder, labels, **more)) as made:
        yield made


async def test_it_is_refused_at_its_start_used_or_called_and_said_is_who_has_the_labels(folder: Path) -> None:
    others: Any = {
        "far": {"url": "https://far.example.org", "labels": ["eu", "audited", "gpu"]},
        "near": {"url": "https://near.example.org", "labels": ["eu"]},
    }
    async with engine(folder, ["eu"], instances=others) as made:
        for name in NAMES:
            with pytest.raises(EngineError, match="lacks audited; far has them") as caught:
                await made.execute_workflow(name)
            assert caught.value.code == "permission_denied"
            assert caught.value.details["missing"] == ["audited"]
            assert caught.value.details["instances"] == ["far"]
        with pytest.raises(EngineError, match="the instance near lacks audited"):
            await made.execute_workflow("using", target="near")
        assert (await made.list_executions())["executions"] == []


async def test_it_runs_where_all_labels_are(folder: Path) -> None:
    async with engine(folder, ["audited", "eu"]) as made:
        found = [await (await made.execute_workflow(name)).wait(60) for name in NAMES]
    assert [(each.execution.status, each.output) for each in found] == [("completed", "done")] * 4


@pytest.mark.parametrize("name", ["european", "using"])
async def test_a_graph_of_it_refuses_to_run_at_every_door(folder: Path, name: str) -> None:
    made = app(settings(folder, ["eu"]))
    graph = made.compile(name)
    with pytest.raises(Fault, match="lacks them") as caught:
        await graph.ainvoke({})
    assert caught.value.fault_class == "permission_denied"
    assert caught.value.details == {"labels": ["audited"]}


async def test_a_step_that_calls_it_fails_where_nobody_has_seen_it_coming(folder: Path) -> None:
    graph = app(settings(folder, [])).compile("calling")
    events = [event async for event in graph.aevents({})]
    assert events[-1].kind == "run.failed"
    assert events[-1].data["error"]["class"] == "permission_denied"


def test_the_command_line_refuses_it_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COGWORK_WORKFLOWS", '["."]')
    refused = CliRunner().invoke(cli, ["run", "european", "--json"])
    assert refused.exit_code != 0
    assert "audited, eu" in refused.output


async def test_a_worker_without_the_labels_leaves_it_pending_with_the_reason_and_one_that_has_them_runs_it(
    folder: Path,
) -> None:
    asked = app(settings(folder, ["eu", "audited"]))
    shared = Shared(asked)
    parts = shared.parts()
    request, _ = await parts.starting.request("european", {}, options_of({}))
    execution = await parts.dispatch.start(request)

    async def waits() -> bool:
        return (await parts.executions.get(execution.id)).reason == "labels: audited"

    async with engine(folder, ["eu"]):
        await until(waits)
        assert (await parts.executions.get(execution.id)).status == "pending"
    async with engine(folder, ["eu", "audited"]):
        assert (await parts.dispatch.wait(execution.id, 60)).status == "completed"
    await parts.close()
    await asyncio.to_thread(shared.close)
    asked.close()


def test_labels_are_part_of_the_spec_and_are_checked_like_it() -> None:
    spec = cogwork.load(EUROPEAN).spec
    assert to_dict(spec)["requires"] == {"labels": ["eu", "audited"]}
    assert cogwork.load(to_dict(spec)).spec == spec
    found = cogwork.check(EUROPEAN.replace("[eu, audited]", "['e u']"))
    assert [problem.pointer for problem in found] == ["/requires/labels/0"]
    found = cogwork.check(EUROPEAN.replace("labels:", "lables:"))
    assert "labels" in found[0].hint
