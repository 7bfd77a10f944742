"""What follows a workflow's steps: ``on_failure`` and ``finally``, after success, failure, cancellation, and crashes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from graphs.graph import WorkflowGraph
from state.errors import WorkflowCancelled, WorkflowFailed
from tests.conftest import Stage, answer, ask, do, say, statuses
from tests.dying import at_every_write, settled

TELL = {"nodes": {"tell": do("{{ run.error.class }} at {{ run.error.node }}", "write")}}
CLEAN = {"nodes": {"clean": do("{{ run.status }}", "write")}}
BLOCKS = {"on_failure": TELL, "finally": CLEAN}
BREAK = do(fault="tool_error")


async def ends(stage: Stage, spec: Any, **given: Any) -> dict[str, Any]:
    """The state that a run of the spec ends in, failed or not."""
    return await settled(stage.graph(spec, InMemorySaver()), given, stage.thread())


async def cancelled(graph: WorkflowGraph, config: RunnableConfig, *, undo: bool = False) -> dict[str, Any]:
    """The state of a run that is cancelled while it works or rests."""
    state: dict[str, Any] = await asyncio.wait_for(graph.acancel(config, undo=undo, reason="enough"), 20)
    return state


# -- when they run -------------------------------------------------------------------------------------------------


@pytest.mark.req("T4", "X12")
async def test_after_a_success_only_finally_runs_and_the_output_stays(stage: Stage) -> None:
    state = await ends(stage, {"nodes": {"a": do(1)}, **BLOCKS, "output": "{{ a }}"})
    assert (state["run"]["status"], state["output"]) == ("completed", 1)
    assert (stage.paths(), state["results"]["finally.clean"]) == (["a", "finally.clean"], "completed")


@pytest.mark.req("T4", "X12")
async def test_after_a_failure_both_run_in_their_order_and_the_status_stays_failed(stage: Stage) -> None:
    state = await ends(
        stage, {"nodes": {"a": do(1), "b": do("{{ a }}", fault="timeout"), "c": do("{{ b }}")}, **BLOCKS}
    )
    assert stage.paths() == ["a", "b", "on_failure.tell", "finally.clean"]
    assert (state["results"]["on_failure.tell"], state["results"]["finally.clean"]) == ("timeout at b", "failed")
    assert (state["run"]["status"], state["run"]["reason"], state["run"]["error"]["node"]) == ("failed", "timeout", "b")
    assert state["run"].get("also") is None


@pytest.mark.req("X12")
async def test_the_first_failure_is_raised_though_the_blocks_fail_too(stage: Stage) -> None:
    blocks = {"on_failure": {"nodes": {"f": do(fault="refused")}}, "finally": {"nodes": {"z": do(fault="timeout")}}}
    graph, config = stage.graph({"nodes": {"a": BREAK}, **blocks}, InMemorySaver()), stage.thread()
    with pytest.raises(WorkflowFailed) as failed:
        await graph.ainvoke({}, config)
    run = (await graph.aget_state(config)).values["run"]
    assert (failed.value.error["node"], run["error"]["node"], run["reason"]) == ("a", "a", "tool_error")
    assert [error["class"] for error in run["also"]] == ["refused", "timeout"]
    assert [error["node"] for error in run["also"]] == ["on_failure.f", "finally.z"]


@pytest.mark.req("X12")
async def test_a_failed_finally_of_a_success_is_reported_and_leaves_it_a_success(stage: Stage) -> None:
    state = await ends(stage, {"nodes": {"a": do(1)}, "finally": {"nodes": {"z": BREAK}}, "output": "{{ a }}"})
    assert (state["run"]["status"], state["output"]) == ("completed", 1)
    assert [error["node"] for error in state["run"]["also"]] == ["finally.z"]


@pytest.mark.req("T4")
async def test_writes_beside_a_failure_end_before_the_blocks_begin(stage: Stage) -> None:
    nodes = {"slow": do(1, "write", turns=60), "read": do(2, turns=60), "bad": do(fault="tool_error", turns=5)}
    state = await ends(stage, {"nodes": nodes, **BLOCKS})
    assert statuses(state)["slow"] == "done"
    assert statuses(state)["read"] == "cancelled"
    assert stage.before("slow", "on_failure.tell")
    assert stage.before("on_failure.tell", "finally.clean")


@pytest.mark.req("T4", "E5")
async def test_an_output_that_cannot_be_told_is_a_failure_with_all_that_follows_one(stage: Stage) -> None:
    undo = {"tool": "do.write", "args": {"value": "back"}}
    nodes = {"a": {**do({"n": 1}, "write"), "undo": undo}}
    state = await ends(stage, {"nodes": nodes, **BLOCKS, "output": "{{ a.n + a }}"})
    assert (state["run"]["status"], state["run"]["reason"]) == ("failed", "invalid_input")
    assert state["run"]["error"]["pointer"] == "/output"
    assert stage.paths() == ["a", "on_failure.tell", "a", "finally.clean"]
    assert state["run"]["undo"] == {"done": ["a"], "not_done": []}


async def test_a_failure_that_a_step_minds_itself_starts_no_on_failure(stage: Stage) -> None:
    nodes = {
        "a": do(fault="tool_error", on_error="skip"),
        "b": do(fault="tool_error", on_error={"then": "c"}),
        "c": do(3),
    }
    state = await ends(stage, {"nodes": nodes, **BLOCKS})
    assert (state["run"]["status"], stage.paths("end")) == ("completed", ["c", "finally.clean"])


# -- what they hold ------------------------------------------------------------------------------------------------


@pytest.mark.req("T4")
async def test_a_block_holds_loops_choices_people_and_their_failure_policies(stage: Stage) -> None:
    block = {
        "nodes": {
            "each": {"for_each": [1, 2], "nodes": {"s": do("{{ item }}", "write")}},
            "who": ask("Whom shall I tell?", form={"name": "string"}, depends_on=["each"]),
            "shaky": do(1, fault="timeout", until=1, depends_on=["who"], retry={"max_attempts": 2, "backoff": "1ms"}),
            "told": say("{{ who.name }}: {{ run.error.message }}", depends_on=["shaky"]),
        }
    }
    graph, config = (
        stage.graph({"nodes": {"a": BREAK}, "on_failure": block, "finally": CLEAN}, InMemorySaver()),
        stage.thread(),
    )
    state = await graph.ainvoke({}, config)
    (asked,) = state["__interrupt__"]
    assert (asked.value["at"], state["run"]["status"]) == ("on_failure.who", "paused")
    state = await settled(graph, answer({"name": "Ada"}), config)
    assert state["results"]["on_failure.told"] == "Ada: a was told to fail"
    assert sorted(stage.paths("end")[:2]) == ["on_failure.each[0].s", "on_failure.each[1].s"]
    assert (state["run"]["status"], stage.paths()[-1]) == ("failed", "finally.clean")


async def test_a_block_sees_what_the_steps_came_to(stage: Stage) -> None:
    seen = {"a": "{{ a }}", "b": "{{ steps.b.status }}", "never": "{{ never | default: 'not yet' }}"}
    nodes = {"a": do(1), "b": do(fault="refused", depends_on=["a"]), "never": do(3, depends_on=["b"])}
    seen["a"] = "{{ a | default: null }}"
    state = await ends(stage, {"nodes": nodes, "finally": {"nodes": {"see": say(seen)}}})
    assert state["results"]["finally.see"] == {"a": 1, "b": "failed", "never": "not yet"}


# -- used workflows ------------------------------------------------------------------------------------------------


@pytest.mark.req("R5", "T4")
async def test_the_blocks_of_a_used_workflow_run_at_its_own_end_and_tell_of_its_own_failure(stage: Stage) -> None:
    stage.library = {"part": {"input": {"fault": "string"}, "nodes": {"x": do(7, fault="{{ input.fault }}")}, **BLOCKS}}
    nodes = {
        "good": {"use": "part", "with": {"fault": ""}},
        "bad": {"use": "part", "with": {"fault": "tool_error"}, "on_error": "skip", "depends_on": ["good"]},
        "after": do("{{ good }}", depends_on=["bad"]),
    }
    state = await ends(stage, {"nodes": nodes, **BLOCKS})
    assert stage.paths() == [
        *("good.x", "good.finally.clean", "bad.x", "bad.on_failure.tell", "bad.finally.clean"),
        *("after", "finally.clean"),
    ]
    assert state["run"]["status"] == "completed"
    values = {path: state["results"][path] for path in stage.paths("end") if path.endswith(("tell", "clean"))}
    assert values == {
        "good.finally.clean": "completed",
        "bad.on_failure.tell": "tool_error at bad.x",
        "bad.finally.clean": "failed",
        "finally.clean": "completed",
    }


@pytest.mark.req("R5", "T4")
@pytest.mark.parametrize("wrap", ["use", "loop of uses", "use of a loop of uses"])
async def test_a_failure_outside_ends_used_workflows_with_their_blocks_before_those_outside(
    stage: Stage, wrap: str
) -> None:
    stage.library = {"part": {"nodes": {"x": do(1, turns=300)}, **BLOCKS}}
    stage.library["whole"] = {"nodes": {"each": {"for_each": [1], "nodes": {"sub": {"use": "part"}}}}}
    step, path = {
        "use": ({"use": "part"}, "s"),
        "loop of uses": ({"for_each": [1], "nodes": {"sub": {"use": "part"}}}, "s[0].sub"),
        "use of a loop of uses": ({"use": "whole"}, "s.each[0].sub"),
    }[wrap]
    state = await ends(stage, {"nodes": {"s": step, "bad": do(fault="tool_error", turns=40)}, **BLOCKS})
    ran = [p for p in stage.paths() if "." in p]
    assert ran == [f"{path}.x", f"{path}.on_failure.tell", f"{path}.finally.clean", "on_failure.tell", "finally.clean"]
    assert state["results"][f"{path}.on_failure.tell"].startswith("cancelled at")
    assert state["results"][f"{path}.finally.clean"] == "cancelled"
    assert state["nodes"]["s"]["status"] == "cancelled"
    assert not set(statuses(state).values()) & {"open", "waiting"}


@pytest.mark.req("R5", "T4")
async def test_a_person_in_the_block_of_a_used_workflow_is_asked_before_the_failed_run_goes_on(stage: Stage) -> None:
    stage.library = {"part": {"nodes": {"x": do(1, turns=300)}, "finally": {"nodes": {"sign": ask()}}}}
    loop = {"for_each": [1, 2], "nodes": {"sub": {"use": "part"}}}
    graph = stage.graph({"nodes": {"s": loop, "bad": do(fault="tool_error", turns=40)}, **BLOCKS}, InMemorySaver())
    config = stage.thread()
    state = await asyncio.wait_for(graph.ainvoke({}, config), 20)
    asked = sorted(question.value["at"] for question in state["__interrupt__"])
    assert asked == ["s[0].sub.finally.sign", "s[1].sub.finally.sign"]
    assert "on_failure.tell" not in stage.paths()
    state = await settled(graph, answer({at: {"answer": "yes"} for at in asked}), config)
    assert (state["run"]["status"], stage.paths()[-2:]) == ("failed", ["on_failure.tell", "finally.clean"])


@pytest.mark.req("R5")
async def test_a_failed_block_of_a_used_workflow_is_reported_beside_the_first_failure(stage: Stage) -> None:
    stage.library = {"part": {"nodes": {"x": do(1)}, "finally": {"nodes": {"z": do(fault="refused")}}}}
    state = await ends(stage, {"nodes": {"s": {"use": "part"}, "t": do("{{ s }}")}, "output": "{{ t }}"})
    assert (state["run"]["status"], state["output"]) == ("completed", 1)
    assert [(error["class"], error["node"]) for error in state["run"]["also"]] == [("refused", "s.finally.z")]


# -- cancellation --------------------------------------------------------------------------------------------------


@pytest.mark.req("T4", "X12")
@pytest.mark.parametrize("undo", [False, True])
async def test_a_cancelled_run_has_both_blocks_and_takes_steps_back_only_when_asked(stage: Stage, undo: bool) -> None:
    step = {**do(1, "write"), "undo": {"tool": "do.write", "args": {"value": "back"}}}
    graph = stage.graph({"nodes": {"a": step, "q": ask(depends_on=["a"])}, **BLOCKS}, InMemorySaver())
    config = stage.thread()
    await graph.ainvoke({}, config)
    state = await cancelled(graph, config, undo=undo)
    assert stage.paths() == ["a", "on_failure.tell", *(["a"] if undo else []), "finally.clean"]
    assert (state["run"]["status"], state["results"]["finally.clean"]) == ("cancelled", "cancelled")
    assert statuses(state)["q"] == "cancelled"
    assert (state["run"].get("undo") or {}).get("done") == (["a"] if undo else None)


@pytest.mark.req("T4")
async def test_a_run_cancelled_at_work_ends_its_writes_first(stage: Stage) -> None:
    nodes = {"write": do(1, "write", hold="door"), "read": do(2, hold="never"), "later": do("{{ write }}")}
    graph, config = stage.graph({"nodes": nodes, **BLOCKS}, InMemorySaver()), stage.thread()
    running = asyncio.create_task(graph.ainvoke({}, config))
    while len(stage.paths()) < 2:
        await asyncio.sleep(0)
    ending = asyncio.create_task(cancelled(graph, config))
    while ("cancel", "read") not in stage.log:
        await asyncio.sleep(0.01)
    assert "on_failure.tell" not in stage.paths()
    stage.door("door").set()
    with pytest.raises(WorkflowCancelled):
        await running
    state = await ending
    assert statuses(state)["write"] == "done"
    assert stage.paths()[2:] == ["on_failure.tell", "finally.clean"]


async def test_a_cancellation_during_the_last_block_comes_too_late(stage: Stage) -> None:
    spec = {"nodes": {"a": do(1)}, "on_failure": TELL, "finally": {"nodes": {"sign": ask()}}, "output": "{{ a }}"}
    graph, config = stage.graph(spec, InMemorySaver()), stage.thread()
    await graph.ainvoke({}, config)
    await cancelled(graph, config)
    state = await settled(graph, answer({"answer": "yes"}), config)
    assert (state["run"]["status"], state["output"], stage.paths()) == ("completed", 1, ["a"])


# -- crashes -------------------------------------------------------------------------------------------------------

USED = {"nodes": {"x": do(1, "write"), "y": do("{{ x }}", fault="tool_error")}, **BLOCKS}
BESIDE = {"slow": do(1, "write", turns=30), "bad": do(fault="tool_error", turns=3), "q": ask()}
EACH = {"for_each": [1, 2, 3], "max_parallel": 2, "nodes": {"sub": {"use": "used"}}}
CRASHES: dict[str, dict[str, Any]] = {
    "after a success": {"nodes": {"a": do(1)}, **BLOCKS},
    "after a failure": {"nodes": {"a": BREAK}, **BLOCKS},
    "beside a write and a person": {"nodes": BESIDE, **BLOCKS},
    "in a used workflow": {"nodes": {"s": {"use": "used"}}, **BLOCKS},
    "in loops of used workflows": {"nodes": {"each": EACH}, **BLOCKS},
    "in loops that collect": {"nodes": {"each": {**EACH, "on_item_error": "collect"}}, **BLOCKS},
    "around used workflows": {"nodes": {"s": {"use": "long"}, "bad": do(fault="tool_error", turns=60)}, **BLOCKS},
    "with people": {"nodes": {"a": BREAK}, "finally": {"nodes": {"q": ask(), "z": do("{{ q }}", "write")}}},
}


@pytest.mark.req("T4", "X5", "R5")
@pytest.mark.parametrize("where", CRASHES)
def test_a_crash_at_any_write_continues_the_blocks_and_repeats_nothing(where: str) -> None:
    library = {"used": USED, "long": {"nodes": {"x": do(1, "write"), "w": do("{{ x }}", turns=300)}, **BLOCKS}}
    assert at_every_write(CRASHES[where], library) > 5
