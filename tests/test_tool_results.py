"""Results of tools that a caller hands in with a run: whose they are, what is refused, and how long they are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from typer.testing import CliRunner

from cogwork.cli.root import cli
from cogwork.settings import Settings
from cogwork.store.checkpoints import SqliteCheckpoints
from cogwork.tools.toolbox import FunctionTool, Toolbox
from state.errors import InputRefused, WorkflowFailed
from state.services import ResultLimits, Services
from tests.conftest import Stage, ask, do, say, statuses

pytestmark = [pytest.mark.req("X1"), pytest.mark.req("X8")]

TWO = {"nodes": {"a": do(1), "b": do("{{ a }}", effect="none")}, "output": "{{ b }}"}


async def given(stage: Stage, spec: Any, results: Any, **more: Any) -> dict[str, Any]:
    """The state of a run with these results."""
    return await stage.graph(spec).ainvoke({}, context={"tool_results": results, **more})


async def test_a_result_under_the_name_of_a_step_is_that_steps_and_nothing_is_called(stage: Stage) -> None:
    state = await given(stage, TWO, {"a": {"rows": [1, 2]}})
    assert (state["output"], stage.paths()) == ({"rows": [1, 2]}, ["b"])
    assert state["nodes"]["a"]["given"] is True
    assert "given" not in state["nodes"]["b"]


async def test_a_result_under_the_name_of_a_tool_is_that_of_the_one_step_that_calls_it(stage: Stage) -> None:
    state = await given(stage, TWO, {"do.read": 5})
    assert (state["output"], stage.paths()) == (5, ["b"])


async def test_the_documents_list_of_results_is_taken_like_a_mapping_and_failures_fail_their_steps(
    stage: Stage,
) -> None:
    spec = {
        "nodes": {
            "a": do(1),
            "b": do(2, effect="none", on_error="skip"),
            "c": say(
                "{{ a }} {{ steps.b.error.message }} {{ tool_results['a'] }} {{ tool_results?.b | default: 'none' }}"
            ),
        },
        "output": "{{ c }}",
    }
    state = await given(
        stage,
        spec,
        [
            {"toolName": "a", "success": True, "result": "one", "executionTime": 12},
            {"toolName": "b", "success": False, "error": "the disk is full"},
        ],
    )
    assert (state["output"], stage.paths()) == ("one the disk is full one none", [])
    assert state["nodes"]["b"]["error"]["class"] == "tool_error"
    assert state["nodes"]["b"]["error"]["details"] == {"handed_in": True}


async def test_a_failure_that_is_handed_in_counts_as_the_first_attempt_and_is_followed_by_retries_and_fallbacks(
    stage: Stage,
) -> None:
    failed = [{"toolName": "a", "success": False, "error": {"message": "gone", "code": 7}}]
    again = do("second", retry={"max_attempts": 2, "backoff": "1ms", "on": ["tool_error"]})
    state = await given(stage, {"nodes": {"a": again}, "output": "{{ a }}"}, failed)
    assert (state["output"], state["nodes"]["a"]["attempts"]) == ("second", 2)
    served = {**do("first"), "fallback": [{"tool": "do.none", "args": {"value": "instead"}}]}
    state = await given(stage, {"nodes": {"a": served}, "output": "{{ a }}"}, failed)
    assert (state["output"], state["nodes"]["a"]["fallback"]) == ("instead", "tool:do.none")
    with pytest.raises(WorkflowFailed, match="gone") as raised:
        await given(stage, {"nodes": {"a": do()}}, failed)
    assert raised.value.error["details"] == {"handed_in": True, "error": {"message": "gone", "code": 7}}


async def test_results_that_no_step_takes_are_read_as_tool_results(stage: Stage) -> None:
    spec = {"nodes": {"a": say("{{ tool_results.weather.sky }} {{ tool_results['do.read'] }}")}, "output": "{{ a }}"}
    assert (await given(stage, spec, {"weather": {"sky": "blue"}, "do.read": 3}))["output"] == "blue 3"


async def test_a_step_keeps_its_place_conditions_and_edges_although_its_result_is_there(stage: Stage) -> None:
    spec = {"nodes": {"a": do(1), "b": do(2, effect="none", when="a == 2"), "c": do(3, depends_on="a", effect="write")}}
    state = await given(stage, spec, {"b": "here", "c": "there"})
    assert statuses(state) == {"a": "done", "b": "skipped", "c": "done"}
    assert (state["path"].index("a") < state["path"].index("c"), stage.paths()) == (True, ["a"])


async def test_what_was_done_before_the_run_is_not_undone_by_it(stage: Stage) -> None:
    undo = {"undo": {"tool": "do.write", "args": {"value": "{{ output }}"}}}
    spec = {
        "nodes": {
            "a": {**do(1, "write"), **undo},
            "b": {**do(2, "write"), **undo},
            "c": do(fault="refused", depends_on=["a", "b"]),
        }
    }
    with pytest.raises(WorkflowFailed):
        await given(stage, spec, {"a": "theirs"})
    assert stage.paths() == ["b", "c", "b"]


async def test_a_step_of_a_used_workflow_takes_its_result_by_its_path(stage: Stage) -> None:
    stage.library["inner"] = {"nodes": {"a": do(1)}, "output": "{{ a }}"}
    spec = {"nodes": {"u": {"use": "inner"}}, "output": "{{ u }}"}
    assert ((await given(stage, spec, {"u.a": "inside"}))["output"], stage.paths()) == ("inside", [])


LOOP = {"nodes": {"l": {"for_each": "[1]", "nodes": {"a": do("{{ item }}")}}, "s": say(1), "d": do(effect="none")}}


@pytest.mark.parametrize(
    ("spec", "results", "why"),
    [
        (TWO, {"aa": 1}, "tool_results/aa: there is no step and no tool 'aa' here; did you mean 'a'?"),
        (TWO, 5, "must be an object of results by name, or a list"),
        (TWO, [5], "tool_results/0: must be an object with a toolName"),
        (TWO, [{"toolName": ""}], "tool_results/0: must be an object with a toolName"),
        (TWO, [{"toolName": "a", "success": "yes"}], "success must be true or false"),
        (TWO, [{"toolName": "a", "success": True, "error": "no"}], "one of them is wrong"),
        (TWO, [{"toolName": "a"}, {"toolName": "a"}], "tool_results/1: a is handed in twice"),
        (TWO, {"a": object()}, "object has no JSON form"),
        (TWO, {"a": "x" * 9_000_000}, "larger than the limit"),
        (LOOP, {"l.a": 1}, "runs in a loop"),
        (LOOP, {"s": 1}, "the step 's' calls no tool"),
        (
            {"nodes": {"a": do(), "b": do()}},
            {"do.read": 1},
            "is called by 'a', 'b': hand it in under the name of a step",
        ),
    ],
)
async def test_what_cannot_be_a_result_is_refused_before_anything_runs(
    stage: Stage, spec: Any, results: Any, why: str
) -> None:
    with pytest.raises(InputRefused) as refused:
        await given(stage, spec, results)
    assert why in str(refused.value)
    assert stage.log == []


async def test_every_wrong_result_is_named_at_once(stage: Stage) -> None:
    with pytest.raises(InputRefused) as refused:
        await given(stage, TWO, {"x": 1, "a": 2, "y": 3})
    assert [fault.partition(":")[0] for fault in refused.value.faults] == ["tool_results/x", "tool_results/y"]


def _typed() -> FunctionTool:
    def count(word: str) -> dict[str, int]:
        raise AssertionError("called")

    return FunctionTool.from_function(count, description="Count.", effect="read")


async def test_a_result_has_to_fit_its_tool_its_step_and_the_tools_limit(stage: Stage) -> None:
    stage.services = Services(
        tools=Toolbox([_typed()]),
        models=stage.services.models,
        prompts=stage.services.prompts,
        result_limits=ResultLimits(by_tool={"co*": 20}),
    )
    step = {"type": "tool", "tool": "count", "args": {"word": "x"}, "output": {"n": {"type": "integer", "maximum": 9}}}
    spec = {"nodes": {"a": step}, "output": "{{ a }}"}
    wrongs = ((5, "expected object"), ({"n": 10}, "above the maximum"), ("x" * 30, "larger than the limit of 20"))
    for wrong, why in wrongs:
        for name in ("a", "count"):
            with pytest.raises(InputRefused) as refused:
                await given(stage, spec, {name: wrong})
            assert f"tool_results/{name}" in str(refused.value) and why in str(refused.value)
    assert (await given(stage, spec, {"a": {"n": 9}}))["output"] == {"n": 9}


async def test_results_stay_with_the_run_over_rests_forks_and_processes_and_end_with_it(
    stage: Stage, tmp_path: Path
) -> None:
    spec = {
        "nodes": {"q": ask(), "a": do(1, depends_on="q"), "b": say("{{ tool_results.a }} {{ a }}")},
        "output": "{{ b }}",
    }
    thread: Any = {"configurable": {"thread_id": "one"}}
    with SqliteCheckpoints(tmp_path / "runs.sqlite") as saver:
        await stage.graph(spec, saver).ainvoke({}, thread, context={"tool_results": {"a": "kept"}})
    with SqliteCheckpoints(tmp_path / "runs.sqlite") as saver:
        graph = stage.graph(spec, saver)
        rests = (await graph.aget_state(thread)).config
        state = await graph.ainvoke(Command(resume={"answer": "go"}), thread)
        assert (state["output"], stage.paths()) == ("kept kept", [])
        await graph.ainvoke(None, rests)
        state = await graph.ainvoke(Command(resume={"answer": "go"}), thread)
        assert (state["output"], stage.paths()) == ("kept kept", [])
        state = await graph.ainvoke({}, thread)
        assert "tool_results" not in state["run"] and "given" not in state["run"]


async def test_the_config_may_hold_the_results_as_well(stage: Stage) -> None:
    state = await stage.graph(TWO).ainvoke({}, {"configurable": {"tool_results": {"a": "by config"}}})
    assert state["output"] == "by config"


async def test_the_event_of_the_step_says_that_its_result_was_handed_in(stage: Stage) -> None:
    events = [e async for e in stage.graph(TWO).aevents({}, context={"tool_results": {"a": 1}})]
    ends = {event.step: event.data.get("given") for event in events if event.kind == "step.finished"}
    assert ends == {"a": True, "b": None}


def test_the_command_line_hands_in_results_and_tells_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("w.yaml").write_text(
        "cogwork: v1\nname: w\nnodes:\n  a: {type: tool, tool: text.read, args: {path: gone.txt}}\noutput: '{{ a.text }}'\n"
    )
    found = {"path": "gone.txt", "text": "here", "start_line": 1, "end_line": 1, "lines": 1, "truncated": False}
    Path("results.json").write_text(json.dumps([{"toolName": "text.read", "success": True, "result": found}]))
    runner = CliRunner()
    result = runner.invoke(cli, ["run", "w.yaml", "--thread", "one", "--tool-results", "results.json"])
    assert (result.exit_code, result.stdout.strip()) == (0, "here"), result.stderr
    assert "handed in with the run" in runner.invoke(cli, ["show", "one"]).stdout
    assert "was handed in when the run began" in runner.invoke(cli, ["why", "one", "a"]).stdout
    wrong = runner.invoke(cli, ["run", "w.yaml", "--tool-results", '{"b": 1}'])
    assert wrong.exit_code == 2
    assert "tool_results/b: there is no step and no tool 'b' here" in wrong.stderr
    assert Settings().state_dir == Path(".cogwork")


async def test_a_step_whose_result_is_handed_in_is_no_call_against_the_limits(stage: Stage) -> None:
    spec = {
        "limits": {"max_steps": 1},
        "nodes": {"first": do(1), "called": do(2, depends_on=["first"]), "last": do(3, depends_on=["called"])},
    }
    state = await given(stage, spec, {"first": 4, "last": 5})
    assert (state["run"]["status"], state["output"]) == ("completed", 5)
    assert stage.paths() == ["called"]


async def test_a_resumed_run_counts_no_result_that_was_handed_in(stage: Stage) -> None:
    spec = {
        "limits": {"max_steps": 1},
        "nodes": {"first": do(1), "who": ask(depends_on=["first"]), "called": do(2, depends_on=["who"])},
    }
    saver, thread = InMemorySaver(), stage.thread()
    await stage.graph(spec, saver).ainvoke({}, thread, context={"tool_results": {"first": 4}})
    state = await stage.graph(spec, saver).ainvoke(Command(resume={"answer": "on"}), thread)
    assert (state["run"]["status"], state["output"]) == ("completed", 2)
