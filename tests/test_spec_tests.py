"""Tests in specs: they pass when the run is as expected, say what differs when not, and are pytest's as well."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import cogwork
from cogwork.cli.root import cli
from graphs.language.dump import to_yaml
from graphs.language.load import load
from graphs.simulation.cases import CaseResult, run_cases
from tests.conftest import Stage, ask, do, say

pytestmark = pytest.mark.req("X5")
PAGE = Path(__file__).parent.parent / "docs" / "testing.md"
FLOW = """
cogwork: v1
name: flow
input: {topic: string}
nodes:
  good: {type: transform, set: {words: [1, 2, 3, 4, 5, 6], topic: "{{ input.topic }}"}, when: "input.topic == 'a'"}
output: {words: "{{ good?.words | default: [] }}", topic: "{{ input.topic }}"}
tests:
  right: {input: {topic: a}, expect: {path: [good]}}
  wrong: {input: {topic: b}, expect: {output: {words: [1, 2, 3, 4, 5, 6], topic: b}, nodes: {good: done}}}
"""


def results(stage: Stage, nodes: dict[str, Any], case: dict[str, Any], **more: Any) -> CaseResult:
    """The result of one test over the stage's tools, none of which may be called."""
    spec = {"cogwork": "v1", "name": "staged", "nodes": nodes, "tests": {"it": case}, **more}
    (result,) = run_cases(load(spec), stage.services, lambda name, user: None)
    assert stage.log == [], "a real tool was called"
    return result


def failed(result: CaseResult) -> list[str]:
    """What differs."""
    return [difference.what for difference in result.differences]


def test_mocks_serve_calls_in_turn_and_every_attempt_is_a_call(stage: Stage) -> None:
    nodes = {
        "each": {"for_each": [1, 2, 3], "max_parallel": 1, "nodes": {"a": do("{{ item }}")}},
        "b": do(1, retry={"max_attempts": 3, "backoff": "1h", "on": ["unavailable"]}),
    }
    mocks = {"each.a": [10, 20, 30], "each[1].a": 99, "b": [{"fault": "unavailable"}, 5]}
    case = {"mocks": mocks, "expect": {"output": {"each": [10, 99, 20], "b": 5}, "calls": {"each.a": 3, "b": 2}}}
    assert failed(results(stage, nodes, case)) == []


def test_a_list_of_one_serves_every_call_and_may_hold_a_list(stage: Stage) -> None:
    nodes = {"each": {"for_each": [1, 2], "nodes": {"a": do("{{ item }}")}}}
    case = {"mocks": {"each.a": [[7, 8]]}, "expect": {"output": [[7, 8], [7, 8]]}}
    assert failed(results(stage, nodes, case)) == []


def test_a_list_that_is_too_short_is_told(stage: Stage) -> None:
    nodes = {"each": {"for_each": [1, 2, 3], "nodes": {"a": do("{{ item }}", on_error="skip")}}}
    result = results(stage, nodes, {"mocks": {"each.a": [1, 2]}})
    assert failed(result) == ["mocks.each.a"]


def test_unmocked_calls_are_made_up_with_a_warning_or_refused(stage: Stage) -> None:
    nodes = {"a": do(1, output={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})}
    made_up = results(stage, nodes, {})
    assert made_up.passed and made_up.warnings == ("a has no mock: its result is made up",)
    refused = results(stage, nodes, {"strict": True})
    assert failed(refused) == ["status"] and "No mock" in str(refused.differences[0])


def test_people_answer_come_too_late_or_leave_the_run_at_rest(stage: Stage) -> None:
    nodes = {"h": ask(form={"yes": "boolean"}, timeout="3d", on_timeout={"yes": False}), "x": say("{{ h.yes }}")}
    assert failed(results(stage, nodes, {"answers": {"h": {"yes": True}}, "expect": {"output": True}})) == []
    assert failed(results(stage, nodes, {"answers": {"h": {"fault": "timeout"}}, "expect": {"output": False}})) == []
    assert (
        failed(results(stage, nodes, {"expect": {"status": "paused", "nodes": {"h": "waiting", "x": "pending"}}})) == []
    )


