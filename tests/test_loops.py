"""``for_each``, ``repeat`` and ``use``: their values, limits, failures and names."""

from __future__ import annotations

from typing import Any

import pytest

from state.errors import SpecError, WorkflowFailed
from tests.conftest import Stage, do, say, statuses

BAD_TWO = "{{ item == 2 ? 'tool_error' : '' }}"


def each(items: Any, body: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"nodes": {"loop": {"for_each": items, "nodes": body, **more}}, "output": "{{ loop }}"}


def again(body: dict[str, Any], output: Any = "{{ loop }}", **repeat: Any) -> dict[str, Any]:
    return {"nodes": {"loop": {"repeat": repeat, "nodes": body}}, "output": output}


# -- for_each --------------------------------------------------------------------------------------------------


@pytest.mark.req("T3")
async def test_values_come_in_the_order_of_the_items_whoever_is_faster(stage: Stage) -> None:
    stage.delay = lambda path: {"loop[0].a": 20, "loop[1].a": 10}.get(path, 0)
    spec = each("input.list", {"a": do("{{ item * 10 + index }}")}, max_parallel=3)
    assert await stage.output({**spec, "input": {"list": {"type": "array"}}}, list=[3, 2, 1]) == [30, 21, 12]
    assert stage.paths("end") == ["loop[2].a", "loop[1].a", "loop[0].a"]


async def test_an_empty_list_gives_an_empty_list(stage: Stage) -> None:
    assert await stage.output(each([], {"a": do("{{ item }}")})) == []


@pytest.mark.parametrize("most", [1, 2, 3, 7])
async def test_never_more_items_than_max_parallel_are_at_work(stage: Stage, most: int) -> None:
    stage.delay = lambda path: 5
    body = {"a": do("{{ item }}"), "b": do("{{ a }}")}
    assert await stage.output(each([0, 1, 2, 3, 4, 5], body, max_parallel=most)) == [0, 1, 2, 3, 4, 5]
    assert stage.most == min(most, 6)


async def test_a_failed_item_fails_the_loop_and_names_the_inner_step(stage: Stage) -> None:
    with pytest.raises(WorkflowFailed) as failed:
        await stage.run(each([1, 2, 3], {"a": do(fault=BAD_TWO)}, max_parallel=1))
    assert (failed.value.error["node"], failed.value.error["details"]["cause"]["node"]) == ("loop", "loop[1].a")
    assert stage.paths() == ["loop[0].a", "loop[1].a"]


@pytest.mark.parametrize(("policy", "value"), [("skip", [1, 3]), ("collect", [1, None, 3])])
async def test_failed_items_are_left_out_or_null_and_their_errors_listed(
    stage: Stage, policy: str, value: list[Any]
) -> None:
    spec = each([1, 2, 3], {"a": do("{{ item }}", fault=BAD_TWO)}, on_item_error=policy)
    state = await stage.run(spec)
    assert state["output"] == value
    errors = state["nodes"]["loop"]["errors"]
    assert [(e["index"], e["class"], e["node"]) for e in errors] == [(1, "tool_error", "loop[1].a")]


async def test_the_output_sees_the_metadata_of_the_step_that_ended_last(stage: Stage) -> None:
    spec = each([1, 2], {"a": do("{{ item }}", fault=BAD_TWO)}, on_item_error="collect")
    spec["output"] = ["{{ steps.loop.status }}", "{{ steps.loop.errors[0].class }}"]
    assert await stage.output(spec) == ["done", "tool_error"]


@pytest.mark.parametrize(("share", "enough"), [(0.6, True), (0.7, False)])
async def test_min_success_fails_a_loop_with_too_few_good_items(stage: Stage, share: float, enough: bool) -> None:
    spec = each([1, 2, 3], {"a": do("{{ item }}", fault=BAD_TWO)}, on_item_error="skip", min_success=share)
    if enough:
        assert await stage.output(spec) == [1, 3]
    else:
        with pytest.raises(WorkflowFailed, match="2 of 3 items succeeded; 70% are needed"):
            await stage.run(spec)


async def test_a_list_that_is_none_fails_the_loop(stage: Stage) -> None:
    spec = {"input": {"x": {}}, **each("input.x", {"a": do()})}
    with pytest.raises(WorkflowFailed, match="for_each: needs a list, not str"):
        await stage.run(spec, x="abc")


async def test_inner_loops_see_the_outer_names_and_their_own_item(stage: Stage) -> None:
    inner = {"for_each": "item", "nodes": {"a": do("{{ base + item }}")}}
    nodes = {"base": do(100), "outer": {"for_each": [[1, 2], [], [3]], "nodes": {"inner": inner}}}
    assert await stage.output({"nodes": nodes, "output": "{{ outer }}"}) == [[101, 102], [], [103]]
    assert {"outer[0].inner[1].a", "outer[2].inner[0].a"} < set(stage.paths())


