"""Compensation: finished steps are taken back in the reverse order of their completion, once, whatever happens meanwhile."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver

from state.errors import SpecError
from tests.conftest import Stage, answer, ask, choose, do, statuses
from tests.dying import Ledger, at_every_write, died_at, settled
from tests.test_random_graphs import Case, cases, costly, ended, ordinary

BACK = {"tool": "do.write", "args": {"value": "back"}}
BREAK = do(fault="tool_error")


def book(value: Any = 1, undo: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A write that can be taken back."""
    return {**do(value, "write", **more), "undo": undo or BACK}


async def ends(stage: Stage, spec: Any) -> dict[str, Any]:
    """The state that a run of the spec ends in, failed or not."""
    return await settled(stage.graph(spec, InMemorySaver()), {}, stage.thread())


def taken_back(stage: Ledger) -> list[str]:
    """The paths of the steps whose undo call has ended, in order."""
    return [key.split(":")[1] for key in stage.ended if key.endswith(":undo")]


@pytest.fixture
def stage() -> Ledger:
    """A stage that notes which calls have ended."""
    return Ledger()


# -- the order -----------------------------------------------------------------------------------------------------


@pytest.mark.req("T4")
async def test_undo_runs_in_the_reverse_of_completion_across_branches_items_and_used_workflows(stage: Ledger) -> None:
    stage.library = {"part": {"nodes": {"x": book(turns=9), "y": book("{{ x }}")}}}
    nodes = {
        "slow": book(turns=80),
        "each": {"for_each": [30, 4, 16], "nodes": {"s": book("{{ item }}", turns="{{ item }}")}},
        "part": {"use": "part"},
        "plain": do(2, "write"),
        "again": {"repeat": {"max_iterations": 2}, "nodes": {"r": book(turns=50)}},
        "bad": {**BREAK, "depends_on": ["slow", "each", "part", "again", "plain"]},
    }
    state = await ends(stage, {"nodes": nodes})
    order = [path for path in state["path"] if "undo" in state["nodes"][path]]
    assert len(order) == 8
    assert order.index("each[1].s") < order.index("each[2].s") < order.index("each[0].s") < order.index("slow")
    assert taken_back(stage) == order[::-1]
    assert state["run"]["undo"] == {"done": order[::-1], "not_done": []}
    assert all(state["nodes"][path]["undone"] is True for path in order)


@pytest.mark.req("T4")
async def test_a_completed_run_takes_nothing_back(stage: Ledger) -> None:
    state = await ends(stage, {"nodes": {"a": book(), "b": book(depends_on=["a"])}})
    assert (state["run"]["status"], taken_back(stage), state["run"].get("undo")) == ("completed", [], None)


@pytest.mark.req("T4")
async def test_only_what_was_done_is_taken_back(stage: Ledger) -> None:
    nodes = {
        "choose": choose(("input.yes", "chosen"), otherwise="other"),
        "chosen": book(),
        "other": book(),
        "ignored": book(fault="refused", on_error="skip"),
        "bad": book(fault="tool_error", depends_on=["chosen", "other", "ignored"]),
        "never": book(depends_on=["bad"]),
    }
    state = await ends(stage, {"input": {"yes": {"type": "boolean", "default": True}}, "nodes": nodes})
    assert (taken_back(stage), state["run"]["undo"]["done"]) == (["chosen"], ["chosen"])


@pytest.mark.req("T4", "E5")
async def test_the_arguments_see_the_result_the_item_and_what_was_over_by_then(stage: Ledger) -> None:
    seen: list[Any] = []
    stage.told = seen.append
    told = {"booked": "{{ output.id }}", "item": "{{ item }}", "index": "{{ index }}", "who": "{{ who }}"}
    undo = {"tool": "do.write", "args": {"value": told}}
    loop = {"for_each": ["x", "y"], "max_parallel": 1, "nodes": {"s": book({"id": "b-{{ item }}"}, undo)}}
    nodes = {"who": do("ada"), "each": {**loop, "depends_on": ["who"]}, "bad": {**BREAK, "depends_on": ["each"]}}
    await ends(stage, {"nodes": nodes})
    assert seen[-2:] == [
        {"booked": "b-y", "item": "y", "index": 1, "who": "ada"},
        {"booked": "b-x", "item": "x", "index": 0, "who": "ada"},
    ]


# -- what cannot be undone -----------------------------------------------------------------------------------------


