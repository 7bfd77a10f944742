"""Rulings of SEMANTICS.md where the engine once went wrong, or might: one test each, at the graph's own door."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphDrained
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import RunControl
from langgraph.types import Command
from typing_extensions import TypedDict

from cogwork.store.checkpoints import SqliteCheckpoints
from graphs.runtime.run import Run
from state.errors import NotResumable, SpecError, Stalled, WorkflowFailed
from tests.conftest import Stage, answer, ask, choose, do, say, statuses

BAD_ONE = "{{ item == 1 ? 'tool_error' : '' }}"


def questions(state: dict[str, Any]) -> list[str]:
    """The paths at which the run asks."""
    return sorted(i.value["at"] for i in state.get("__interrupt__", ()))


def record_of(state: dict[str, Any], path: str) -> dict[str, Any]:
    """The record of one step."""
    return dict(state["nodes"][path])


class Thread:
    """A run on a thread of its own; what hangs is a failure."""

    def __init__(self, stage: Stage, spec: dict[str, Any], saver: Any = None) -> None:
        self.graph, self.config = stage.graph(spec, saver or InMemorySaver()), stage.thread()

    async def go(self, input: Any = None, **options: Any) -> dict[str, Any]:
        """The state in which a call with this input ends or rests."""
        return await asyncio.wait_for(self.graph.ainvoke(input, self.config, **options), 10)

    async def say(self, **answers: Any) -> dict[str, Any]:
        """The state after these answers, by path; ``__`` stands for a dot."""
        return await self.go(answer({path.replace("__", "."): value for path, value in answers.items()}))

    async def values(self) -> dict[str, Any]:
        """What the checkpoint holds."""
        return (await self.graph.aget_state(self.config)).values


# -- failure ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("around", ["use", "for_each"])
async def test_a_write_that_finishes_after_the_first_failure_lets_what_holds_both_come_to_its_end(
    stage: Stage, around: str
) -> None:
    body = {"bad": do(fault="tool_error"), "write": do(effect="write", turns=20), "after": do(depends_on=["write"])}
    stage.library["part"] = {"nodes": body, "output": "{{ bad }}"}
    held = {"use": "part"} if around == "use" else {"for_each": [1], "nodes": body, "output": "bad"}
    state = await stage.run({"nodes": {"held": {**held, "on_error": "skip"}}, "output": "{{ steps.held.status }}"})
    inside = "held." if around == "use" else "held[0]."
    assert (state["output"], stage.paths()) == ("skipped", [f"{inside}bad", f"{inside}write"])
    assert statuses(state)[f"{inside}write"] == "done"


async def test_people_are_asked_though_a_loop_around_another_question_has_failed(stage: Stage) -> None:
    stage.library["part"] = {
        "nodes": {"one": ask(), "lap": {"repeat": {"max_iterations": 3}, "nodes": {"two": ask()}}},
        "output": "{{ one }}",
    }
    body = {"sub": {"use": "part"}, "bad": do(fault=BAD_ONE, turns=9), "both": do(depends_on=["sub", "bad"])}
    spec = {"nodes": {"loop": {"for_each": [1, 2], "on_item_error": "skip", "nodes": body}, "q": ask()}}
    state = await Thread(stage, spec).go({})
    assert questions(state) == ["loop[1].sub.lap[0].two", "loop[1].sub.one", "q"]


async def test_a_call_that_is_cancelled_from_within_is_a_failure_and_not_a_silent_end(stage: Stage) -> None:
    def cancelled(path: str) -> None:
        raise asyncio.CancelledError

    stage.on_start = cancelled
    with pytest.raises(WorkflowFailed) as failed:
        await stage.run({"nodes": {"a": do()}})
    assert (failed.value.error["class"], failed.value.error["node"]) == ("cancelled", "a")


async def test_what_a_repeat_begins_with_fails_as_its_step_does(stage: Stage) -> None:
    lap = {"repeat": {"max_iterations": 2, "initial": "{{ a.missing }}"}, "nodes": {"x": do("{{ previous }}")}}
    with pytest.raises(WorkflowFailed) as failed:
        await stage.run({"nodes": {"a": do({}), "lap": lap}})
    assert (failed.value.error["class"], failed.value.error["node"]) == ("invalid_input", "lap")


async def test_a_run_that_stands_still_says_so_loudly(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    thread = Thread(stage, {"nodes": {"a": do(), "b": do("{{ a }}")}})
    monkeypatch.setattr(Run, "consider", lambda run, member: None)
    with pytest.raises(Stalled, match="with a, b left to do"):
        await thread.go({})
    with pytest.raises((Stalled, NotResumable)):
        await thread.go(None)


async def test_an_answer_that_its_failed_item_no_longer_needs_keeps_nobody_else_waiting(stage: Stage) -> None:
    body = {"late": ask(timeout="1ms"), "q": ask(), "both": do(depends_on=["late", "q"])}
    loop = {"for_each": [1], "on_item_error": "collect", "nodes": body}
    thread = Thread(stage, {"nodes": {"loop": loop, "other": ask()}})
    state = await thread.go({})
    deadline = datetime.fromisoformat(record_of(state, "loop[0].late")["deadline"])
    while datetime.now(UTC) <= deadline:
        await asyncio.sleep(0)
    state = await thread.go(answer({"loop[0].q": {"answer": "yes"}}))
    assert questions(state) == ["other"]
    assert statuses(state)["loop[0].late"] == "failed"


# -- loops -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["for_each", "use", "repeat"])
async def test_a_loop_goes_on_with_what_it_began_with_though_more_is_known_on_resumption(
    stage: Stage, kind: str
) -> None:
    read = "{{ slow | default: [1, 2] }}"
    stage.library["part"] = {
        "input": {"x": {"type": "array"}},
        "nodes": {"q": ask(), "seen": say("{{ input.x }}", depends_on=["q"])},
        "output": "{{ seen }}",
    }
    asks = {"q": ask(), "seen": say("{{ item }}", depends_on=["q"])}
    loops: dict[str, Any] = {
        "for_each": {"for_each": "slow | default: [1, 2]", "nodes": asks},
        "use": {"use": "part", "with": {"x": read}},
        "repeat": {
            "repeat": {"max_iterations": 1, "initial": read},
            "nodes": {**asks, "seen": say("{{ previous }}", depends_on=["q"])},
        },
    }
    nodes = {
        "quick": do(),
        "slow": do([7], turns=60),
        "loop": {**loops[kind], "depends_on": ["quick", "slow"], "join": "any"},
    }
    thread = Thread(stage, {"nodes": nodes, "output": "{{ loop }}"})
    state = await thread.go({})
    assert statuses(state)["slow"] == "done"
    while asked := questions(state):
        state = await thread.go(answer({asked[0]: {"answer": "yes"}}))
    assert state["output"] == [1, 2]


async def test_an_open_loop_whose_list_was_changed_under_it_is_refused_by_name(stage: Stage) -> None:
    loop = {"for_each": "a", "nodes": {"q": ask()}}
    thread = Thread(stage, {"nodes": {"a": do([1, 2]), "loop": loop}})
    await thread.go({})
    await thread.graph.aupdate_state(thread.config, {"results": {"a": [1]}})
    with pytest.raises(NotResumable, match="loop began with have changed"):
        await thread.go(None)


@pytest.mark.parametrize("turns", range(6))
async def test_a_run_that_rests_names_only_its_questions_as_what_comes_next(
    stage: Stage, turns: int, tmp_path: Path
) -> None:
    nodes = {
        "a": do(turns=turns),
        "q": ask(),
        "r": ask(when="false"),
        "both": do(depends_on=["a", "q"]),
        "c": choose(("q.answer == 'yes'", "d"), otherwise="e"),
        "d": do("{{ a }}"),
        "e": do("{{ a }}"),
    }
    with SqliteCheckpoints(tmp_path / "checkpoints.sqlite") as saver:
        thread = Thread(stage, {"nodes": nodes}, saver)
        before = await thread.go({})
        snapshot = await thread.graph.aget_state(thread.config)
        assert (questions(before), snapshot.next, len(snapshot.tasks)) == (["q"], ("q",), 1)


# -- executions ------------------------------------------------------------------------------------------------


STEPS = {"a": do(1), "slow": do(5, effect="write", turns=30), "b": do("{{ a + 1 }}"), "c": do("{{ b + slow }}")}


@pytest.mark.parametrize("stop", [{"interrupt_before": ["b"]}, {"interrupt_after": ["a"]}, {"interrupt_after": "*"}])
async def test_a_breakpoint_cuts_no_work_off_and_repeats_none(stage: Stage, stop: dict[str, Any]) -> None:
    thread = Thread(stage, {"nodes": STEPS, "output": "{{ c }}"})
    state = await thread.go({}, **stop)
    assert set(statuses(state)) == {"a", "slow"}
    while (await thread.graph.aget_state(thread.config)).next:
        state = await thread.go(None, **stop)
    assert (state["output"], sorted(stage.paths())) == (7, ["a", "b", "c", "slow"])


async def test_a_write_in_flight_is_finished_and_recorded_before_a_drained_run_rests(stage: Stage) -> None:
    thread, control = Thread(stage, {"nodes": {**STEPS, "read": do(hold="read")}, "output": "{{ c }}"}), RunControl()
    stage.on_start = lambda path: control.request_drain() if path == "slow" else None
    with pytest.raises(GraphDrained):
        await thread.go({}, control=control)
    assert ("end", "slow") in stage.log and ("cancel", "read") in stage.log
    stage.door("read").set()
    assert ((await thread.go())["output"], stage.paths().count("slow")) == (7, 1)


async def test_a_graph_bound_to_a_thread_rests_and_goes_on_there(stage: Stage) -> None:
    thread = Thread(stage, {"nodes": {"q": ask(), "b": do("{{ q.answer }}")}, "output": "{{ b }}"})
    bound = thread.graph.with_config(thread.config)
    assert questions(await bound.ainvoke({})) == ["q"]
    with pytest.raises(NotResumable, match="waits for an answer at q"):
        await bound.ainvoke({})
    assert (await bound.ainvoke(answer({"answer": "yes"})))["output"] == "yes"


class Outer(TypedDict, total=False):
    """The state of somebody else's graph."""

    n: int
    output: Any


