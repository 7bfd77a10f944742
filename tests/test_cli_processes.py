"""The command line on runs of other processes, with tools of one's own: paused, cancelled, undone, limited, in doubt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(900)
"""Many processes one after the other, each of seconds on a loaded machine."""
HOUSE = Path(__file__).resolve().parent.parent
SLOW = """
cogwork: v1
name: slow
nodes:
  first: {type: tool, tool: bank.pay, args: {to: ann}, undo: {tool: bank.refund, args: {id: "{{ output.id }}"}}}
  tax: {type: tool, tool: bank.pay, args: {to: tax}, depends_on: first, undo: {tool: bank.refund, args: {id: "{{ output.id }}"}}}
  second: {type: tool, tool: bank.look, args: {gate: go, name: second}, depends_on: tax}
  third: {type: tool, tool: bank.note, args: {text: "third {{ second }}"}}
on_failure:
  nodes: {tell: {type: tool, tool: bank.note, args: {text: "told: {{ run.error.message }}"}}}
finally:
  nodes: {bye: {type: tool, tool: bank.fail, args: {text: no farewell}}}
output: "{{ third }}"
"""
DOUBT = """
cogwork: v1
name: doubt
nodes:
  pay: {type: tool, tool: bank.pay, args: {to: bob, die: died}}
  after: {type: tool, tool: bank.note, args: {text: "after {{ pay.id }}"}}
output: "{{ after }}"
"""
LIMITS = """
cogwork: v1
name: limits
limits: {max_steps: 2}
nodes:
  a: {type: tool, tool: bank.note, args: {text: a}}
  b: {type: tool, tool: bank.note, args: {text: b}, depends_on: a}
  c: {type: tool, tool: bank.note, args: {text: c}, depends_on: b}
output: "{{ c }}"
"""
RACE = """
cogwork: v1
name: race
nodes:
  broken:
    {type: tool, tool: bank.fail, fallback: [{tool: bank.look, args: {name: spare}}]}
  never: {type: tool, tool: bank.look, args: {gate: nowhere, name: never}}
  first: {type: transform, depends_on: [broken, never], join: any, cancel_rest: true, set: over}
output: "{{ first }}"
"""
WORKFLOWS = {"slow": SLOW, "doubt": DOUBT, "limits": LIMITS, "race": RACE}


class Bank:
    """A folder with workflows, in which the command line of ``tests/bank.py`` is run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command to its end."""
        return subprocess.run(self._command(words), capture_output=True, text=True, timeout=280, **self._where())

    def json(self, *words: str) -> Any:
        """What a command prints with ``--json``."""
        return json.loads(self(*words, "--json").stdout)

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A command at work; ended with force where the test does not end it."""
        with subprocess.Popen(
            self._command(words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **self._where()
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def until(self, line: str) -> None:
        """Wait until the tools have noted the line."""
        for _ in range(6000):
            if line in self.noted:
                return
            time.sleep(0.02)
        raise AssertionError(f"{line!r} is not among {self.noted}")

    @property
    def noted(self) -> list[str]:
        """What the tools have noted, in order."""
        ledger = self.folder / "ledger.txt"
        return ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else []

    def _command(self, words: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "tests.bank", *words]

    def _where(self) -> dict[str, Any]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("COGWORK_", "OPENAI_"))}
        return {"cwd": self.folder, "env": {**kept, "PYTHONPATH": str(HOUSE), "NO_COLOR": "1", "COLUMNS": "200"}}


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    """A bank in an empty folder."""
    for name, text in WORKFLOWS.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return Bank(tmp_path)


@pytest.mark.req("X5")
def test_a_run_paused_from_another_process_goes_on_later_and_repeats_no_finished_step(bank: Bank) -> None:
    with bank.running("run", "slow.yaml", "--thread", "t") as run:
        bank.until("look second")
        assert "Somebody else works on 't'" in bank("resume", "t").stderr
        paused = bank("pause", "t", "--wait")
        assert (paused.returncode, "paused, on request" in paused.stdout) == (0, True), paused.stderr
        out, err = run.communicate(timeout=280)
    assert (run.returncode, "cogwork resume t" in out, "pausing" in err) == (3, True, True), err
    assert bank.json("status", "t")["reason"] == "requested"
    assert "It was paused. Go on with:" in bank("status", "t").stdout
    assert "which could begin. The run is paused, on request." in bank("why", "t", "third").stdout
    assert bank("pause", "t").returncode == 4
    (bank.folder / "go").touch()
    done = bank("resume", "t")
    assert (done.returncode, done.stdout) == (0, "third second\n"), done.stderr
    assert "also failed at finally.bye: no farewell" in bank("status", "t").stdout
    assert bank.noted == [
        *("pay ann", "paid ann", "pay tax", "paid tax", "look second", "look second"),
        "third second",
    ]


