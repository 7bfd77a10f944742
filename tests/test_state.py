"""The state of a thread: inputs, new runs, forks, plain values, streams and events."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from state.errors import InputRefused, NotResumable, WorkflowFailed
from state.values import UnfitValue, normalise
from tests.conftest import Stage, answer, do, say, statuses

# -- inputs ----------------------------------------------------------------------------------------------------

COUNTING = {
    "input": {"n": {"type": "integer", "minimum": 0}, "step": {"type": "integer", "default": 2}},
    "nodes": {"a": do("{{ input.n + input.step }}")},
    "output": "{{ a }}",
}


async def test_defaults_of_the_input_are_filled_in(stage: Stage) -> None:
    state = await stage.run(COUNTING, n=1)
    assert (state["input"], state["output"]) == ({"n": 1, "step": 2}, 3)


@pytest.mark.parametrize("wrong", [{}, {"n": "1"}, {"n": -1}, {"n": 1, "more": 2}, {"n": float("nan")}])
async def test_an_input_that_does_not_fit_is_refused_before_anything_is_written(stage: Stage, wrong: Any) -> None:
    graph, config = stage.graph(COUNTING, InMemorySaver()), stage.thread()
    with pytest.raises(InputRefused):
        await graph.ainvoke(wrong, config)
    assert (stage.log, [s async for s in graph.aget_state_history(config)]) == ([], [])


# -- runs of a thread ------------------------------------------------------------------------------------------


async def test_new_input_on_a_finished_thread_is_a_new_run_that_keeps_the_messages(stage: Stage) -> None:
    graph, config = stage.graph(COUNTING, InMemorySaver()), stage.thread()
    first = await graph.ainvoke({"n": 1}, config)
    await graph.aupdate_state(config, {"messages": [("user", "hello")]})
    second = await graph.ainvoke({"n": 5}, config)
    assert first["run"]["id"] != second["run"]["id"]
    assert (second["output"], second["path"], statuses(second)) == (7, ["a"], {"a": "done"})
    assert [m.text for m in second["messages"]] == ["hello"]


async def test_new_input_after_a_failed_run_starts_afresh(stage: Stage) -> None:
    spec = {"input": {"fault": "string"}, "nodes": {"a": do(1, fault="{{ input.fault }}")}, "output": "{{ a }}"}
    graph, config = stage.graph(spec, InMemorySaver()), stage.thread()
    with pytest.raises(WorkflowFailed):
        await graph.ainvoke({"fault": "tool_error"}, config)
    state = await graph.ainvoke({"fault": ""}, config)
    assert (state["run"]["status"], state["output"], state["run"].get("error")) == ("completed", 1, None)


async def test_new_input_on_a_paused_run_is_refused(stage: Stage) -> None:
    graph, config = stage.graph({"nodes": {"q": {"type": "human", "ask": "?"}}}, InMemorySaver()), stage.thread()
    await graph.ainvoke({}, config)
    with pytest.raises(NotResumable, match="waits for an answer at q"):
        await graph.ainvoke({}, config)


async def test_resuming_what_is_finished_or_unknown_is_refused(stage: Stage) -> None:
    graph, config = stage.graph(COUNTING, InMemorySaver()), stage.thread()
    with pytest.raises(NotResumable, match="holds no run"):
        await graph.ainvoke(None, config)
    await graph.ainvoke({"n": 1}, config)
    with pytest.raises(NotResumable, match="has completed"):
        await graph.ainvoke(None, config)
    with pytest.raises(NotResumable, match="can be resumed"):
        await stage.graph(COUNTING).ainvoke(None)


async def test_a_fork_with_changed_values_is_a_new_run_that_repeats_nothing_before_it(stage: Stage) -> None:
    nodes = {"a": do(1), "b": do("{{ a + 1 }}"), "c": do("{{ b + 1 }}")}
    graph, config = stage.graph({"nodes": nodes, "output": "{{ c }}"}, InMemorySaver()), stage.thread()
    first = await graph.ainvoke({}, config)
    past = [s async for s in graph.aget_state_history(config) if "a" in s.values.get("results", {}) and "b" in s.next][
        -1
    ]
    fork = await graph.aupdate_state(past.config, {"results": {"a": 10}})
    stage.log.clear()
    second = await graph.ainvoke(None, fork)
    assert (second["output"], stage.paths()) == (12, ["b", "c"])
    assert second["run"]["id"] != first["run"]["id"] == second["run"]["forked_from"]


async def test_two_threads_know_nothing_of_each_other(stage: Stage) -> None:
    graph = stage.graph(COUNTING, InMemorySaver())
    one, two = stage.thread(), stage.thread()
    await graph.ainvoke({"n": 1}, one)
    await graph.ainvoke({"n": 2}, two)
    assert [(await graph.aget_state(c)).values["output"] for c in (one, two)] == [3, 4]


# -- streams and events ----------------------------------------------------------------------------------------

LANES = {
    "nodes": {
        "a": do(1, turns=1),
        "b": do("{{ a }}", turns=1),
        "slow": do(2, turns=60),
        "gone": do(when="false"),
        "j": say(["{{ b }}", "{{ slow }}"]),
    },
    "output": "{{ j }}",
}


@pytest.mark.req("D6")
async def test_updates_and_tasks_show_each_step_once_without_yields(stage: Stage) -> None:
    graph = stage.graph(LANES)
    updates = [name async for chunk in graph.astream({}, stream_mode="updates") for name in chunk]
    assert sorted(updates) == ["a", "b", "gone", "j", "slow"]
    tasks = [chunk async for chunk in graph.astream({}, stream_mode="tasks")]
    started = [task["name"] for task in tasks if "result" not in task]
    assert sorted(set(started)) == sorted(started)
    assert sorted(task["name"] for task in tasks if "result" in task) == ["a", "b", "gone", "j", "slow"]


async def test_values_grow_and_custom_carries_the_events(stage: Stage) -> None:
    graph = stage.graph(LANES)
    values = [chunk async for chunk in graph.astream({}, stream_mode="values")]
    sizes = [len(value.get("nodes", {})) for value in values]
    assert (sizes, values[-1]["output"]) == (sorted(sizes), [1, 2])
    several = [chunk async for chunk in graph.astream({}, stream_mode=["custom", "updates"])]
    assert {mode for mode, _ in several} == {"custom", "updates"}
    assert all("event" in chunk for mode, chunk in several if mode == "custom")


async def test_events_tell_each_step_in_order_and_end_with_the_run(stage: Stage) -> None:
    events = [event async for event in stage.graph(LANES).aevents({})]
    told = [(event.kind, event.step) for event in events]
    assert (told[0], told[-1]) == (("run.started", ""), ("run.completed", ""))
    assert len(set(told)) == len(told)
    for step in ("a", "b", "slow"):
        assert told.index(("step.started", step)) < told.index(("step.finished", step))
    assert told.index(("step.finished", "a")) < told.index(("step.started", "b"))
    assert told.index(("step.finished", "b")) < told.index(("step.finished", "slow")), "the fast lane waited"
    assert ("step.skipped", "gone") in told
    assert events[-1].data == {"output": [1, 2]}
    assert len({event.run for event in events}) == 1


async def test_events_end_with_the_failure_and_raise_nothing(stage: Stage) -> None:
    events = [event async for event in stage.graph({"nodes": {"a": do(fault="refused")}}).aevents({})]
    assert [event.kind for event in events] == ["run.started", "step.started", "step.failed", "run.failed"]
    assert events[-1].data["error"]["class"] == "refused"


async def test_events_of_a_paused_run_end_with_its_questions(stage: Stage) -> None:
    graph, config = stage.graph({"nodes": {"q": {"type": "human", "ask": "Now?"}}}, InMemorySaver()), stage.thread()
    events = [event async for event in graph.aevents({}, config)]
    assert [event.kind for event in events] == ["run.started", "step.waiting", "run.paused"]
    assert [q["ask"] for q in events[-1].data["questions"]] == ["Now?"]
    rest = [event.kind async for event in graph.aevents(answer({"answer": "yes"}), config)]
    assert rest == ["run.resumed", "step.finished", "run.completed"]


@pytest.mark.req("D6")
def test_sync_calls_give_what_the_async_ones_give(stage: Stage) -> None:
    graph = stage.graph(LANES)
    assert graph.invoke({})["output"] == [1, 2]
    assert list(graph.stream({}, stream_mode="values"))[-1]["output"] == [1, 2]
    assert [event.kind for event in graph.events({})][-1] == "run.completed"
    with pytest.raises(WorkflowFailed):
        stage.graph({"nodes": {"a": do(fault="refused")}}).invoke({})


async def test_with_and_without_a_checkpointer_a_run_ends_the_same(stage: Stage) -> None:
    bare = await stage.graph(LANES).ainvoke({})
    kept = await stage.graph(LANES, InMemorySaver()).ainvoke({}, stage.thread())
    assert (bare["output"], statuses(bare), bare["results"]) == (kept["output"], statuses(kept), kept["results"])


async def test_expressions_see_context_run_and_vars(stage: Stage) -> None:
    spec = {
        "vars": {"limit": 3},
        "nodes": {"a": do(["{{ context.user.name | default: 'nobody' }}", "{{ vars.limit }}", "{{ run.id }}"])},
        "output": "{{ a }}",
    }
    state = await stage.graph(spec).ainvoke({}, context={"user": {"name": "Ada"}})
    assert state["output"] == ["Ada", 3, state["run"]["id"]]


# -- plain values ----------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: Any
    y: float


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.characters(categories=["Cs"])
    | st.binary()
    | st.decimals()
    | st.datetimes()
    | st.timedeltas()
    | st.uuids()
    | st.sampled_from([Colour.RED, "\0", 2**63, -(2**63) - 1, math.inf])
)
hostile = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers() | st.booleans() | st.none(), inner)
        | st.tuples(inner, inner)
        | st.builds(Point, inner, st.floats())
        | st.frozensets(st.integers())
    ),
    max_leaves=12,
)


def _plain(value: Any) -> Any:
    try:
        return normalise(value)
    except UnfitValue:
        return None


@given(hostile)
@settings(max_examples=150, deadline=None)
def test_whatever_a_tool_returns_becomes_strict_json(value: Any) -> None:
    plain = _plain(value)
    text = json.dumps(plain, allow_nan=False)
    assert json.loads(text) == plain
    assert text.encode("utf-8").decode("utf-8") == text
    json.dumps(plain, ensure_ascii=False).encode("utf-8")


@given(hostile)
@settings(max_examples=100, deadline=None)
def test_plain_values_stay_what_they_are_here_and_in_a_checkpoint(value: Any) -> None:
    plain = _plain(value)
    assert normalise(plain) == plain
    serde = JsonPlusSerializer(allowed_msgpack_modules=None)
    assert serde.loads_typed(serde.dumps_typed(plain)) == plain


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (math.nan, None),
        (2**64, str(2**64)),
        (Decimal("1.10"), "1.10"),
        (dt.date(2026, 11, 1), "2026-11-01"),
        (b"\xff", "/w=="),
        ({1: "a"}, {"1": "a"}),
        (Point(1, math.inf), {"x": 1, "y": None}),
    ],
)
async def test_values_are_made_plain_before_the_state_holds_them(stage: Stage, value: Any, plain: Any) -> None:
    from cogwork.tools.toolbox import FunctionTool, Toolbox

    async def give() -> Any:
        return value

    tools = Toolbox([FunctionTool.from_function(give, name="give", effect="read")])
    stage.services = dataclasses.replace(stage.services, tools=tools)
    assert await stage.output({"nodes": {"a": {"type": "tool", "tool": "give"}}, "output": "{{ a }}"}) == plain


@pytest.mark.parametrize("value", [object(), 10**5000], ids=["object", "digits"])
def test_what_has_no_plain_form_is_refused(value: Any) -> None:
    with pytest.raises(UnfitValue):
        normalise(value)


def test_what_holds_itself_is_refused() -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(UnfitValue, match="nested deeper"):
        normalise(ring)
