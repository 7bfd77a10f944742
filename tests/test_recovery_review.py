"""What was found by looking for broken promises: pauses, cancellations, forks and streams at awkward moments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from cogwork.store.checkpoints import SqliteCheckpoints
from state.errors import Owned, WorkflowCancelled, WorkflowFailed
from tests.conftest import Stage, do, statuses

PATIENTLY = 20.0
"""Seconds that a slow machine may take for what takes none."""
LONG: dict[str, Any] = {"max_attempts": 5, "backoff": 600}


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(PATIENTLY):
        while not holds():
            await asyncio.sleep(0.001)


def saga(step: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A step that writes and is taken back by the stage's own tool."""
    return {**step, "undo": {"tool": "do.write", "args": {"value": "undone"}}, **more}


# -- waiting for the next attempt ------------------------------------------------------------------------------------


@pytest.mark.req("X12", "X5")
async def test_a_write_that_waits_for_its_next_attempt_does_not_hold_up_a_cancellation(stage: Stage) -> None:
    spec = {"nodes": {"a": do(effect="write", fault="unavailable", retry=LONG)}, "finally": {"nodes": {"z": do(1)}}}
    graph, config = stage.graph(spec, InMemorySaver()), stage.thread()
    run = asyncio.create_task(graph.ainvoke({}, config))
    await until(lambda: ("fail", "a") in stage.log)
    async with asyncio.timeout(PATIENTLY):
        state = await graph.acancel(config)
        with pytest.raises(WorkflowCancelled):
            await run
    assert state["run"]["status"] == "cancelled"
    assert statuses(state) == {"a": "cancelled", "finally": "done", "finally.z": "done"}
    assert stage.paths() == ["a", "finally.z"]


@pytest.mark.req("X5", "D4")
@pytest.mark.parametrize("asked", ["while the call is made", "while the next one is waited for"])
async def test_a_write_that_waits_for_its_next_attempt_does_not_hold_up_a_pause_and_makes_it_on_resumption(
    stage: Stage, asked: str
) -> None:
    spec = {"nodes": {"a": do(1, "write", fault="unavailable", until=1, hold="door", retry=LONG)}}
    graph, config = stage.graph(spec, InMemorySaver()), stage.thread()
    run = asyncio.create_task(graph.ainvoke({}, config))
    await until(lambda: ("start", "a") in stage.log)
    if asked == "while the call is made":
        pause = asyncio.create_task(graph.apause(config))
        await asyncio.sleep(0.1)
        stage.door("door").set()
    else:
        stage.door("door").set()
        await until(lambda: ("fail", "a") in stage.log)
        pause = asyncio.create_task(graph.apause(config))
    async with asyncio.timeout(PATIENTLY):
        await pause
        assert (await run)["run"]["status"] == "paused"
        state = await graph.ainvoke(None, config)
    assert (state["run"]["status"], state["output"]) == ("completed", 1)
    assert stage.log == [("start", "a"), ("fail", "a"), ("start", "a"), ("end", "a")]
    assert state["nodes"]["a"]["attempts"] == 2


@pytest.mark.req("X12")
async def test_a_write_that_fails_after_the_run_has_failed_is_not_tried_again(stage: Stage) -> None:
    slow = do(effect="write", fault="unavailable", hold="door", retry=LONG)
    graph = stage.graph({"nodes": {"a": slow, "b": do(fault="tool_error")}})
    run = asyncio.create_task(graph.ainvoke({}))
    await until(lambda: ("fail", "b") in stage.log)
    await asyncio.sleep(0.05)
    stage.door("door").set()
    async with asyncio.timeout(PATIENTLY):
        with pytest.raises(WorkflowFailed, match="b was told to fail"):
            await run
    assert stage.paths().count("a") == 1


@pytest.mark.req("X12")
async def test_an_undo_is_tried_again_although_the_run_has_failed(stage: Stage) -> None:
    undo = {
        "tool": "do.write",
        "args": {"fault": "unavailable", "until": 1},
        "retry": {"max_attempts": 3, "backoff": 0.001},
    }
    nodes = {"a": saga(do(1, "write"), undo=undo), "b": do(fault="tool_error", depends_on=["a"])}
    graph, config = stage.graph({"nodes": nodes}, InMemorySaver()), stage.thread()
    with pytest.raises(WorkflowFailed):
        await graph.ainvoke({}, config)
    assert (await graph.aget_state(config)).values["run"]["undo"] == {"done": ["a"], "not_done": []}


# -- breakpoints -----------------------------------------------------------------------------------------------------


@pytest.mark.req("D4", "X12")
@pytest.mark.parametrize("stop", ["finally", "undo", "on_failure", "u.finally", "*"])
@pytest.mark.parametrize("when", ["interrupt_before", "interrupt_after"])
async def test_a_run_goes_on_past_breakpoints_in_what_follows_its_steps(stage: Stage, stop: str, when: str) -> None:
    blocks = {"on_failure": {"nodes": {"n": do(1, "write")}}, "finally": {"nodes": {"z": do(1, "write")}}}
    stage.library["sub"] = {"nodes": {"x": do(1, "write")}, "finally": {"nodes": {"y": do(1, "write")}}}
    nodes = {"a": saga(do(1, "write")), "u": {"use": "sub"}, "f": do(fault="tool_error", depends_on=["a", "u"])}
    graph, config = stage.graph({"nodes": nodes, **blocks}, InMemorySaver()), stage.thread()
    given: Any = {}
    with pytest.raises(WorkflowFailed):
        for _ in range(40):
            await graph.ainvoke(given, config, **{when: "*" if stop == "*" else [stop]})
            given = None
    state = (await graph.aget_state(config)).values
    assert (state["run"]["status"], state["run"]["undo"]) == ("failed", {"done": ["a"], "not_done": []})
    assert sorted(stage.paths()) == ["a", "a", "f", "finally.z", "on_failure.n", "u.finally.y", "u.x"]


