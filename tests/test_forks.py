"""Forks, versions and owners: a fork is a run of its own, a run belongs to its version, a thread to one caller at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from cogwork.store.checkpoints import SqliteCheckpoints
from graphs.graph import WorkflowGraph
from state.errors import NotResumable, Owned, WorkflowCancelled, WorkflowFailed
from state.services import Services
from tests.conftest import Stage, ask, do, statuses
from tests.fakes import ScriptedModel, ScriptedModels, ScriptedPrompts
from tests.threads import Run, questions

pytestmark = [pytest.mark.req("X3", "X5", "D4")]


def undoing(value: Any, **more: Any) -> dict[str, Any]:
    """A write that can be taken back."""
    return {**do(value, effect="write", **more), "undo": {"tool": "do.write", "args": {"value": "undone"}}}


async def checkpoint(run: Run, holds: Callable[[Mapping[str, Any]], bool]) -> Any:
    """The config of the newest checkpoint whose values fit."""
    async for snapshot in run.graph.aget_state_history(run.config):
        if snapshot.values and holds(snapshot.values):
            return snapshot.config
    raise AssertionError("no such checkpoint")


def done(*paths: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether exactly these are done."""
    return lambda values: {p for p, record in values["nodes"].items() if record["status"] == "done"} == set(paths)


async def forked(run: Run, config: Any, input: Any = None) -> dict[str, Any]:
    """The state that a fork at the checkpoint ends in, or rests at."""
    async with asyncio.timeout(30):
        return await run.graph.ainvoke(input, config)


async def test_a_fork_makes_its_own_calls_under_its_own_keys(stage: Stage) -> None:
    run = Run(stage, {"nodes": {"a": do(1, effect="write"), "b": do("{{ a }}", effect="write")}, "output": "{{ b }}"})
    first = await run.go({})
    state = await forked(run, await checkpoint(run, done("a")))
    assert (state["run"]["forked_from"], state["run"]["status"]) == (first["run"]["id"], "completed")
    assert stage.paths() == ["a", "b", "b"]
    assert len(set(stage.keys)) == 3 and stage.keys[2] == f"{state['run']['id']}:b:0"


async def test_a_fork_takes_nothing_back_that_the_first_run_did(stage: Stage) -> None:
    nodes = {"a": undoing(1), "b": undoing("{{ a }}"), "c": do("{{ b }}", fault="tool_error")}
    run = Run(stage, {"nodes": nodes})
    with pytest.raises(WorkflowFailed):
        await run.go({})
    assert stage.paths() == ["a", "b", "c", "b", "a"]
    stage.log.clear()
    with pytest.raises(WorkflowFailed):
        await forked(run, await checkpoint(run, done("a")))
    assert stage.paths() == ["b", "c", "b"]
    assert (await run.about())["undo"]["done"] == ["b"]


async def test_limits_count_from_the_fork_on(stage: Stage) -> None:
    nodes = {"a": do(1), "b": do("{{ a + 1 }}"), "c": do("{{ b + 1 }}")}
    run = Run(stage, {"limits": {"max_steps": 2}, "nodes": nodes, "output": "{{ c }}"})
    await run.go({})
    await run.say("run", {"max_steps": 3})
    state = await forked(run, await checkpoint(run, done("a")))
    assert (state["run"]["status"], state["output"], stage.paths()) == ("completed", 3, ["a", "b", "c", "b", "c"])
    state = await forked(run, await checkpoint(run, lambda values: not values["nodes"]))
    assert (list(questions(state)), stage.paths()[5:]) == (["run"], ["a", "b"])


async def test_a_paused_run_is_forked_where_it_rests(stage: Stage) -> None:
    run = Run(stage, {"nodes": {"a": do(1), "b": do("{{ a }}", hold="b")}, "output": "{{ b }}"})
    task = await run.begun("b")
    await run.pause()
    before = (await task)["run"]["id"]
    stage.door("b").set()
    state = await forked(run, await checkpoint(run, done("a")))
    assert (state["run"]["status"], state["run"]["reason"], state["output"]) == ("completed", None, 1)
    assert state["run"]["forked_from"] == before and stage.paths("end") == ["a", "b"]


async def test_a_cancelled_run_is_forked_before_its_end_and_not_after_it(stage: Stage) -> None:
    run = Run(stage, {"nodes": {"a": undoing(1), "b": do("{{ a }}", hold="b")}, "output": "{{ b }}"})
    task = await run.begun("b")
    await run.cancel(undo=True)
    with pytest.raises(WorkflowCancelled):
        await task
    stage.door("b").set()
    last = await run.graph.aget_state(run.config)
    with pytest.raises(NotResumable, match="has been cancelled"):
        await forked(run, last.config)
    state = await forked(
        run, await checkpoint(run, lambda values: set(values["nodes"]) == {"a"} and "error" not in values["run"])
    )
    assert (state["run"]["status"], state["output"]) == ("completed", 1)
    assert stage.paths() == ["a", "b", "a", "b"]


async def test_a_fork_of_a_run_in_doubt_makes_the_call_for_itself(stage: Stage) -> None:
    run = Run(stage, {"nodes": {"w": do(7, effect="write", hold="w")}, "output": "{{ w }}"})
    await run.die("w")
    assert list(questions(await run.go())) == ["w"]
    stage.door("w").set()
    state = await forked(run, await checkpoint(run, lambda values: "w" in values["nodes"]))
    assert (state["output"], len(set(stage.keys))) == (7, 2)