@pytest.mark.req("X5")
@pytest.mark.parametrize("undo", [True, False])
def test_a_run_cancelled_from_another_process_ends_with_what_follows_and_tells_what_was_undone(
    bank: Bank, undo: bool
) -> None:
    with bank.running("run", "slow.yaml", "--thread", "t") as run:
        bank.until("look second")
        words = ["cancel", "t", "--wait", "--reason", "not today", *(["--undo"] if undo else [])]
        cancelled = bank(*words)
        _, err = run.communicate(timeout=280)
    assert (cancelled.returncode, run.returncode) == (0, 5), cancelled.stderr
    assert ("undone: first" in cancelled.stdout, "undone: first" in err) == (undo, undo)
    assert ("NOT undone: tax: taxes are not paid back" in cancelled.stdout) is undo
    assert "also failed at finally.bye: no farewell" in cancelled.stdout
    assert bank.noted[5:] == ["told: not today", *(["refunded p-ann"] if undo else [])]
    shown = bank("show", "t").stdout
    assert ("NOT undone" in shown, "On failure" in shown, "Finally" in shown) == (undo, True, True)
    why = bank("why", "t", "first").stdout
    assert ("It was undone afterwards." if undo else "cancelled without --undo") in why
    assert "The run was cancelled: not today" in bank("why", "t").stdout
    assert bank("resume", "t").returncode == bank("cancel", "t").returncode == 4


def test_a_run_that_rests_is_cancelled_by_the_command_itself(bank: Bank) -> None:
    assert bank("run", "limits.yaml", "--thread", "t").returncode == 3
    told = bank.json("cancel", "t")
    assert (told["requested"], told["status"]) == ("cancel", "cancelled")
    assert bank.json("status", "t")["error"]["class"] == "cancelled"


@pytest.mark.req("X3")
def test_a_run_at_its_limit_goes_on_with_a_higher_one(bank: Bank) -> None:
    rested = bank("run", "limits.yaml", "--thread", "t")
    assert (rested.returncode, "cogwork resume t --limit max_steps=6" in rested.stdout) == (3, True)
    assert bank.json("list")[0]["reason"] == "budget"
    assert "rests at its limit. Raise max_steps to go on." in bank("why", "t", "c").stdout
    assert bank("resume", "t", "--limit", "max_steps=1").returncode == 2
    done = bank("resume", "t", "--limit", "max_steps=9")
    assert (done.returncode, done.stdout, bank.noted) == (0, "c\n", ["a", "b", "c"]), done.stderr


def test_a_limit_without_checkpoints_is_told_as_one_that_nothing_goes_on_from(bank: Bank) -> None:
    rested = bank("run", "limits.yaml", "--no-checkpoint")
    assert (rested.returncode, "Raise max_steps" in rested.stdout) == (3, True)
    assert "nothing of this run was kept" in rested.stderr
    assert "Traceback" not in rested.stderr


@pytest.mark.req("X5")
@pytest.mark.parametrize(
    ("resolution", "code", "noted"),
    [
        (["pay.resolution=retry"], 0, ["pay bob", "paid bob", "after p-bob"]),
        (["resolution=done", 'result={"id": "x"}'], 0, ["after x"]),
        (["resolution=not_done"], 1, []),
    ],
)
def test_a_call_in_doubt_is_resolved_by_what_a_person_says(
    bank: Bank, resolution: list[str], code: int, noted: list[str]
) -> None:
    assert bank("run", "doubt.yaml", "--thread", "t").returncode == 9
    assert bank.json("status", "t")["status"] == "unfinished"
    assert "nothing says how it ended; it is not made again by itself" in bank("why", "t", "pay").stdout
    asked = bank("resume", "t")
    assert (asked.returncode, "cogwork resume t -a resolution=…" in asked.stdout) == (3, True), asked.stderr
    assert bank.json("status", "t")["reason"] == "in_doubt"
    assert "waits for somebody to say what became of a call" in bank("why", "t", "pay").stdout
    ended = bank("resume", "t", *[word for field in resolution for word in ("-a", field)])
    assert (ended.returncode, bank.noted) == (code, ["pay bob", *noted]), ended.stderr


def test_a_fork_answers_for_nothing_that_the_first_run_did(bank: Bank) -> None:
    (bank.folder / "go").touch()
    assert bank("run", "slow.yaml", "--thread", "t").returncode == 0
    (bank.folder / "go").unlink()
    assert bank("fork", "t", "--at", "second", "--as", "f", "--no-run").returncode == 0
    cancelled = bank("cancel", "f", "--undo")
    assert (cancelled.returncode, "undone: first" in cancelled.stdout) == (0, False), cancelled.stderr
    assert "refunded p-ann" not in bank.noted
    refused = bank("fork", "f", "--at", "on_failure.tell")
    assert (refused.returncode, "no run can go on from there" in refused.stderr) == (2, True), refused.stdout


def test_a_race_and_a_fallback_are_told(bank: Bank) -> None:
    done = bank("run", "race.yaml", "--thread", "t")
    assert done.returncode == 0, done.stderr
    shown = bank("show", "t").stdout
    assert "served by tool:bank.look" in shown
    assert bank("why", "t", "never").stdout.startswith("never was skipped: first went on without it")
