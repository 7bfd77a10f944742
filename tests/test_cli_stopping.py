"""The command line on runs that rest or were stopped: what it says of each kind, what it prints to go on, what it refuses."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cogwork.cli.answers import Given, resume_command
from cogwork.cli.exits import Refusal
from cogwork.cli.inspect import staged
from cogwork.cli.progress import Progress
from cogwork.cli.reasons import aftermath, brief_status, remarks
from cogwork.cli.recorded import told, waiting
from cogwork.cli.root import cli
from state.durable import RecordedCall
from state.events import Event

Cogwork = Callable[..., Result]

ASKS = """
cogwork: v1
name: asks
nodes:
  ask: {type: human, ask: "Fine?", form: {ok: {type: boolean}}}
  then: {type: transform, set: "{{ ask.ok }}"}
  last: {type: transform, set: "{{ then }}"}
"""
DOUBT: dict[str, Any] = {
    "kind": "in_doubt",
    "at": "pay",
    "ask": "Did bank.pay take place? it was interrupted",
    "show": {"tool": "bank.pay", "args": {"to": "x"}},
    "form": {
        "properties": {"resolution": {"enum": ["done", "not_done", "retry"]}, "result": {}},
        "required": ["resolution"],
    },
}
BUDGET: dict[str, Any] = {
    "kind": "budget",
    "at": "run",
    "ask": "Raise max_tokens to go on.",
    "form": {"properties": {"max_tokens": {"type": "integer", "minimum": 1001}}, "required": ["max_tokens"]},
}
TIME: dict[str, Any] = {
    "kind": "budget",
    "at": "run",
    "ask": "Raise timeout to go on.",
    "form": {"properties": {"timeout": {"type": "number", "exclusiveMinimum": 30.5}}, "required": ["timeout"]},
}


@pytest.fixture
def cogwork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cogwork:
    """Runs one command in this process, in a folder with a run ``t`` that rests at a person."""
    for name in [name for name in os.environ if name.startswith(("COGWORK_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "asks.yaml").write_text(ASKS, encoding="utf-8")
    runner = CliRunner()
    assert runner.invoke(cli, ["run", "asks.yaml", "--thread", "t"]).exit_code == 3
    return lambda *words: runner.invoke(cli, list(words))


def test_a_run_that_rests_cannot_be_paused_and_the_next_step_is_named(cogwork: Cogwork) -> None:
    refused = cogwork("pause", "t")
    assert refused.exit_code == 4
    assert "rests already (paused, asks a person)" in refused.stderr
    assert "cogwork resume t" in refused.stderr


def test_a_run_that_is_over_is_neither_paused_nor_cancelled(cogwork: Cogwork) -> None:
    assert cogwork("resume", "t", "-a", "ok=true").exit_code == 0
    for verb in ("pause", "cancel"):
        refused = cogwork(verb, "t")
        assert (refused.exit_code, "has completed" in refused.stderr) == (4, True)


def test_a_limit_is_refused_where_the_run_rests_at_a_person(cogwork: Cogwork) -> None:
    refused = cogwork("resume", "t", "--limit", "max_tokens=9")
    assert (refused.exit_code, "does not rest at a limit" in refused.stderr) == (2, True)


def test_why_follows_a_block_to_the_one_who_is_asked(cogwork: Cogwork) -> None:
    shown = cogwork("why", "t", "last").stdout
    assert "It waits for then, which has not begun itself." in shown
    assert "It waits for ask, which is asking a person." in shown
    assert "Fine?" in shown
    assert cogwork("why", "t").stdout.startswith("Run t is paused, asks a person.")


def test_the_printed_command_names_the_limit_and_a_value_that_suffices() -> None:
    assert resume_command("t", [BUDGET]) == "cogwork resume t --limit max_tokens=2002"
    assert resume_command("t", [TIME]) == "cogwork resume t --limit timeout=61"


def test_the_printed_command_does_not_say_what_became_of_a_call() -> None:
    assert resume_command("t", [DOUBT]) == "cogwork resume t -a resolution=…"


def test_limits_are_read_as_numbers_and_times_as_durations() -> None:
    assert Given(limits=("max_tokens=80000",)).answers([BUDGET]) == {"run": {"max_tokens": 80000}}
    assert Given(limits=("timeout=10m",)).answers([TIME]) == {"run": {"timeout": 600.0}}
    assert Given(limits=("timeout=90",)).answers([TIME]) == {"run": {"timeout": 90.0}}
    for limit in ("max_steps=5", "timeout"):
        with pytest.raises(Refusal):
            Given(limits=(limit,)).answers([BUDGET])


def test_a_doubt_is_resolved_with_a_result() -> None:
    given = Given(fields=("resolution=done", 'result={"id": 7}'))
    assert given.answers([DOUBT]) == {"pay": {"resolution": "done", "result": {"id": 7}}}


@pytest.mark.parametrize(
    ("reason", "said"),
    [("human", "asks a person"), ("requested", "on request"), ("budget", "at its limit"), ("in_doubt", "in doubt")],
)
def test_a_pause_is_told_with_its_reason(reason: str, said: str) -> None:
    assert said in brief_status("paused", reason)
    assert brief_status("completed", reason) == "completed"


def test_what_was_undone_and_what_could_not_be_is_told_beside_later_failures() -> None:
    error = {"message": "gone", "class": "tool_error", "node": "finally.clean"}
    run = {"undo": {"done": ["b"], "not_done": [{"step": "a", "error": error}]}, "also": [error]}
    assert [line for line, _ in aftermath(run)] == [
        "undone: b",
        "NOT undone: a: gone [tool_error]",
        "also failed at finally.clean: gone [tool_error]",
    ]


def test_stages_come_after_the_workflows_own_steps_in_their_order() -> None:
    nodes: dict[str, Any] = {
        "a": {},
        "finally": {},
        "finally.x": {},
        "undo[0]": {},
        "on_failure.y": {},
        "sub.finally": {},
    }
    assert [(title, list(records)) for title, records in staged(nodes)] == [
        ("", ["a", "sub.finally"]),
        ("On failure", ["on_failure.y"]),
        ("Undo", ["undo[0]"]),
        ("Finally", ["finally", "finally.x"]),
    ]


def test_a_fallback_a_cached_result_and_a_persons_word_are_remarked() -> None:
    record = {"attempts": 2, "fallback": "model:x", "cached": True, "resolved": "not_done"}
    assert remarks(record) == ["2 attempts", "served by model:x", "from the cache", "a person said: not done"]


def test_an_interrupted_write_is_told_as_one_that_nobody_knows_about() -> None:
    call = RecordedCall(
        key="r:pay:0", run="r", step="pay", target="bank.pay", effect="write", repeatable=False, args={"to": "x"}
    )
    lines = list(told([call], None, over=True))
    assert "nothing says how it ended; it is not made again by itself" in lines[0]
    assert 'args = {"to": "x"}' in lines[1]
    asked = waiting("pay", {"question": DOUBT, "started_at": "2026-01-01T00:00:00+00:00"})
    assert asked[0].startswith("pay waits for somebody to say what became of a call")
    assert 'tool = "bank.pay"' in asked


def test_stages_undoing_and_a_pause_are_lines_of_the_progress() -> None:
    progress = Progress({"pay": False}, {})

    def see(kind: Any, step: str = "", **data: Any) -> None:
        progress.see(Event(kind=kind, run="r", at="", step=step, data=data), 0.0)

    see("run.pausing")
    see("step.fallback", "pay", fallback="tool:y", error={"message": "no", "class": "timeout"})
    assert "now tool:y" in progress.lines["pay"].note
    see("step.opened", "undo")
    see("step.started", "undo[0]", of="pay")
    see("step.undone", "pay", of="pay")
    see("step.undone", "book", of="book", error={"message": "no", "class": "timeout"})
    shown = {line.name: line.state for line in progress.lines.values()}
    assert (shown["pay"], shown["book"]) == ("undone", "failed")
    assert progress.lines["pay"].state == "running", "what was done stays, and its undoing is told beside it"
    assert len(progress.lines) == 4
    assert not progress.lines["undo"].loop
    assert "writes in flight" in progress.said