# -- races -----------------------------------------------------------------------------------------------------------


@pytest.mark.req("X12")
@pytest.mark.parametrize("inside", ["", "a used workflow", "a loop"])
async def test_a_write_that_fails_after_its_race_is_lost_is_not_tried_again(stage: Stage, inside: str) -> None:
    slow = do(effect="write", fault="unavailable", hold="door", retry=LONG)
    stage.library["sub"] = {"nodes": {"x": slow}}
    losers = {"": slow, "a used workflow": {"use": "sub"}, "a loop": {"for_each": [1], "nodes": {"x": slow}}}
    race = {**do(3, depends_on=["w", "r"], join="any"), "cancel_rest": True}
    run = asyncio.create_task(
        stage.graph({"nodes": {"w": losers[inside], "r": do(1, hold="start"), "c": race}}).ainvoke({})
    )
    await until(lambda: stage.running == 2)
    stage.door("start").set()
    await until(lambda: ("end", "c") in stage.log)
    await asyncio.sleep(0.05)
    stage.door("door").set()
    async with asyncio.timeout(PATIENTLY):
        state = await run
    assert (state["run"]["status"], state["nodes"]["w"]["cause"]["reason"]) == ("completed", "race_lost")
    assert sorted(stage.paths())[:2] == ["c", "r"] and len(stage.paths()) == 3


# -- without checkpoints ---------------------------------------------------------------------------------------------


@pytest.mark.req("X12", "X5")
async def test_without_checkpoints_an_undo_in_doubt_is_listed_as_not_done_and_the_run_ends(stage: Stage) -> None:
    doubtful = {"tool": "do.write", "args": {"fault": "timeout"}}
    nodes = {"a": saga(do(1, "write")), "b": saga(do(1, "write", depends_on=["a"]), undo=doubtful)}
    nodes["f"] = do(fault="tool_error", depends_on=["b"])
    ended = []
    graph = stage.graph({"nodes": nodes, "finally": {"nodes": {"z": do(1)}}})
    with pytest.raises(WorkflowFailed):
        async for state in graph.astream({}, stream_mode="values"):
            ended = [state["run"]]
    assert (ended[0]["status"], ended[0]["undo"]["done"]) == ("failed", ["a"])
    assert [(each["step"], each["error"]["class"]) for each in ended[0]["undo"]["not_done"]] == [("b", "timeout")]
    assert stage.paths()[-1] == "finally.z"


@pytest.mark.req("D4")
async def test_a_run_that_rests_without_checkpoints_says_so(stage: Stage) -> None:
    state = await stage.run({"limits": {"max_steps": 1}, "nodes": {"a": do(1), "b": do(2, depends_on=["a"])}})
    assert (state["run"]["status"], state["run"]["reason"]) == ("paused", "budget")


# -- one owner -------------------------------------------------------------------------------------------------------


@pytest.mark.req("X5", "D4")
@pytest.mark.parametrize("how", ["async", "not async"])
async def test_nobody_changes_the_state_of_a_run_that_another_works_on(stage: Stage, tmp_path: Path, how: str) -> None:
    nodes = {"a": do(1), "b": do("{{ a }}", "write", hold="door"), "c": do("{{ a + b }}")}
    graph, config = stage.graph({"nodes": nodes}, SqliteCheckpoints(tmp_path / "runs.sqlite")), stage.thread()
    run = asyncio.create_task(graph.ainvoke({}, config))
    await until(lambda: ("start", "b") in stage.log)
    with pytest.raises(Owned):
        if how == "async":
            await graph.aupdate_state(config, {"results": {"a": 99}})
        else:
            await asyncio.to_thread(graph.update_state, config, {"results": {"a": 99}})
    stage.door("door").set()
    assert (await run)["output"] == 2
    history = [snapshot.metadata["source"] async for snapshot in graph.aget_state_history(config) if snapshot.metadata]
    assert set(history) == {"input", "loop"}


# -- within another graph --------------------------------------------------------------------------------------------


class Outer(TypedDict, total=False):
    out: Any


@pytest.mark.req("X5", "X12")
@pytest.mark.parametrize("fails", [False, True])
async def test_a_run_that_had_ended_ends_alike_when_the_graph_around_it_is_resumed(stage: Stage, fails: bool) -> None:
    last = do("{{ a }}", depends_on=["a"], fault="tool_error" if fails else "")
    inner, tries = stage.graph({"nodes": {"a": do(1, "write"), "b": last}, "output": "{{ b }}"}), []

    async def node(state: Outer, config: RunnableConfig) -> Outer:
        done = await inner.ainvoke({}, config)
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("the node around it fails once")
        return {"out": done["output"]}

    outer = StateGraph(Outer).add_node("n", node).add_edge(START, "n").compile(checkpointer=InMemorySaver())
    config = stage.thread()
    with pytest.raises(WorkflowFailed if fails else RuntimeError):
        await outer.ainvoke({"out": None}, config)
    if fails:
        with pytest.raises(WorkflowFailed, match="b was told to fail"):
            await outer.ainvoke(None, config)
    else:
        assert await outer.ainvoke(None, config) == {"out": 1}
    assert stage.paths() == ["a", "b"]
