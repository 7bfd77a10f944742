"""Runs killed with SIGKILL at writes and at random times, held against a ledger outside; ``python -m tests.kills`` for more."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kills.__main__ import main
from tests.kills.ledger import Books
from tests.kills.runs import features

HOUSE = Path(__file__).parent.parent


def _harness(*arguments: str) -> tuple[int, str]:
    """The exit code of the command and what it printed; in a process of its own, without the threads of other tests."""
    command = [sys.executable, "-m", "tests.kills", *arguments]
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=False, timeout=250)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.req("D4", "X3", "X5", "T4")
def test_runs_killed_at_writes_and_at_random_times_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    code, said = _harness(
        "--kills", "90", "--per-spec", "12", "--stride", "4", "--seed", "7", "--folder", str(tmp_path)
    )
    assert code == 0, said
    found = re.search(r"(\d+) kills, .*: 0 lost runs, 0 repeated effects, 0 differing ends", said.splitlines()[-1])
    assert found is not None and int(found[1]) >= 90, said


@pytest.mark.req("X5", "T4")
def test_without_the_record_of_calls_the_harness_fails(tmp_path: Path) -> None:
    if "record" not in features("sqlite", tmp_path):
        pytest.skip("this store keeps no record of calls")
    code, said = _harness(
        "--kills", "60", "--per-spec", "30", "--seed", "7", "--without-record", "--folder", str(tmp_path)
    )
    assert code == 1, said
    assert re.search(r"[1-9]\d* repeated effects", said.splitlines()[-1]), said


def _perform(books: Books, key: str, tool: str = "kills.once", **more: object) -> dict[str, object]:
    told = {"value": 1, "fault": "", "faults": 0, "lost": False, "pid": 1, **more}
    return books.answer({"op": "perform", "case": "c", "key": key, "step": key.split(":")[1], "tool": tool, **told})


def test_the_ledger_performs_a_key_once_and_tells_of_every_breach() -> None:
    books = Books()
    assert _perform(books, "r:a:0") == {"value": 1}
    assert _perform(books, "r:a:0") == {"refused": True}
    assert _perform(books, "r:b:0", "kills.keyed") == _perform(books, "r:b:0", "kills.keyed", value=2) == {"value": 1}
    assert _perform(books, "r:c:0", fault="connection", faults=1, lost=True) == {"fault": "connection"}
    assert books.answer({"op": "ask", "case": "c", "key": "r:c:0"}) == {"done": True, "value": 1}
    books.answer({"op": "finished", "case": "c", "names": ["b"]})
    _perform(books, "r:b:0", "kills.keyed")
    told = books.answer({"op": "close", "case": "c"})
    assert [entry["key"] for entry in told["entries"] if entry["order"]] == ["r:a:0", "r:b:0", "r:c:0"]
    assert len(told["breaches"]) == 2
    assert "r:a:0" in told["breaches"][0] and "r:b:0" in told["breaches"][1]


def test_the_harness_says_what_it_can_be_asked() -> None:
    with contextlib.redirect_stdout(io.StringIO()) as said, pytest.raises(SystemExit):
        main(["--help"])
    assert "--without-record" in said.getvalue()