@pytest.mark.parametrize("called", [True, False])
async def test_within_another_graph_each_answer_goes_on_and_a_wrong_one_is_asked_for_again(
    stage: Stage, called: bool
) -> None:
    nodes = {"a": do("{{ input.n }}"), "q": ask(), "r": ask(), "b": do("{{ q.answer }}"), "c": do("{{ r.answer }}")}
    spec = {"input": {"n": "integer"}, "nodes": nodes, "output": ["{{ a }}", "{{ b }}", "{{ c }}"]}
    inner = stage.graph(spec)

    async def call(state: Outer) -> dict[str, Any]:
        return {"output": (await inner.ainvoke({"n": state["n"]}))["output"]}

    outer: Any = StateGraph(Outer)
    outer.add_node("inner", call if called else inner)
    outer.add_edge(START, "inner")
    outer.add_edge("inner", END)
    graph, config = outer.compile(checkpointer=InMemorySaver()), stage.thread()
    state = await graph.ainvoke({"n": 2}, config)
    (q,) = (i.id for i in state["__interrupt__"] if i.value["at"] == "q")
    state = await graph.ainvoke(Command(resume={q: {"answer": "one"}}), config)
    assert (questions(state), stage.paths()) == (["r"], ["a", "b"])
    state = await graph.ainvoke(Command(resume=7), config)
    assert questions(state) == ["r"] and "is integer, expected object" in state["__interrupt__"][0].value["refused"][0]
    state = await graph.ainvoke(Command(resume={state["__interrupt__"][0].id: {"answer": "two"}}), config)
    assert (state["output"], stage.paths()) == ([2, "one", "two"], ["a", "b", "c"])


