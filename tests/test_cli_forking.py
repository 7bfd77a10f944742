"""The command line on the past: runs forked from a step that is over, and two runs compared."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cogwork.cli.differences import ABSENT, excerpts, unequal
from cogwork.cli.root import cli

Cogwork = Callable[..., Result]

ORDER = """
cogwork: v1
name: order
input:
  words: {type: array, items: {type: string}, default: [one, two]}
  limit: {type: integer, default: 1}
nodes:
  each:
    for_each: input.words
    nodes: {say: {type: transform, set: "{{ upper(item) }}"}}
  count:
    type: transform
    set: {n: "{{ size(each) }}", label: counted}
    output: {n: {type: integer}, label: {type: string}}
  many:
    type: condition
    cases: [{if: "count.n > input.limit", then: ask}]
    else: few
  ask: {type: human, ask: "Keep {{ count.n }}?", form: {keep: {type: boolean}}}
  few: {type: transform, set: few}
  note: {type: tool, tool: text.write, args: {path: note.txt, content: "{{ count.label }}"}, depends_on: many}
output: {n: "{{ count.n }}", label: "{{ count.label }}", kept: "{{ ask?.keep | default: false }}"}
"""
FAILS = """
cogwork: v1
name: fails
nodes:
  read: {type: tool, tool: text.read, args: {path: nothere.txt}}
  next: {type: transform, set: "{{ upper(read.text) }}"}