@pytest.mark.req("T4", "X12")
async def test_what_cannot_be_undone_is_listed_and_the_rest_goes_on(stage: Ledger) -> None:
    fails = {"tool": "do.write", "args": {"fault": "permission_denied"}}
    untold = {"tool": "do.write", "args": {"value": "{{ output.missing }}"}}
    nodes = {
        "a": book(),
        "b": book(undo=fails, depends_on=["a"]),
        "c": book({"n": 1}, untold, depends_on=["b"]),
        "d": book(depends_on=["c"]),
        "bad": {**BREAK, "depends_on": ["d"]},
    }
    state = await ends(stage, {"nodes": nodes, "finally": {"nodes": {"z": do("last", "write")}}})
    undo = state["run"]["undo"]
    assert (taken_back(stage), undo["done"]) == (["d", "a"], ["d", "a"])
    assert [(each["step"], each["error"]["class"]) for each in undo["not_done"]] == [
        ("c", "invalid_input"),
        ("b", "permission_denied"),
    ]
    assert [state["nodes"][path]["undone"] for path in "abcd"] == [True, False, False, True]
    assert (state["run"]["status"], state["run"]["error"]["node"], stage.paths()[-1]) == ("failed", "bad", "finally.z")


@pytest.mark.req("T4")
async def test_an_undo_call_is_tried_again_as_its_own_retry_says(stage: Ledger) -> None:
    retry = {"max_attempts": 3, "backoff": "1ms", "jitter": False}
    undo = {"tool": "do.write", "args": {"fault": "unavailable", "until": 2}, "retry": retry}
    state = await ends(stage, {"nodes": {"a": book(undo=undo), "bad": {**BREAK, "depends_on": ["a"]}}})
    assert (stage.paths().count("a"), state["run"]["undo"]["done"]) == (4, ["a"])
    assert state["nodes"]["undo[0]"]["attempts"] == 3


@pytest.mark.req("T4", "X5")
@pytest.mark.parametrize(
    ("resolution", "undone", "calls"), [("done", True, 1), ("not_done", False, 1), ("retry", True, 2)]
)
async def test_an_undo_in_doubt_is_asked_about_and_the_rest_waits(
    stage: Ledger, resolution: str, undone: bool, calls: int
) -> None:
    undo = {**BACK, "timeout": "50ms"}
    nodes = {"a": book(), "b": book(undo=undo, depends_on=["a"]), "bad": {**BREAK, "depends_on": ["b"]}}
    graph, config = stage.graph({"nodes": nodes, "finally": {"nodes": {"z": do(1)}}}, InMemorySaver()), stage.thread()
    stage.stuck = "b"
    state = await settled(graph, {}, config)
    (asked,) = state["__interrupt__"]
    assert (asked.value["kind"], asked.value["at"], taken_back(stage)) == ("in_doubt", "undo[0]", [])
    stage.stuck = ""
    state = await settled(graph, _resolve(resolution), config)
    assert (state["nodes"]["b"]["undone"], state["nodes"]["a"]["undone"]) == (undone, True)
    assert [each["step"] for each in state["run"]["undo"]["not_done"]] == ([] if undone else ["b"])
    assert (stage.paths().count("b"), stage.paths()[-1]) == (1 + calls, "finally.z")


def _resolve(resolution: str) -> Any:
    return answer({"undo[0]": {"resolution": resolution, **({"result": None} if resolution == "done" else {})}})


# -- stand-ins -----------------------------------------------------------------------------------------------------


@pytest.mark.req("T4", "E5")
@pytest.mark.parametrize("own", [True, False])
async def test_a_stand_in_is_taken_back_as_it_says_itself_else_as_the_step_says(stage: Ledger, own: bool) -> None:
    seen: list[Any] = []
    stage.told = seen.append
    other = do({"id": "other"}, "write")
    if own:
        other["undo"] = {"tool": "do.write", "args": {"value": "own: {{ output.id }}"}}
    undo = {"tool": "do.write", "args": {"value": "step's: {{ output.id }}"}}
    nodes = {
        "a": {**book({"id": "a"}, undo, fault="unavailable"), "fallback": [{"node": "other"}]},
        "other": other,
        "bad": {**BREAK, "depends_on": ["a"]},
    }
    state = await ends(stage, {"nodes": nodes})
    assert statuses(state)["other"] == "done"
    assert (seen[-1], state["run"]["undo"]["done"]) == ("own: other" if own else "step's: other", ["a"])


# -- crashes -------------------------------------------------------------------------------------------------------