async def test_a_limit_of_steps_counts_the_same_calls_before_and_after_a_rest(stage: Stage) -> None:
    first = {"a": do(1), "x": say(1), "y": say(2), "loop": {"for_each": [1], "nodes": {"d": do()}}, "q": ask()}
    spec = {"limits": {"max_steps": 3}, "nodes": {**first, "b": do("{{ q.answer }}"), "c": do("{{ b }}")}}
    thread = Thread(stage, spec)
    await thread.go({})
    state = await thread.say(q={"answer": "yes"})
    assert (questions(state), sorted(stage.paths())) == (["run"], ["a", "b", "loop[0].d"])


async def test_what_a_caller_configures_for_other_purposes_is_not_written_to_the_file(
    stage: Stage, tmp_path: Path
) -> None:
    with SqliteCheckpoints(tmp_path / "checkpoints.sqlite") as saver:
        secret = {"thread_id": "one", "api_key": "CANARY", "password": "CANARY", "more": "CANARY"}
        await stage.graph({"nodes": {"a": do(1), "b": do("{{ a }}")}}, saver).ainvoke({}, {"configurable": secret})
        assert saver.get_tuple({"configurable": {"thread_id": "one"}}) is not None
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"CANARY" in path.read_bytes()]


@pytest.mark.parametrize("name", ["__start__", "__end__", "__interrupt__", "__input__", "__error__"])
def test_a_name_that_langgraph_keeps_for_itself_is_a_problem_and_no_crash(stage: Stage, name: str) -> None:
    with pytest.raises(SpecError) as refused:
        stage.graph({"nodes": {name: do(), "b": do(depends_on=[name])}})
    assert [problem.code for problem in refused.value.problems] == ["bad_name"]


