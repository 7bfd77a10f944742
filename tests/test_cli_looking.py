"""The command line's other commands: looking at runs, and writing, checking and drawing workflows."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import sqlite3
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cogwork.cli import pictures, render
from cogwork.cli.root import cli
from cogwork.cli.values import coerced
from cogwork.store.runs import RunSummary

pytestmark = pytest.mark.timeout(900)
"""Processes that may take seconds each on a loaded machine."""
HOUSE = Path(__file__).resolve().parent.parent
Cogwork = Callable[..., Result]

CHOICE = """
cogwork: v1
name: choice
input: {n: {type: integer, default: 1}}
nodes:
  size: {type: transform, set: {n: "{{ input.n }}"}}
  big:
    type: condition
    cases: [{if: "size.n > 10 and input.n != 3", then: large}]
    else: small
  large: {type: transform, set: "large {{ size.n }}"}
  report: {type: transform, set: "{{ large }}!"}
  print: {type: transform, set: "{{ report }}"}
  small: {type: transform, set: small}
  rare: {type: transform, when: "size.n == 99", set: rare}
  each:
    for_each: "[1, 2]"
    nodes: {double: {type: transform, set: "{{ item * 2 }}"}}
  ok: {type: human, ask: "Fine?", form: {ok: {type: boolean}}}
