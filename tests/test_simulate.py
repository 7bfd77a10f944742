"""Simulation: every path and nothing but paths, no real call, no waiting, and numbers that follow from what is declared."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from langgraph.checkpoint.memory import InMemorySaver

import cogwork
from graphs.analysis.check import analyse
from graphs.language.load import load
from graphs.language.spec import WorkflowSpec
from graphs.simulation.report import Report
from graphs.simulation.simulate import Bounds, simulate
from state.errors import InputRefused, SpecError
from state.services import Services
from tests.conftest import Stage, ask, choose, do, say
from tests.fakes import FakeTool, ScriptedModels, ScriptedTools, fake_services
from tests.strategies import specs
from tests.test_random_graphs import FLAGS, Case, Drawn, Fate, cases, interpret

pytestmark = pytest.mark.req("X5")
few = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


def simulated(stage: Stage, spec: Any, **more: Any) -> Report:
    """The report on a spec; nothing of the stage may have been touched."""
    whole = {"cogwork": "v1", "name": "staged", **spec}
    report = simulate(load(whole), stage.services, lambda name, user: stage._used(name), Bounds(**more))
    assert stage.log == [], "a real tool was called"
    return report


def left(report: Report) -> set[str]:
    """The branches that no path took."""
    return {str(gap.branch) for gap in report.gaps}


def scored(**more: Any) -> dict[str, Any]:
    """A tool step that gives a score from 0 to 1 and a list of texts."""
    fields = {
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "found": {"type": "array", "items": {"type": "string"}},
    }
    return do(1, output={"type": "object", "properties": fields, "required": ["score", "found"]}, **more)


# -- laws ------------------------------------------------------------------------------------------------------


def brute_force(nodes: list[Drawn]) -> Iterator[dict[str, Fate]]:
    """The fates of all nodes for every input, and for every tool that may fail both failing and not."""
    frail = [node for node in nodes if node.kind == "tool" and node.on_error != "fail"]
    for values in itertools.product((False, True), repeat=len(FLAGS) + len(frail)):
        for node, fails in zip(frail, values[len(FLAGS) :], strict=True):
            node.fails = fails
        fates: dict[str, Fate] = {}
        interpret(nodes, dict(zip(FLAGS, values, strict=False)), {}, "", fates)
        yield fates


def statuses_of(fates: dict[str, Fate]) -> frozenset[tuple[str, str]]:
    return frozenset((path, fate.status) for path, fate in fates.items())


@given(cases(depth=0, most=5))
@few
def test_the_simulated_paths_are_exactly_those_of_a_brute_force_enumeration(case: Case) -> None:
    if not case.sound():
        return
    stage, spec = case.staged()
    report = simulated(stage, spec, runs=5000, seconds=120)
    wanted = {statuses_of(fates) for fates in brute_force(case.nodes)}
    assert report.complete
    assert {frozenset(end.nodes.items()) for end in report.ends} == wanted
    done = {path for statuses in wanted for path, status in statuses if status == "done"}
    assert {branch.step for branch in report.covered if not branch.way} == done


def _all_of(nodes: list[Drawn]) -> Iterator[Drawn]:
    for node in nodes:
        yield node
        yield from _all_of(node.body)


@given(cases(depth=1, most=4))
@few
def test_what_loops_and_used_workflows_may_come_to_is_among_the_simulated_paths(case: Case) -> None:
    if not case.sound():
        return
    stage, spec = case.staged()
    report = simulated(stage, spec, runs=150, seconds=60)
    wanted: set[tuple[str, str]] = set()
    frail = [node for node in _all_of(case.nodes) if node.kind == "tool" and node.on_error != "fail"]
    for values in itertools.product((False, True), repeat=min(len(FLAGS) + len(frail), 9)):
        for node, fails in itertools.zip_longest(frail, values[len(FLAGS) :], fillvalue=False):
            if isinstance(node, Drawn):
                node.fails = bool(fails)
        fates: dict[str, Fate] = {}
        interpret(case.nodes, dict(zip(FLAGS, values, strict=False)), {}, "", fates)
        wanted |= statuses_of(fates)
    found = {(path, status) for end in report.ends for path, status in end.nodes.items() if not path.endswith("]")}
    if report.complete:
        assert wanted <= found


def raising() -> Services:
    """Services of which nothing may be called."""

    def never(**args: Any) -> Any:
        raise AssertionError("a real tool was called")

    return fake_services(tools={"text.echo": FakeTool(fn=never)}, models={"test:small": []})


def untouched(services: Services) -> bool:
    """Whether no tool was called and no model was even asked for."""
    assert isinstance(services.tools, ScriptedTools) and isinstance(services.models, ScriptedModels)
    return not any(tool.calls for tool in services.tools.tools.values()) and not services.models.wanted


@given(specs())
@settings(few, max_examples=40)
def test_what_passes_the_checks_simulates_to_an_end_and_calls_nothing(spec: WorkflowSpec) -> None:
    services, workflow = raising(), load(spec)
    if analyse(workflow, services, lambda name, user: None).errors:
        with pytest.raises(SpecError):
            simulate(workflow, services, lambda name, user: None)
        return
    report = simulate(workflow, services, lambda name, user: None, Bounds(runs=12, seconds=20))
    assert report.runs >= 1 and report.ends
    assert all(end.status in ("completed", "failed", "paused") for end in report.ends)
    assert not [end for end in report.ends if end.error and end.error["message"].startswith("Stalled")]
    assert untouched(services)


# -- choices ---------------------------------------------------------------------------------------------------


def test_a_comparison_with_a_number_is_tried_on_both_sides(stage: Stage) -> None:
    nodes = {"a": scored(), "c": choose(("a.score >= 0.8", "good"), otherwise="bad"), "good": say(1), "bad": say(2)}
    report = simulated(stage, {"nodes": nodes})
    assert (report.complete, report.runs, left(report)) == (True, 2, set())
    assert {dict(end.choices)["a.score"] for end in report.ends} == {"0.8", "0.4"}


def test_decisions_over_several_values_and_constants_are_all_reached(stage: Stage) -> None:
    nodes = {
        "a": scored(),
        "b": say({"sum": "{{ a.score * 2 + input.n }}", "first": "{{ a.found | first | default: 'none' }}"}),
        "c": choose(("b.sum > 10 and input.mode == vars.mode", "x"), ("b.first == 'none'", "y"), otherwise="z"),
        "x": say(1),
        "y": say(2),
        "z": say(3),
    }
    inputs = {"n": "integer", "mode": "string"}
    report = simulated(stage, {"input": inputs, "vars": {"mode": "deep"}, "nodes": nodes}, runs=80)
    assert left(report) == set()


def test_values_that_decide_nothing_are_no_choices(stage: Stage) -> None:
    nodes = {"a": scored(), "b": do("{{ a.score }}"), "c": say("{{ b }}")}
    report = simulated(stage, {"input": {"text": "string", "flag": "boolean"}, "nodes": nodes})
    assert (report.runs, report.paths, report.complete) == (1, 1, True)


def test_loops_run_over_no_one_and_several_items(stage: Stage) -> None:
    nodes = {
        "a": scored(),
        "each": {"for_each": "a.found", "on_item_error": "collect", "nodes": {"do": do("{{ item }}")}},
    }
    report = simulated(stage, {"nodes": nodes})
    assert left(report) == set()
    assert {str(b) for b in report.covered} >= {
        "each: with no item",
        "each: with several items",
        "each: an item failed",
    }


def test_a_repeat_is_ended_by_its_condition_and_by_exhaustion(stage: Stage) -> None:
    loop = {"repeat": {"until": "a.score > 0.5", "max_iterations": 3, "on_exhausted": "keep"}, "nodes": {"a": scored()}}
    report = simulated(stage, {"nodes": {"loop": loop}})
    assert (report.runs, left(report)) == (4, set())


def test_failures_are_tried_where_something_takes_care_of_them(stage: Stage) -> None:
    nodes = {
        "a": do(1, on_error={"then": "mend"}),
        "mend": say("{{ steps.a.error.class }}", when="steps.a.error.class == 'timeout'"),
        "b": do(2, on_error="skip"),
        "c": do(3),
    }
    report = simulated(stage, {"nodes": nodes})
    assert left(report) == set()
    assert {end.status for end in report.ends} == {"completed"}


def test_people_answer_everything_that_matters_and_may_be_late(stage: Stage) -> None:
    nodes = {
        "ok": ask(form={"decision": {"enum": ["yes", "no", "later"]}, "note": "string"}, timeout="3d", on_error="skip"),
        "c": choose(("ok.decision == 'yes'", "go"), otherwise="stop"),
        "go": say(1),
        "stop": say(2),
    }
    report = simulated(stage, {"nodes": nodes})
    assert left(report) == set()
    assert {dict(end.choices).get("ok.decision") for end in report.ends} == {"yes", "no", None}


def test_given_inputs_are_no_choices(stage: Stage) -> None:
    spec = {"input": {"flag": "boolean"}, "nodes": {"a": say(1, when="input.flag"), "b": say(2)}}
    assert left(simulated(stage, spec)) == set()
    assert left(simulated(stage, spec, input={"flag": False})) == {"a", "a: when true"}
    with pytest.raises(InputRefused):
        simulated(stage, spec, input={"flag": "maybe"})


def test_a_race_is_lost_by_the_slow_one(stage: Stage) -> None:
    nodes = {"a": do(1), "b": do(2), "first": say(1, depends_on=["a", "b"], join="any", cancel_rest=True)}
    report = simulated(stage, {"nodes": nodes})
    assert {frozenset(s for p, s in end.nodes.items() if p in "ab") for end in report.ends} >= {frozenset({"done"})}
    assert report.complete and len(report.ends) > 1


# -- what is reported ------------------------------------------------------------------------------------------


def test_a_bound_that_cuts_the_walk_is_told_and_coverage_comes_first(stage: Stage) -> None:
    flags = {f"f{i}": "boolean" for i in range(12)}
    nodes = {f"n{i}": say(i, when=f"input.f{i}") for i in range(12)}
    report = simulated(stage, {"input": flags, "nodes": nodes}, runs=14)
    assert (report.complete, report.bound, report.runs) == (False, "runs", 14)
    assert left(report) == set()


def test_what_can_never_be_has_its_reason(stage: Stage) -> None:
    nodes = {"a": say(1), "b": say(2, when="1 == 1"), "each": {"for_each": "vars.list", "nodes": {"x": say(1)}}}
    report = simulated(stage, {"vars": {"list": [1, 2]}, "nodes": nodes})
    reasons = {str(gap.branch): gap.reason for gap in report.gaps}
    assert reasons["b: when false"] == "its condition is always true"
    assert reasons["each: with no item"] == "its list is always the same"


def test_the_worst_time_is_the_critical_path_of_what_the_steps_declare(stage: Stage) -> None:
    retry = {"max_attempts": 3, "backoff": 10, "multiplier": 2, "jitter": False}
    nodes = {
        "a": do(1, timeout=100, retry=retry),
        "b": do(1, timeout=50),
        "c": do("{{ a }}{{ b }}", timeout=7),
        "each": {"for_each": [1, 2, 3], "max_parallel": 2, "nodes": {"d": do("{{ item }}", timeout=5)}},
        "wait": ask(timeout=1000, depends_on=["c"], on_timeout={"answer": "x"}),
    }
    report = simulated(stage, {"nodes": nodes})
    assert (report.worst.working, report.worst.seconds) == (337, 1337)
    assert report.worst.unbounded == ()


def test_steps_without_any_bound_are_named_and_no_number_is_made_up(stage: Stage) -> None:
    report = simulated(stage, {"nodes": {"a": do(1), "b": do(2, timeout=4), "h": ask()}})
    assert report.worst.seconds == 4
    assert set(report.worst.unbounded) == {"a", "h"}


def test_nobody_waits_for_waits(stage: Stage) -> None:
    """Waits of minutes pass at once."""
    retry = {"max_attempts": 2, "backoff": "10m", "max_backoff": "20m", "on": ["tool_error"]}
    report = simulated(stage, {"nodes": {"a": do(1, retry=retry, on_error="skip")}})
    assert left(report) == set()


def test_the_cost_is_a_range_from_the_prompt_to_the_token_limit() -> None:
    services = fake_services(models={"test:small": []})
    ask_ = {
        "type": "llm",
        "prompt": "x" * 400 + " y",
        "model": "test:small",
        "max_tokens": 50,
        "retry": {"max_attempts": 2},
    }
    spec = load({"cogwork": "v1", "name": "x", "limits": {"max_tokens": 200}, "nodes": {"a": ask_}})
    report = simulate(spec, services, lambda name, user: None, Bounds(prices={"test:small": (1.0, 2.0)}))
    assert (report.cost.least_tokens, report.cost.most_tokens) == (101 + 1, 2 * (101 + 50))
    assert report.cost.most_usd == pytest.approx(2 * (101 + 50 * 2) / 1e6)
    assert [(e.limit, e.most) for e in report.excesses] == [("max_tokens", 302)]
    assert untouched(services)


def test_a_cost_without_a_limit_of_tokens_has_no_end() -> None:
    services = fake_services(models={"test:small": []})
    spec = load({"cogwork": "v1", "name": "x", "nodes": {"a": {"type": "llm", "prompt": "hello you"}}})
    report = simulate(spec, services, lambda name, user: None)
    assert (report.cost.most_tokens, report.cost.unbounded, report.cost.least_usd) == (None, ("a",), None)


async def test_a_recorded_run_stands_in_for_its_calls_and_answers(stage: Stage) -> None:
    nodes = {
        "a": do(0.3),
        "b": do(1, fault="refused", on_error="skip"),
        "h": ask(form={"yes": "boolean"}),
        "c": choose(("a > 0.5", "good"), otherwise="bad"),
        "good": say(1),
        "bad": say("{{ h.yes }}"),
    }
    spec = {"nodes": nodes, "input": {"n": "integer"}}
    graph, config = stage.graph(spec, InMemorySaver()), stage.thread()
    from tests.conftest import answer

    await graph.ainvoke({"n": 7}, config)
    state = await graph.ainvoke(answer({"yes": True}), config)
    stage.log.clear()
    report = simulated(stage, spec, recording=state)
    assert (report.runs, report.complete) == (1, True)
    (end,) = report.ends
    assert (end.input, end.output, end.nodes["b"]) == ({"n": 7}, state["output"], "skipped")


def test_the_report_is_plain_json(stage: Stage) -> None:
    report = simulated(stage, {"nodes": {"a": do(1, on_error="skip"), "b": say(1, when="a == 1")}})
    shown = json.loads(json.dumps(report.to_dict()))
    assert set(shown) >= {"runs", "paths", "complete", "ends", "covered", "gaps", "worst", "cost", "excesses"}


def test_from_python_it_is_one_call() -> None:
    def rate(text: str) -> float:
        """Rate a text."""
        raise AssertionError("called")

    spec = """
    cogwork: v1
    name: rated
    input: {text: string}
    nodes:
      rate: {type: tool, tool: rate, args: {text: "{{ input.text }}"}}
      good: {type: transform, set: 1, when: "rate > 3"}
    """
    report = cogwork.simulate(spec, tools=[rate])
    assert report.complete and not report.gaps
    assert report.nodes == (2, 2)


# -- what follows the steps ------------------------------------------------------------------------------------


def test_blocks_and_undo_at_the_end_are_walked(stage: Stage) -> None:
    undo = {"tool": "do.write", "args": {"value": "{{ a }}"}}
    nodes = {"a": {**do(1, "write", timeout=5), "undo": undo}, "b": do("{{ a }}", timeout=5)}
    spec = {"nodes": nodes, "on_failure": {"nodes": {"tell": say("sorry")}}, "finally": {"nodes": {"clean": do(9)}}}
    report = simulated(stage, spec)
    assert {end.status for end in report.ends} == {"completed", "failed"}
    assert {"on_failure.tell", "finally.clean"} <= {str(branch) for branch in report.covered}
    assert "undo" not in left(report)


def test_fallbacks_are_reached(stage: Stage) -> None:
    nodes = {"a": {**do(1), "fallback": [{"tool": "do.none", "args": {"value": 2}}, {"node": "b"}]}, "b": say(3)}
    report = simulated(stage, {"nodes": nodes})
    assert "a: fallback to tool:do.none" not in left(report)
    assert "a: fallback to node:b" not in left(report)
