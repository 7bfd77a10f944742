"""The clock put back between two processes: the latest checkpoint is the one that was written last."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cogwork.store.clock import LATEST, stamp

HOUSE = Path(__file__).resolve().parent.parent
FAKETIME = shutil.which("faketime")
SPEC = """
cogwork: v1
name: clock
nodes:
  a: {type: tool, tool: clock.note, args: {value: a}}
  ask: {type: human, ask: "Well?", form: {name: {type: string}}, depends_on: [a]}
  b: {type: tool, tool: clock.note, args: {value: b}, depends_on: [ask]}
  again: {type: human, ask: "Sure?", form: {name: {type: string}}, depends_on: [b]}
  c: {type: tool, tool: clock.note, args: {value: c}, depends_on: [again]}
output: "{{ [a, b, c] }}"
"""
CHILD = """
import sys
from datetime import datetime
from langgraph.types import Command
from cogwork.app import app
from cogwork.store.checkpoints import SqliteCheckpoints
from cogwork.tools.function import tool

path, source, ledger, first, other = sys.argv[1:]

@tool(name="clock.note", effect="write")
def note(value: str) -> str:
    "Leave a line."
    with open(ledger, "a") as file:
        file.write(value + "\\n")
    return value

config = {"configurable": {"thread_id": "t"}}
with SqliteCheckpoints(path) as saver:
    graph = app(tools=[note]).compile(source, checkpointer=saver)
    if other:  # a thread of its own, whose ids come from the clock as it is now
        graph.invoke({}, {"configurable": {"thread_id": other}})
    known = {state.config["configurable"]["checkpoint_id"] for state in graph.get_state_history(config)}
    given = {} if first else Command(resume={"name": "x"})
    state = graph.invoke(given, config)
    ids = [state.config["configurable"]["checkpoint_id"] for state in graph.get_state_history(config)]
    assert ids == sorted(ids, reverse=True) and all(new > max(known, default="") for new in set(ids) - known)
    print(datetime.now().isoformat()[:13], state["run"]["status"], state.get("output"))
"""


def _child(tmp_path: Path, shift: str, *words: str) -> list[str]:
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(CHILD),
        str(tmp_path / "c.sqlite"),
        SPEC,
        str(tmp_path / "ledger"),
        *words,
    ]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(HOUSE)}
    shifted = [str(FAKETIME), "-f", shift, *command]
    done = subprocess.run(shifted, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(maxsplit=2)


@pytest.mark.req("D4")
@pytest.mark.skipif(FAKETIME is None, reason="needs faketime")
@pytest.mark.parametrize("back", ["-1h", "-1d"])
@pytest.mark.parametrize("other", ["", "u"], ids=["alone", "beside another thread"])
def test_a_run_goes_on_where_it_was_although_the_clock_went_back(tmp_path: Path, back: str, other: str) -> None:
    begun = _child(tmp_path, "+0", "first", "")
    resumed = _child(tmp_path, back, "", other)
    ended = _child(tmp_path, back, "", "")
    assert resumed[0] < begun[0]
    assert (begun[1], resumed[1], ended[1]) == ("paused", "paused", "completed")
    assert ended[2].strip() == "['a', 'b', 'c']"
    noted = (tmp_path / "ledger").read_text().split()
    if other:
        noted.remove("a")
    assert noted == ["a", "b", "c"]


def test_an_absurd_id_does_not_move_the_clock() -> None:
    assert stamp("1ef4f797-8335-6428-8001-8a1503f9b875") is not None
    assert stamp("ffffffff-ffff-6fff-8001-8a1503f9b875") is None
    assert stamp("not-an-id") is None
    assert stamp("1ef4f797-8335-4428-8001-8a1503f9b875") is None
    assert LATEST < 1 << 60