output: "{{ small | default: 'done' }}"
"""
FAILS = """
cogwork: v1
name: fails
nodes:
  read: {type: tool, tool: text.read, args: {path: nothere.txt}, on_error: skip}
  next: {type: transform, set: "{{ json(read) }}"}
  last: {type: tool, tool: text.read, args: {path: gone.txt}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with two workflows, without settings from outside."""
    for name in [name for name in os.environ if name.startswith(("COGWORK_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    (tmp_path / "choice.yaml").write_text(CHOICE, encoding="utf-8")
    (tmp_path / "fails.yaml").write_text(FAILS, encoding="utf-8")
    return tmp_path


@pytest.fixture
def cogwork(folder: Path) -> Cogwork:
    """Runs one command in this process."""
    runner = CliRunner()
    return lambda *words, **more: runner.invoke(cli, [str(word) for word in words], **more)


@pytest.fixture
def ran(cogwork: Cogwork) -> Cogwork:
    """The same, with a run ``c`` that rests at a person and a run ``f`` that failed."""
    assert cogwork("run", "choice.yaml", "--thread", "c").exit_code == 3
    assert cogwork("run", "fails.yaml", "--thread", "f").exit_code == 1
    return cogwork


# -- status, list, show --------------------------------------------------------------------------------------------


def test_the_list_has_each_run_with_its_state(ran: Cogwork) -> None:
    listed = {run["thread"]: run["status"] for run in json.loads(ran("list", "--json").stdout)}
    assert listed == {"c": "paused", "f": "failed"}
    assert "Fine?" in ran("list").stdout


@pytest.mark.parametrize(
    ("words", "threads"),
    [
        (["--status", "failed"], ["f"]),
        (["--workflow", "choice"], ["c"]),
        (["-n", "1"], ["f"]),
        (["--status", "running"], []),
    ],
)
def test_the_list_can_be_narrowed(ran: Cogwork, words: list[str], threads: list[str]) -> None:
    assert [run["thread"] for run in json.loads(ran("list", "--json", *words).stdout)] == threads


def test_an_unknown_status_is_refused(cogwork: Cogwork) -> None:
    refused = cogwork("list", "--status", "sleeping")
    assert (refused.exit_code, "there are running, paused" in refused.stderr) == (2, True)


def test_an_empty_list_is_no_error(cogwork: Cogwork) -> None:
    assert cogwork("list").exit_code == 0


def test_the_status_of_a_resting_run_says_what_is_asked_and_how_to_answer(ran: Cogwork) -> None:
    shown = ran("status", "c").stdout
    assert "paused" in shown
    assert "Fine?" in shown
    assert "cogwork resume c -a ok=true" in shown


def test_a_run_is_shown_with_its_picture_and_every_step(ran: Cogwork) -> None:
    shown = ran("show", "c").stdout
    for part in ("✓ big · condition", "– large · transform", "? ok · human", "each[1].double", "not chosen by big"):
        assert part in shown


def test_one_step_is_shown_with_its_value(ran: Cogwork) -> None:
    found = json.loads(ran("show", "c", "each", "--json").stdout)
    assert (found["value"], found["record"]["status"]) == ([2, 4], "done")
    assert ran("show", "c", "each[0].double").stdout.rstrip().endswith("2")


def test_an_unknown_step_is_not_found_and_a_near_one_is_named(ran: Cogwork) -> None:
    missing = ran("show", "c", "larg")
    assert (missing.exit_code, "did you mean 'large'?" in missing.stderr) == (4, True)


def test_rows_of_others_in_the_file_are_left_out(ran: Cogwork, folder: Path) -> None:
    with sqlite3.connect(folder / ".cogwork" / "checkpoints.sqlite") as file:
        row = "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, type, checkpoint, metadata) VALUES"
        file.execute(f"{row} ('alien', '', 'zz1', 'msgpack', x'c1', x'00')")
        file.execute(f"{row} ('other', '', 'zz2', 'json', '{{\"channel_values\": {{\"run\": 3}}}}', '{{}}')")
    assert {run["thread"] for run in json.loads(ran("list", "--json").stdout)} == {"c", "f"}
    assert ran("status", "alien").exit_code == 4


def test_a_checkpoint_file_that_is_none_is_an_error_without_traceback(cogwork: Cogwork, folder: Path) -> None:
    (folder / ".cogwork").mkdir()
    (folder / ".cogwork" / "checkpoints.sqlite").write_text("no database" * 100)
    failed = cogwork("list")
    assert failed.exit_code == 1
    assert "checkpoints.sqlite" in failed.stderr
    assert "Traceback" not in failed.output


# -- why -------------------------------------------------------------------------------------------------------------


def test_why_shows_the_condition_with_its_values(ran: Cogwork) -> None:
    told = ran("why", "c", "large").stdout
    assert told.splitlines()[0] == "large was skipped: not chosen by big."
    assert "size.n > 10 and input.n != 3 → false" in told
    assert "size.n = 1" in told
    assert "big chose small." in told


def test_why_follows_the_chain_to_the_root_cause(ran: Cogwork) -> None:
    assert "print ← report ← large ← big" in ran("why", "c", "print").stdout


def test_why_shows_a_false_when_with_its_values(ran: Cogwork) -> None:
    told = ran("why", "c", "rare").stdout
    assert "when: size.n == 99 → false" in told
    assert "size.n = 1" in told


def test_why_tells_a_wait(ran: Cogwork) -> None:
    assert ran("why", "c", "ok").stdout.startswith("ok waits for a person: Fine?")


def test_why_tells_a_failure_with_its_attempts(ran: Cogwork) -> None:
    told = ran("why", "f", "last").stdout
    assert "gone.txt" in told
    assert "Attempts: 1" in told


def test_why_tells_a_skip_behind_an_ignored_error(cogwork: Cogwork, folder: Path) -> None:
    spec = FAILS.partition("  last:")[0]
    (folder / "ignores.yaml").write_text(spec, encoding="utf-8")
    assert cogwork("run", "ignores.yaml", "--thread", "i").exit_code == 0
    assert "the error of read is ignored" in cogwork("why", "i", "next").stdout
    for step in ("read", "next"):
        assert "nothere.txt" in cogwork("why", "i", step).stdout


def test_why_is_given_as_json(ran: Cogwork) -> None:
    assert json.loads(ran("why", "c", "large", "--json").stdout)["record"]["cause"] == {
        "reason": "not_selected",
        "by": "big",
    }


# -- check, draw, schema, new ------------------------------------------------------------------------------------------


def test_check_points_at_every_fault_in_its_line(cogwork: Cogwork, folder: Path) -> None:
    (folder / "bad.yaml").write_text(
        "cogwork: v1\nname: bad\nnodes:\n  a: {type: tool, tool: text.raed, args: {path: x}}\n"
        "  b:\n    type: transform\n    set: '{{ c }}'\n",
        encoding="utf-8",
    )
    found = cogwork("check", "bad.yaml", "choice.yaml")
    assert found.exit_code == 1
    assert "bad.yaml:4:25: error unknown_tool" in found.stdout
    assert "    4 │   a: {type: tool, tool: text.raed, args: {path: x}}\n      │ " + " " * 24 + "^" in found.stdout
    assert "did you mean 'text.read'?" in found.stdout
    assert "bad.yaml: 2 errors" in found.stdout
    assert "choice.yaml: no problems" in found.stdout


def test_check_gives_problems_as_json(cogwork: Cogwork, folder: Path) -> None:
    (folder / "bad.yaml").write_text("cogwork: v1\nname: bad\nnodez: {}\n", encoding="utf-8")
    problems = json.loads(cogwork("check", "bad.yaml", "--json").stdout)
    assert {"unknown_key", "missing_key"} <= {problem["code"] for problem in problems}


@pytest.mark.parametrize(("name", "code"), [("nofile.yaml", 4), ("nothing_like_it", 4), ("choice.yaml", 0)])
def test_check_says_by_its_exit_code_how_it_went(cogwork: Cogwork, name: str, code: int) -> None:
    assert cogwork("check", name).exit_code == code


def test_everything_in_the_catalog_passes_the_check(cogwork: Cogwork) -> None:
    names = [row["name"] for row in json.loads(cogwork("workflows", "--json").stdout)]
    assert "incident_triage" in names
    assert cogwork("check", *names).exit_code == 0


def test_the_text_picture_has_every_step_and_the_bodies_of_loops(cogwork: Cogwork) -> None:
    drawn = cogwork("draw", "choice.yaml").stdout
    for name in ("size", "big", "large", "report", "print", "small", "rare", "each", "ok", "double"):
        assert f" {name} · " in drawn
    assert "big: size.n > 10 and input.n != 3 → large" in drawn


def test_a_picture_too_wide_for_the_terminal_becomes_an_outline(
    cogwork: Cogwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    drawn = cogwork("draw", "choice.yaml").stdout
    assert "┌" not in drawn.partition("each: for each")[0]
    assert re.search(r"print · transform +← report", drawn)


@pytest.mark.parametrize(
    "name", ["incident_triage", "planning", "coding", "information", "debugging", "generic", "auto"]
)
@pytest.mark.parametrize("format", ["text", "mermaid", "svg"])
def test_every_catalog_workflow_can_be_drawn(cogwork: Cogwork, name: str, format: str) -> None:
    drawn = cogwork("draw", name, "--format", format)
    assert drawn.exit_code == 0, drawn.output
    assert len(drawn.stdout) > 50


def test_an_svg_is_well_formed_and_loads_nothing(ran: Cogwork, folder: Path) -> None:
    assert ran("draw", "--run", "c", "-o", "out.svg").exit_code == 0
    text = (folder / "out.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg")
    assert not re.search(r"(href|src|@import|url\()(?!#a)[^)]*http", text)
    assert "#f4e6ff" in text, "the waiting step has its colour"


def test_names_in_an_svg_cannot_break_out(cogwork: Cogwork, folder: Path) -> None:
    spec = {"cogwork": "v1", "name": "x", "nodes": {"a<script>": {"type": "transform", "set": 1, "when": "1 < 2"}}}
    (folder / "x.json").write_text(json.dumps(spec), encoding="utf-8")
    text = cogwork("draw", "x.json", "-f", "svg").stdout
    ElementTree.fromstring(text)
    assert "<script>" not in text


def test_a_png_without_a_converter_names_the_svg(cogwork: Cogwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    refused = cogwork("draw", "choice.yaml", "-o", "out.png")
    assert refused.exit_code == 1
    assert "--format svg" in refused.stderr


def test_drawing_nothing_is_refused(cogwork: Cogwork) -> None:
    assert cogwork("draw").exit_code == 2


def test_the_schema_can_hold_the_tools(cogwork: Cogwork) -> None:
    plain, whole = (cogwork("schema", *words).stdout for words in ([], ["--tools"]))
    assert "properties" in json.loads(plain)
    assert "text.read" in whole
    assert "text.read" not in plain


def test_a_new_workflow_passes_the_check_and_runs_to_its_end(cogwork: Cogwork, folder: Path) -> None:
    assert cogwork("new", "mine").exit_code == 0
    text = (folder / "mine.yaml").read_text(encoding="utf-8")
    schema = re.match(r"# yaml-language-server: \$schema=(\S+)", text)
    assert schema is not None
    assert json.loads((folder / schema[1]).read_text(encoding="utf-8"))["properties"]
    assert "no problems" in cogwork("check", "mine.yaml").stdout
    done = cogwork("run", "mine.yaml", "-a", "decision=keep")
    assert done.exit_code == 0, done.output
    assert "retry" in done.stdout.lower()
    assert cogwork("new", "mine").exit_code == 2, "nothing is overwritten"


@pytest.mark.parametrize("name", ["a b", "1a", "../x", ""])
def test_a_new_workflow_needs_a_proper_name(cogwork: Cogwork, name: str) -> None:
    assert cogwork("new", name).exit_code == 2


# -- modes, workflows, tools -------------------------------------------------------------------------------------------


@pytest.mark.req("D5")
def test_the_five_modes_have_prompts_and_workflows(cogwork: Cogwork) -> None:
    rows = {row["mode"]: row for row in json.loads(cogwork("modes", "--json").stdout)}
    assert set(rows) == {"planning", "coding", "information", "debugging", "generic"}
    assert all(row["prompts"] and row["workflows"] for row in rows.values())


def test_a_workflow_is_shown_with_its_inputs(cogwork: Cogwork) -> None:
    shown = cogwork("workflows", "choice.yaml").stdout
    assert re.search(r"n +integer +1", shown)


def test_tools_are_listed_with_their_effects(cogwork: Cogwork) -> None:
    tools = {tool["name"]: tool for tool in json.loads(cogwork("tools", "--json").stdout)}
    assert (tools["text.read"]["effect"], tools["text.write"]["effect"]) == ("read", "write")
    assert "text.write" in cogwork("tools").stdout


# -- errors, terminals ---------------------------------------------------------------------------------------------------


def test_a_wrong_setting_is_named(cogwork: Cogwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGWORK_SYNCHRONOUS", "SOMETIMES")
    refused = cogwork("list")
    assert (refused.exit_code, "synchronous" in refused.stderr) == (2, True)


def test_debug_shows_the_traceback_of_an_error(folder: Path) -> None:
    words = [sys.executable, "-m", "cogwork", "run", "nothing", "--debug"]
    shown = subprocess.run(words, env={**os.environ, "PYTHONPATH": str(HOUSE)}, capture_output=True, text=True)
    assert "Traceback" in shown.stderr
    plain = subprocess.run(words[:-1], env={**os.environ, "PYTHONPATH": str(HOUSE)}, capture_output=True, text=True)
    assert "Traceback" not in plain.stderr


def test_the_version_is_shown(cogwork: Cogwork) -> None:
    assert cogwork("--version").stdout.startswith("cogwork ")


def test_foreign_text_cannot_steer_the_terminal() -> None:
    assert render.safe("a\x1b[31mred\x07\r\u202eb\tc\n") == "a\ufffd[31mred\ufffd\ufffd\ufffdb\tc\n"


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, "10", "10"),
        ({"type": "string"}, "true", "true"),
        ({"type": "integer"}, "10", 10),
        ({"type": "integer"}, "ten", "ten"),
        ({"type": "number"}, "1.5", 1.5),
        ({"type": "boolean"}, "no", False),
        ({"type": "array", "items": {"type": "integer"}}, "[1, 2]", [1, 2]),
        ({"type": "array", "items": {"type": "string"}}, "7", ["7"]),
        ({"type": "object"}, '{"a": 1}', {"a": 1}),
        ({"type": ["integer", "null"]}, "null", None),
        ({"type": ["string", "integer"]}, "x", "x"),
        ({"enum": [1, "one"]}, "1", 1),
        ({"enum": ["a"]}, "b", "b"),
        ({}, "[1]", [1]),
        ({}, "plain", "plain"),
    ],
)
def test_text_becomes_what_its_schema_asks_for(schema: dict[str, Any], text: str, value: Any) -> None:
    assert coerced(schema, text) == value


def typed(folder: Path, words: list[str], answers: list[tuple[str, str]]) -> tuple[int, str]:
    """A command on a terminal of its own; each answer is typed when its prompt has appeared."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(HOUSE), "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    running = subprocess.Popen(
        [sys.executable, "-m", "cogwork", *words], cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    seen, deadline = "", time.monotonic() + 280
    while time.monotonic() < deadline and select.select([ours], [], [], 280)[0]:
        try:
            seen += os.read(ours, 65536).decode("utf-8", "replace")
        except OSError:
            break
        if answers and answers[0][0] in seen.rpartition("\x04")[2]:
            os.write(ours, answers.pop(0)[1].encode() + b"\n")
            seen += "\x04"
    os.close(ours)
    return running.wait(30), seen


def test_a_person_at_the_terminal_is_asked_until_the_answer_fits(folder: Path) -> None:
    code, seen = typed(folder, ["run", "choice.yaml"], [("ok (boolean): ", "perhaps"), ("ok (boolean): ", "yes")])
    assert code == 0, seen
    assert "expected boolean" in seen
    assert "Traceback" not in seen
    assert "✓" in seen


def test_a_run_on_a_terminal_may_be_told_not_to_ask(folder: Path) -> None:
    code, seen = typed(folder, ["run", "choice.yaml", "--no-input"], [])
    assert (code, "cogwork resume choice-" in seen) == (3, True)


def test_several_states_of_a_step_show_the_worst() -> None:
    nodes = {"a[0].b": {"status": "done"}, "a[1].b": {"status": "failed"}, "a[0]": {"status": "done"}}
    summary = RunSummary(thread="t", run="r", workflow="w", status="failed", started="", values={"nodes": nodes})
    assert pictures.states_of(summary) == {"a.b": "failed"}