SEVERAL = {
    "a": book(),
    "each": {"for_each": [1, 2], "nodes": {"s": book("{{ item }}")}, "depends_on": ["a"]},
    "part": {"use": "part", "depends_on": ["each"]},
    "bad": {**BREAK, "depends_on": ["part"]},
}
UNWILLING = {"tool": "do.write", "args": {"fault": "refused"}}
CRASHES: dict[str, dict[str, Any]] = {
    "in a row": {"nodes": SEVERAL},
    "with blocks": {
        "nodes": {"a": book(), "bad": {**BREAK, "depends_on": ["a"]}},
        "on_failure": {"nodes": {"f": book("f")}},
        "finally": {"nodes": {"z": do("z", "write")}},
    },
    "not all": {
        "nodes": {
            "a": book(undo={"tool": "do.write", "args": {"fault": "refused"}}),
            "bad": {**BREAK, "depends_on": ["a"]},
        }
    },
    "beside a write": {"nodes": {"slow": book(turns=25), "bad": do(fault="tool_error", turns=2)}},
    "after a question": {"nodes": {"a": book(), "q": ask(depends_on=["a"]), "bad": {**BREAK, "depends_on": ["q"]}}},
    "after an output": {"nodes": {"a": book({"n": 1})}, "output": "{{ a.n + a }}"},
}


@pytest.mark.req("T4", "X5", "R5")
@pytest.mark.parametrize("where", CRASHES)
def test_a_crash_at_any_write_continues_the_undoing_and_repeats_nothing(where: str) -> None:
    library = {"part": {"nodes": {"x": book(), "y": book("{{ x }}")}, "finally": {"nodes": {"z": book("z")}}}}
    assert at_every_write(CRASHES[where], library) > 5


# -- the law -------------------------------------------------------------------------------------------------------


def undoing(nodes: dict[str, Any], chance: random.Random) -> None:
    """Give tools an undo, here and there one that fails."""
    for step in nodes.values():
        if step.get("type") == "tool" and chance.random() < 0.7:
            step["tool"] = "do.write"
            fault = {"fault": "tool_error"} if chance.random() < 0.2 else {}
            step["undo"] = {"tool": "do.write", "args": {"value": "back", **fault}}
        undoing(step.get("nodes", {}), chance)


def failing(case: Case, seed: int) -> tuple[Ledger, dict[str, Any]] | None:
    """The drawn workflow with undo, and with a last step that fails; None where the checks refuse it."""
    _, spec = case.staged(seed)
    stage, chance = Ledger(), random.Random(seed)
    drawn, _ = case.staged(seed)
    stage.library, stage.delay = drawn.library, drawn.delay
    for holder in (spec, *stage.library.values()):
        undoing(holder["nodes"], chance)
    spec["nodes"]["last"] = do(fault="tool_error", depends_on=list(spec["nodes"]), join="always")
    try:
        stage.graph(spec)
    except SpecError:
        return None
    return stage, spec


def mirrors(state: dict[str, Any], stage: Ledger) -> None:
    """Hold the undoing against the recorded order of completion."""
    done = [
        path for path in state["path"] if state["nodes"][path]["status"] == "done" and "undo" in state["nodes"][path]
    ]
    told = state["run"].get("undo") or {"done": [], "not_done": []}
    lost = {each["step"] for each in told["not_done"]}
    assert told["done"] == [path for path in reversed(done) if path not in lost]
    assert {*told["done"], *lost} == set(done)
    assert taken_back(stage) == told["done"]


@pytest.mark.req("T4")
@pytest.mark.timeout(600)
@given(cases(most=6, depth=2), st.integers(0, 999))
@settings(ordinary, max_examples=50)
def test_undo_mirrors_the_path_of_any_workflow(case: Case, seed: int) -> None:
    if (made := failing(case, seed)) is None:
        return
    stage, spec = made
    state = ended(settled(stage.graph(spec, InMemorySaver()), case.flags, stage.thread()))
    assert state["run"]["status"] == "failed"
    mirrors(state, stage)


@pytest.mark.req("T4", "X5")
@pytest.mark.timeout(600)
@given(cases(most=3, depth=1), st.integers(0, 999))
@settings(costly, max_examples=10)
def test_undo_mirrors_the_path_of_any_workflow_wherever_its_process_dies(case: Case, seed: int) -> None:
    after, died = 1, True
    while died:
        if (made := failing(case, seed)) is None:
            return
        stage, spec = made
        died, state = ended(died_at(stage, spec, after, case.flags))
        assert state["run"]["status"] == "failed"
        mirrors(state, stage)
        assert len(stage.ended) == len(set(stage.ended)), f"death at write {after}"
        after += 3