async def test_a_checkpoint_that_never_was_cannot_be_forked(stage: Stage) -> None:
    run = Run(stage, {"nodes": {"a": do(1)}})
    await run.go({})
    nowhere: Any = {"configurable": {**run.config["configurable"], "checkpoint_id": "1f0c-never"}}
    for input in (None, {}, Command(resume=1)):
        with pytest.raises(NotResumable, match="has no checkpoint 1f0c-never"):
            await forked(run, nowhere, input)
    assert stage.paths() == ["a"]


# -- versions --------------------------------------------------------------------------------------------------


def versioned(version: str, more: int) -> dict[str, Any]:
    """A workflow whose last step adds ``more``."""
    nodes = {"a": do(1), "q": ask(depends_on=["a"]), "b": do(f"{{{{ a + {more} }}}}", depends_on=["q"])}
    return {"version": version, "nodes": nodes, "output": "{{ b }}"}


async def test_another_version_of_the_workflow_does_not_go_on_with_a_run(stage: Stage) -> None:
    run = Run(stage, versioned("1", 10))
    await run.go({})
    newer = run.again(versioned("2", 20))
    for input in (None, Command(resume={"answer": "x"})):
        with pytest.raises(NotResumable, match=r"began with version 1 of staged .* and this is version 2 of staged"):
            await newer.go(input)
    with pytest.raises(NotResumable, match="began with version 1"):
        await newer.cancel()
    assert await newer.asked() is None
    assert (await run.say("q", {"answer": "x"}))["output"] == 11


async def test_a_caller_may_allow_another_version_to_go_on(stage: Stage) -> None:
    run = Run(stage, versioned("1", 10))
    await run.go({})
    newer = run.again(versioned("2", 20))
    allowed: Any = {"configurable": {**run.config["configurable"], "allow_version_change": True}}
    state = await newer.graph.ainvoke(Command(resume={"answer": "x"}), allowed)
    assert (state["output"], state["run"]["version"], state["run"]["digest"]) == (21, "2", newer.graph.digest)


async def test_a_finished_thread_takes_new_input_with_any_version(stage: Stage) -> None:
    run = Run(stage, {"nodes": {"a": do(1)}, "output": "{{ a }}"})
    await run.go({})
    assert (await run.again({"version": "2", "nodes": {"a": do(2)}, "output": "{{ a }}"}).go({}))["output"] == 2


# -- owners ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "sqlite"])
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A checkpointer of each kind."""
    if request.param == "memory":
        yield InMemorySaver()
        return
    with SqliteCheckpoints(tmp_path / "checkpoints.sqlite") as found:
        yield found


async def test_the_second_call_on_a_thread_is_refused_while_the_first_is_at_work(stage: Stage, saver: Any) -> None:
    run = Run(stage, {"nodes": {"a": do(1, hold="a")}, "output": "{{ a }}"}, saver)
    task = await run.begun("a")
    for input in ({}, None):
        with pytest.raises(Owned, match="Somebody else works on"):
            await run.again().go(input)
    other = Run(stage, {"nodes": {"x": do(2)}, "output": "{{ x }}"}, saver)
    assert (await other.go({}))["output"] == 2
    stage.door("a").set()
    assert (await task)["output"] == 1
    assert stage.paths() == ["a", "x"]


async def test_a_call_that_comes_as_the_first_ends_waits_for_it(stage: Stage, saver: Any) -> None:
    run = Run(stage, {"nodes": {"a": do(1, hold="a")}, "output": "{{ a }}"}, saver)
    task = await run.begun("a")
    second = asyncio.create_task(run.again().go({}))
    await asyncio.sleep(0)
    stage.door("a").set()
    assert ((await task)["output"], (await second)["output"]) == (1, 1)
    assert (await task)["run"]["id"] != (await second)["run"]["id"]


# -- the record of calls in a graph ----------------------------------------------------------------------------


class Torn(InMemorySaver):
    """A checkpointer whose process dies as soon as the first step's end is to be written."""

    alive, armed = True, True

    def live(self, writes: Any = ()) -> None:
        """Die where that is due."""
        if self.armed and any(channel == "results" and "a" in value for channel, value in writes):
            self.alive = False
        if not self.alive:
            raise OSError("the process is gone")

    async def aput_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
        """Keep the writes while it lives."""
        self.live(writes)
        await super().aput_writes(config, writes, task_id, task_path)

    async def aput(self, *args: Any) -> Any:
        """Keep the checkpoint while it lives."""
        self.live()
        return await super().aput(*args)


@pytest.mark.parametrize("kind", ["read", "write", "model"])
async def test_a_call_that_ended_before_its_step_was_settled_is_answered_from_the_record(
    stage: Stage, kind: Any
) -> None:
    model = ScriptedModel(answers=["1"])
    models = ScriptedModels({"scripted": model})
    stage.services = Services(tools=stage.services.tools, models=models, prompts=ScriptedPrompts({}))
    first = {"type": "llm", "prompt": "A number, please."} if kind == "model" else do("1", effect=kind)
    saver = Torn()
    run = Run(stage, {"nodes": {"a": first, "b": do("{{ a }}!")}, "output": "{{ b }}"}, saver)
    with pytest.raises(OSError, match="the process is gone"):
        await run.go({})
    saver.alive, saver.armed = True, False
    assert statuses(await run.values()) == {}
    state = await run.again().go()
    assert (state["output"], stage.paths().count("a") + len(model.asked)) == ("1!", 1)


def test_a_graph_tells_its_version_by_its_digest(stage: Stage) -> None:
    one: WorkflowGraph = stage.graph(versioned("1", 1))
    assert one.digest == stage.graph(versioned("1", 1)).digest != stage.graph(versioned("1", 2)).digest