def test_who_leaves_a_stream_early_finds_nothing_at_work_any_more(stage: Stage) -> None:
    thread = Thread(stage, {"nodes": {"a": do(1), "b": do("{{ a }}", hold="for ever")}})
    for mode, _ in thread.graph.stream({}, thread.config, stream_mode=["custom", "values"]):
        if mode == "custom" and "b" in stage.paths():
            break
    assert (stage.running, stage.log[-1]) == (0, ("cancel", "b"))


async def test_a_run_whose_output_failed_is_called_failed_when_it_is_resumed(stage: Stage) -> None:
    thread = Thread(stage, {"nodes": {"a": do({})}, "output": "{{ a.missing }}"})
    with pytest.raises(WorkflowFailed, match="output: "):
        await thread.go({})
    with pytest.raises(NotResumable, match="has failed"):
        await thread.go(None)


@pytest.mark.parametrize(
    "command", [Command(), Command(goto="b"), Command(update={"results": {"a": 2}}), Command(resume=1, goto="b")]
)
async def test_a_command_that_does_more_than_answer_is_refused(stage: Stage, command: Command[Any]) -> None:
    thread = Thread(stage, {"nodes": {"a": do(1), "b": do("{{ a }}"), "q": ask()}})
    before = await thread.go({})
    with pytest.raises(NotResumable, match="only answer"):
        await thread.go(command)
    assert (await thread.values())["nodes"] == before["nodes"]


async def test_events_that_end_at_a_breakpoint_say_that_the_run_rests(stage: Stage) -> None:
    thread = Thread(stage, {"nodes": {"a": do(1), "b": do("{{ a }}")}})
    stopped = [event.kind async for event in thread.graph.aevents({}, thread.config, interrupt_before=["b"])]
    assert stopped == ["run.started", "step.started", "step.finished", "run.paused"]
    assert [event.kind async for event in thread.graph.aevents(None, thread.config)][-1] == "run.completed"


async def test_within_another_graph_the_steps_tell_their_events(stage: Stage) -> None:
    outer: Any = StateGraph(Outer)
    outer.add_node("inner", stage.graph({"input": {"n": "integer"}, "nodes": {"a": do(1)}}))
    outer.add_edge(START, "inner")
    told = [chunk async for _, chunk in outer.compile().astream({"n": 1}, stream_mode="custom", subgraphs=True)]
    assert [(event["event"], event["step"]) for event in told] == [("step.started", "a"), ("step.finished", "a")]