output: "{{ next }}"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with two workflows, without settings from outside."""
    for name in [name for name in os.environ if name.startswith(("COGWORK_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("COGWORK_WRITE_ROOTS", json.dumps([str(tmp_path)]))
    (tmp_path / "order.yaml").write_text(ORDER, encoding="utf-8")
    (tmp_path / "fails.yaml").write_text(FAILS, encoding="utf-8")
    return tmp_path


@pytest.fixture
def cogwork(folder: Path) -> Cogwork:
    """Runs one command in this process."""
    runner = CliRunner()
    return lambda *words, **more: runner.invoke(cli, [str(word) for word in words], **more)


@pytest.fixture
def ran(cogwork: Cogwork) -> Cogwork:
    """The same, with a run ``a`` of ``order`` that has completed."""
    done = cogwork("run", "order.yaml", "--thread", "a", "-a", "keep=true")
    assert done.exit_code == 0, done.output
    return cogwork


def result(done: Result) -> dict[str, Any]:
    """The result line of a ``--json`` run."""
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# -- fork --------------------------------------------------------------------------------------------------------------


@pytest.mark.req("D4")
def test_a_fork_runs_the_step_again_and_takes_over_what_was_before(ran: Cogwork) -> None:
    done = ran("fork", "a", "--at", "ask", "--as", "b", "-a", "keep=false", "--json")
    assert (done.exit_code, result(done)["output"]["kept"]) == (0, False)
    a, b = (json.loads(ran("show", thread, "--json").stdout) for thread in "ab")
    assert a["output"]["kept"] is True, "the run that was forked stays as it is"
    assert b["nodes"]["each"] == a["nodes"]["each"], "what was over is not done again"
    assert (b["run"]["forked_from"], b["run"]["forked_at"]) == (a["run"]["id"], "ask")
    assert b["run"]["id"] != a["run"]["id"]


def test_a_fork_with_another_input_takes_the_other_way(ran: Cogwork) -> None:
    done = ran("fork", "a", "--at", "many", "--set", "input.limit=9", "--json")
    assert result(done)["status"] == "completed"
    assert result(done)["thread"].startswith("order-")
    assert json.loads(ran("show", result(done)["thread"], "ask", "--json").stdout)["record"]["status"] == "skipped"


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["--set", "count.label=mine"], {"n": 2, "label": "mine"}),
        (["--set", 'count={"n": 7, "label": "x"}'], {"n": 7, "label": "x"}),
        (["--set", "count.n=0"], {"n": 0, "label": "counted"}),
        (["--set", "each[1]=changed"], {"n": 2, "label": "counted"}),
    ],
)
def test_a_changed_value_is_what_later_steps_see(ran: Cogwork, words: list[str], output: dict[str, Any]) -> None:
    at = "count" if words[1].startswith("count") else "each"
    done = result(ran("fork", "a", "--at", at, *words, "-a", "keep=true", "--json"))
    assert {**done["output"], "kept": True} == {**output, "kept": True}


def test_a_value_by_hand_stands_in_for_a_step_that_failed(cogwork: Cogwork) -> None:
    assert cogwork("run", "fails.yaml", "--thread", "f").exit_code == 1
    assert "does not fit" in cogwork("fork", "f", "--at", "read", "--set", "read.text=x").stderr
    whole = json.dumps({"path": "a", "text": "given", "start_line": 1, "end_line": 1, "truncated": False})
    done = cogwork("fork", "f", "--at", "read", "--set", f"read={whole}", "--as", "g", "--json")
    assert (done.exit_code, result(done)["output"]) == (0, "GIVEN"), done.output
    assert "by hand" in cogwork("why", "g", "read").stdout
    assert json.loads(cogwork("show", "g", "--json").stdout)["path"] == ["read", "next"]


def test_a_failed_step_is_tried_again_by_a_fork(cogwork: Cogwork, folder: Path) -> None:
    cogwork("run", "fails.yaml", "--thread", "f")
    (folder / "nothere.txt").write_text("now here", encoding="utf-8")
    assert result(cogwork("fork", "f", "--at", "read", "--json"))["output"] == "NOW HERE"


def test_a_fork_of_a_loop_item_runs_that_item_again(ran: Cogwork) -> None:
    done = ran("fork", "a", "--at", "each[0].say", "--set", "each[0].say=MINE", "--as", "b", "-a", "keep=true")
    assert done.exit_code == 0, done.output
    assert json.loads(ran("show", "b", "each", "--json").stdout)["value"] == ["MINE", "TWO"]


def test_a_fork_may_be_made_without_running_it(ran: Cogwork) -> None:
    made = ran("fork", "a", "--at", "ask", "--as", "b", "--no-run")
    assert (made.exit_code, "cogwork resume b" in made.stdout) == (0, True)
    run = json.loads(ran("status", "b", "--json").stdout)
    assert (run["status"], run["run"]) != ("unfinished", json.loads(ran("status", "a", "--json").stdout)["run"])
    done = ran("resume", "b", "-a", "keep=false", "--json")
    assert (done.exit_code, result(done)["run"]) == (0, run["run"])


def test_a_fork_says_which_writes_it_repeats(ran: Cogwork) -> None:
    made = ran("fork", "a", "--at", "many", "--no-run")
    assert "done by a already, and done again: note" in made.stderr
    assert "done again" not in ran("fork", "a", "--at", "note", "--after", "--no-run").stderr


def test_a_fork_after_the_last_step_builds_the_output_again(ran: Cogwork) -> None:
    done = ran("fork", "a", "--at", "ask", "--set", "ask.keep=false", "--json")
    assert result(done)["output"]["kept"] is False


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--at", "few", "--set", "fow=1"], 2, "no such step"),
        (["--at", "nothing"], 4, "is no step in run a"),
        (["--at", "each.say"], 2, "ran 2 times"),
        (["--at", "count", "--set", "count.n=many"], 2, "expected integer"),
        (["--at", "count", "--set", "count.m=1"], 2, "does not fit the step"),
        (["--at", "many", "--set", "input.limit=much"], 2, "/limit"),
        (["--at", "many", "--set", "input.limt=1"], 2, "limt"),
        (["--at", "many", "--set", "each[7]=x"], 2, "no item [7]"),
        (["--at", "many", "--set", "count.n.m=1"], 2, "no field 'm'"),
        (["--at", "many", "--set", "each[0].say=x"], 2, "each has ended by then"),
        (["--at", "many", "--set", 'many={"selected": ["fow"], "cases": []}'], 2, "fow is none of ask, few"),
        (["--at", "many", "--set", "ask.keep=true"], 2, "at that point it is"),
        (["--at", "many", "--before", "--after"], 2, "exclude each other"),
        (["--at", "many", "--before", "--set", "many.cases=[]"], 2, "--after"),
        (["--at", "many", "--set", "count.label"], 2, "name=value"),
        (["--at", "many", "--as", "a"], 2, "holds a run already"),
    ],
)
def test_a_fork_that_makes_no_sense_is_refused_and_leaves_nothing(
    ran: Cogwork, words: list[str], code: int, said: str
) -> None:
    refused = ran("fork", "a", *words)
    assert (refused.exit_code, said in refused.stderr) == (code, True), refused.output
    assert len(json.loads(ran("list", "--json").stdout)) == 1


def test_a_fork_at_a_step_that_never_ran_names_those_that_did(cogwork: Cogwork) -> None:
    cogwork("run", "fails.yaml", "--thread", "f")
    refused = cogwork("fork", "f", "--at", "next")
    assert refused.exit_code == 4
    assert "'next' never ran in run f" in refused.stderr
    assert "these did: read" in refused.stderr


def test_a_fork_from_before_a_forks_beginning_names_the_first_run(ran: Cogwork) -> None:
    ran("fork", "a", "--at", "ask", "--as", "b", "-a", "keep=false")
    origin = json.loads(ran("status", "a", "--json").stdout)["run"]
    refused = ran("fork", "b", "--at", "each")
    assert refused.exit_code == 4
    assert f"cogwork fork {origin} --at each" in refused.stderr
    assert ran("fork", origin, "--at", "each", "--no-run").exit_code == 0


# -- diff --------------------------------------------------------------------------------------------------------------


def test_runs_that_went_the_same_way_do_not_differ(ran: Cogwork, folder: Path) -> None:
    (folder / "note.txt").unlink()
    ran("run", "order.yaml", "--thread", "b", "-a", "keep=true")
    same = ran("diff", "a", "b")
    assert (same.exit_code, same.stdout, same.stderr) == (0, "", "")
    assert json.loads(ran("diff", "a", "b", "--json").stdout)["equal"] is True
    timed = ran("diff", "a", "b", "--times")
    assert (timed.exit_code, "(the run)" in timed.stdout) == (0, True)


def test_a_diff_shows_input_steps_and_output_that_differ(ran: Cogwork) -> None:
    ran("run", "order.yaml", "--thread", "b", "-i", "words=one", "-i", "words=three", "-i", "limit=5")
    shown = ran("diff", "a", "b")
    assert shown.exit_code == 1
    for line in (
        'input.words[1]  "two" → "three"',
        "input.limit  1 → 5",
        'each[1].say  "TWO" → "THREE"',
        'many.selected[0]  "ask" → "few"',
        'ask  done: {"keep": true} → skipped: not chosen by many',
        'few  skipped: not chosen by many → done: "few"',
        "output.kept  true → false",
    ):
        assert line in shown.stdout
    assert 'each  ["ONE"' not in shown.stdout, "a loop's value is told by its items"


def test_a_diff_is_given_as_json_with_the_place_of_each_difference(ran: Cogwork) -> None:
    ran("fork", "a", "--at", "count", "--set", "count.label=mine", "--as", "b", "-a", "keep=true")
    found = json.loads(ran("diff", "a", "b", "--json").stdout)
    assert found["equal"] is False
    places = {(d["section"], d["step"], d["what"], d["path"], d["a"], d["b"]) for d in found["differences"]}
    assert ("steps", "count", "value", ".label", "counted", "mine") in places
    assert ("output", "", "value", ".label", "counted", "mine") in places
    assert set(found["seconds"]["count"]) == {"a", "b"}


def test_a_diff_of_other_workflows_says_so_and_tells_a_failure(ran: Cogwork) -> None:
    ran("run", "fails.yaml", "--thread", "f")
    shown = ran("diff", "a", "f").stdout
    assert 'name  "order" → "fails"' in shown
    assert "not begun → failed: 'nothere.txt' does not exist" in shown
    assert "count  done:" in shown


def test_a_diff_with_an_unknown_run_is_no_difference(ran: Cogwork) -> None:
    assert ran("diff", "a", "nobody").exit_code == 4


@pytest.mark.parametrize(
    ("a", "b", "places"),
    [
        ({"x": 1}, {"x": 1.0}, []),
        ({"x": 1}, {"x": True}, [".x"]),
        ({"a b": [1, 2]}, {"a b": [1]}, ["['a b'][1]"]),
        (None, {}, [""]),
        ([[1]], [[2], 3], ["[0][0]", "[1]"]),
        (ABSENT, ABSENT, []),
    ],
)
def test_values_differ_at_their_deepest_places(a: Any, b: Any, places: list[str]) -> None:
    assert [path for path, _, _ in unequal(a, b)] == places


def test_long_texts_are_shown_where_they_part() -> None:
    left, right = excerpts("x" * 500 + "left end", "x" * 500 + "right end", 40)
    assert (len(left) <= 40, left.endswith("left end"), right.endswith("right end")) == (True, True, True)