def test_everything_that_differs_is_told_at_once(stage: Stage) -> None:
    nodes = {"a": do(5), "b": say("{{ a }}"), "c": say(2, when="a > 100")}
    expect = {
        "status": "failed",
        "error": "refused",
        "output": {"b": 6, "c": None},
        "path": ["b", "a"],
        "nodes": {"c": "done"},
        "calls": {"a": [{"value": 6}]},
        "holds": ["steps.b.output == 6", "output.b.x > 1"],
    }
    found = failed(results(stage, nodes, {"mocks": {"a": 5}, "expect": expect}))
    holds = [f"holds: {condition}" for condition in expect["holds"]]
    assert found == ["status", "error", "output", "path", "nodes.c", "calls.a", *holds]
    fine = {"output": {"b": 5}, "path": ["a", "b"], "nodes": {"c": "skipped"}, "calls": {"a": [{"value": 5}]}}
    assert failed(results(stage, nodes, {"mocks": {"a": 5}, "expect": {**fine, "holds": ["output.b == 5"]}})) == []


def test_a_run_that_fails_unexpectedly_fails_its_test_and_one_that_should_passes(stage: Stage) -> None:
    nodes = {"a": do(5)}
    assert failed(results(stage, nodes, {"mocks": {"a": {"fault": "refused"}}})) == ["status"]
    expect = {"status": "failed", "error": "refused"}
    assert failed(results(stage, nodes, {"mocks": {"a": {"fault": "refused"}}, "expect": expect})) == []


def test_true_is_not_one(stage: Stage) -> None:
    assert failed(results(stage, {"a": do(5)}, {"mocks": {"a": True}, "expect": {"output": 1}})) == ["output"]
    assert failed(results(stage, {"a": do(5)}, {"mocks": {"a": 1.0}, "expect": {"output": 1}})) == []


def test_tests_survive_being_written_and_read_again() -> None:
    spec = load(FLOW).spec
    assert load(to_yaml(spec)).spec == spec and set(spec.tests) == {"right", "wrong"}


# -- the command line ------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line in an empty folder that holds ``flow.yaml``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.yaml").write_text(FLOW)

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(cli, list(words))

    return invoke


def test_the_command_shows_a_diff_and_exits_with_1(run: Any) -> None:
    result = run("test", "flow.yaml")
    assert result.exit_code == 1
    assert "✓ right" in result.stdout and "✗ wrong" in result.stdout and "1 of 2 passed" in result.stdout
    assert "--- expected" in result.stdout and re.search(r"^ *-    1,$", result.stdout, re.MULTILINE)
    assert run("test", "flow.yaml", "-k", "right").exit_code == 0
    assert run("test", "flow.yaml", "-k", "nothing").exit_code == 4


def test_the_command_gives_json(run: Any) -> None:
    result = run("test", "flow.yaml", "--json")
    assert [(each["name"], each["passed"]) for each in json.loads(result.stdout)] == [("right", True), ("wrong", False)]


def test_simulate_reports_and_is_strict_where_asked(run: Any) -> None:
    shown = run("simulate", "flow.yaml")
    assert (shown.exit_code, "2 different paths, every path" in shown.stdout) == (0, True)
    assert run("simulate", "flow.yaml", "-i", "topic=b", "--strict").exit_code == 1
    report = json.loads(run("simulate", "flow.yaml", "--json", "--price", "*=1,2").stdout)
    assert report["complete"] is True and report["gaps"] == []
    assert run("simulate", "flow.yaml", "--price", "dear").exit_code == 2
    assert run("simulate", "nothing.yaml").exit_code == 4
    assert run("simulate", "flow.yaml", "--recording", "nothing").exit_code == 4


# -- pytest ----------------------------------------------------------------------------------------------------


def pytested(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    house = str(Path(__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": house, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "cogwork.pytest_plugin", "-p", "no:cacheprovider", "-q", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)


def test_each_test_of_a_spec_is_an_item_of_pytest(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "flow.yaml").write_text(FLOW)
    (tmp_path / "pytest.ini").write_text("[pytest]\ncogwork_specs = flows/*.yaml\n")
    by_setting, by_option = pytested(tmp_path), pytested(tmp_path, "--cogwork-specs", "flows/fl*.yaml", "-k", "wrong")
    assert "1 failed, 1 passed" in by_setting.stdout, by_setting.stdout + by_setting.stderr
    assert 'nodes.good: expected "done", found "skipped"' in by_setting.stdout
    assert "Traceback" not in by_setting.stdout
    assert "1 failed, 1 deselected" in by_option.stdout, by_option.stdout


# -- the page --------------------------------------------------------------------------------------------------


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_workflow_of_the_page_passes_its_tests_and_every_path_is_walked() -> None:
    (text,) = blocks("yaml")
    assert cogwork.check(text) == []
    assert [str(d) for result in cogwork.run_tests(text) for d in result.differences] == []
    report = cogwork.simulate(text)
    assert report.complete and not report.gaps


def test_the_python_of_the_page_runs() -> None:
    (text,) = blocks("python")
    exec(compile(text, str(PAGE), "exec"), {})