async def test_a_body_that_needs_a_skipped_step_is_skipped_in_every_item(stage: Stage) -> None:
    nodes = {
        "gone": do(when="false"),
        "here": do(),
        "loop": {"for_each": [1, 2], "depends_on": ["here"], "nodes": {"a": do("{{ gone }}")}},
    }
    state = await stage.run({"nodes": nodes, "output": "{{ loop }}"})
    assert (state["output"], statuses(state)["loop[1].a"]) == ([None, None], "skipped")


# -- repeat ----------------------------------------------------------------------------------------------------


async def test_repeat_hands_each_value_to_the_next_iteration_until_its_condition_holds(stage: Stage) -> None:
    spec = again({"a": do("{{ previous + 1 + iteration }}")}, max_iterations=9, until="a >= 6", initial=0)
    assert await stage.output(spec) == 6
    assert stage.paths() == ["loop[0].a", "loop[1].a", "loop[2].a"]


async def test_previous_is_null_at_first_and_a_repeat_without_until_runs_to_its_bound(stage: Stage) -> None:
    spec = again({"a": do("{{ previous | default: 'first' }}{{ iteration }}")}, max_iterations=3)
    assert await stage.output(spec) == "first012"


@pytest.mark.parametrize("policy", ["fail", "keep"])
async def test_an_exhausted_repeat_fails_or_keeps_its_last_value(stage: Stage, policy: str) -> None:
    spec = again({"a": do("{{ iteration }}")}, max_iterations=2, until="a > 5", on_exhausted=policy)
    if policy == "keep":
        assert await stage.output(spec) == 1
    else:
        with pytest.raises(WorkflowFailed, match="until did not hold within 2 iterations"):
            await stage.run(spec)


async def test_a_failed_iteration_fails_the_repeat_and_starts_no_other(stage: Stage) -> None:
    with pytest.raises(WorkflowFailed, match=r"loop\[0\]\.a"):
        await stage.run(again({"a": do(fault="tool_error")}, max_iterations=5))
    assert stage.paths() == ["loop[0].a"]


# -- use -------------------------------------------------------------------------------------------------------


def using(**given: Any) -> dict[str, Any]:
    return {"nodes": {"a": do(1), "sub": {"use": "part", "with": given}}, "output": "{{ sub }}"}


@pytest.mark.req("R5")
async def test_a_used_workflow_sees_its_own_names_and_input_only(stage: Stage) -> None:
    stage.library["part"] = {
        "input": {"x": "integer", "y": {"type": "integer", "default": 5}},
        "nodes": {"a": do("{{ input.x + input.y }}"), "b": do("{{ a * 2 }}")},
        "output": {"sum": "{{ a }}", "twice": "{{ b }}"},
    }
    state = await stage.run(using(x="{{ a }}"))
    assert state["output"] == {"sum": 6, "twice": 12}
    assert {path: state["results"][path] for path in ("a", "sub.a", "sub.b")} == {"a": 1, "sub.a": 6, "sub.b": 12}


async def test_input_that_does_not_fit_a_used_workflow_never_runs_it(stage: Stage) -> None:
    stage.library["part"] = {"input": {"x": "integer"}, "nodes": {"b": do("{{ input.x }}")}}
    spec = {"input": {"v": {}}, **using(x="{{ input.v }}")}
    with pytest.raises(WorkflowFailed, match="with: /x") as failed:
        await stage.run(spec, v="text")
    assert (failed.value.error["class"], failed.value.error["node"]) == ("invalid_input", "sub")
    assert "sub.b" not in stage.paths()


async def test_used_workflows_nest_and_run_once_per_item(stage: Stage) -> None:
    stage.library["leaf"] = {"input": {"n": "integer"}, "nodes": {"a": do("{{ input.n + 1 }}")}, "output": "{{ a }}"}
    stage.library["part"] = {
        "input": {"n": "integer"},
        "nodes": {"leaf": {"use": "leaf", "with": {"n": "{{ input.n * 10 }}"}}},
        "output": "{{ leaf }}",
    }
    body = {"sub": {"use": "part", "with": {"n": "{{ item }}"}}}
    assert await stage.output(each([1, 2], body)) == [11, 21]
    assert sorted(stage.paths()) == ["loop[0].sub.leaf.a", "loop[1].sub.leaf.a"]


async def test_a_failure_inside_a_used_workflow_is_the_failure_of_its_step(stage: Stage) -> None:
    stage.library["part"] = {"nodes": {"b": do(fault="refused")}}
    state = await stage.run(
        {
            "nodes": {
                "sub": {"use": "part", "on_error": "skip"},
                "c": say("{{ steps.sub.error.details.cause.node }}", join="always"),
            }
        }
    )
    assert state["results"]["c"] == "sub.b"


def test_a_workflow_that_uses_itself_is_refused(stage: Stage) -> None:
    stage.library["part"] = {"nodes": {"b": {"use": "part"}}}
    with pytest.raises(SpecError) as refused:
        stage.graph(using())
    assert "recursive_use" in {problem.code for problem in refused.value.problems}
