"""Runs killed with SIGKILL, at every write of a checkpoint and at random moments, and resumed in new processes."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START
from langgraph.types import Command

from cogwork.app import app
from cogwork.store.checkpoints import SqliteCheckpoints
from cogwork.tools.function import tool
from graphs.graph import WorkflowGraph
from state.errors import NotResumable
from state.services import CallContext

pytestmark = pytest.mark.timeout(900)
"""Many processes one after the other, each of seconds on a loaded machine."""
CONFIG: Any = {"configurable": {"thread_id": "crashed"}}
SPEC = """
cogwork: v1
name: crashing
input: {x: {type: integer, default: 2}}
nodes:
  a: {type: tool, tool: crash.do, args: {value: "{{ input.x }}"}}
  b: {type: tool, tool: crash.do, args: {value: "{{ a + 1 }}", turns: 3}}
  c: {type: tool, tool: crash.do, args: {value: "{{ a + 2 }}"}}
  d: {type: tool, tool: crash.do, args: {value: "{{ c * 2 }}"}}
  q: {type: condition, cases: [{if: c > 3, then: big}], else: small}
  big: {type: tool, tool: crash.do, args: {value: big}}
  small: {type: tool, tool: crash.do, args: {value: small}}
  each:
    for_each: "[1, 2, 3]"
    max_parallel: 2
    nodes:
      s: {type: tool, tool: crash.do, args: {value: "{{ item * 10 }}"}}
      t: {type: tool, tool: crash.do, args: {value: "{{ s + index }}"}}
  lap:
    repeat: {max_iterations: 4, until: n >= 3, initial: 0}
    nodes:
      n: {type: tool, tool: crash.do, args: {value: "{{ previous + 1 }}"}}
  ask: {type: human, ask: "Go on with {{ b }}?", form: {ok: {type: boolean}}}
  e: {type: tool, tool: crash.do, args: {value: {b: "{{ b }}", d: "{{ d }}", said: "{{ ask.ok }}"}}}
output: {e: "{{ e }}", each: "{{ each }}", lap: "{{ lap }}", size: "{{ big | default: small | default: 'none' }}"}
"""
OUTPUT = {"e": {"b": 3, "d": 8, "said": True}, "each": [10, 21, 32], "lap": 3, "size": "big"}
WORK = [
    "a",
    "b",
    "c",
    "d",
    "big",
    "e",
    "lap[0].n",
    "lap[1].n",
    "lap[2].n",
    *(f"each[{i}].{n}" for i in range(3) for n in "st"),
]
WIDTH = 6
"""How many steps may be at work when a run is killed, and so be done again."""
STRIDE = 3
"""Every third hook keeps the test short; the whole enumeration ran when this was written."""
KILLS = 8
"""How often a run is killed before it is left to end."""


# -- the child ---------------------------------------------------------------------------------------------------------


class Fatal(SqliteCheckpoints):
    """Checkpoints that kill their process at the k-th hook: before and after each ``put`` and ``put_writes``."""

    def __init__(self, *args: Any, kill_at: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.left = [kill_at]
        """Shared with the copy that LangGraph makes of a saver when it compiles."""

    def _hook(self) -> None:
        self.left[0] -= 1
        if self.left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def put(self, *args: Any, **kwargs: Any) -> Any:
        self._hook()
        done = super().put(*args, **kwargs)
        self._hook()
        return done

    def put_writes(self, *args: Any, **kwargs: Any) -> None:
        self._hook()
        super().put_writes(*args, **kwargs)
        self._hook()


def _graph(folder: Path, saver: Any) -> WorkflowGraph:
    ledger = folder / "ledger"

    @tool(name="crash.do", effect="write", idempotent=True)
    async def do(context: CallContext, value: Any, turns: int = 0) -> Any:
        """Leave a line in the ledger."""
        for _ in range(turns):
            await asyncio.sleep(0)
        descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, f"{context.idempotency_key} {os.getpid()}\n".encode())
        os.close(descriptor)
        return value

    return app(tools=[do]).compile(SPEC, checkpointer=saver)


async def _drive(folder: Path, graph: WorkflowGraph) -> None:
    """Begin, resume or answer, whatever the thread asks for, until the run has ended."""
    while True:
        state = await graph.aget_state(CONFIG)
        if not state.created_at or START in state.next:
            await graph.ainvoke({}, CONFIG)
        elif state.interrupts:
            await graph.ainvoke(Command(resume={"ok": True}), CONFIG)
        elif state.tasks:
            try:
                await graph.ainvoke(None, CONFIG)
            except NotResumable:
                break  # its last writes are on disk, its last checkpoint is not
        else:
            break
    state = await graph.aget_state(CONFIG)
    (folder / "done.part").write_text(json.dumps(state.values))
    (folder / "done.part").rename(folder / "done")  # a kill leaves the whole of it or nothing


def _child(folder: Path, kill_at: int) -> int:
    """Drive the run in a forked process that dies at the given hook (0: never); its pid."""
    if (pid := os.fork()) != 0:
        return pid
    try:
        saver = Fatal(folder / "checkpoints.sqlite", synchronous="NORMAL", kill_at=kill_at)
        asyncio.run(_drive(folder, _graph(folder, saver)))
        (folder / "hooks").write_text(str(-saver.left[0]))
        os._exit(0)
    except BaseException:
        (folder / "error").write_text(traceback.format_exc())
    finally:
        os._exit(1)


# -- the parent --------------------------------------------------------------------------------------------------------


def _ended(pid: int, after: float | None = None) -> bool:
    """Whether the child came to its end rather than being killed; with ``after`` it is killed in so many seconds."""
    if after is not None:
        time.sleep(after)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return not os.WIFSIGNALED(status)


def _executions(folder: Path) -> dict[str, Counter[str]]:
    """Step to run id to number of executions, from the ledger."""
    found: dict[str, Counter[str]] = {}
    for line in (folder / "ledger").read_text().splitlines():
        key, _ = line.split(" ")
        run, step, _ = key.split(":")
        found.setdefault(step, Counter())[run] += 1
    return found


def _finished_by(folder: Path) -> set[str]:
    """The steps that the checkpoint file holds as done, finished writes of the last superstep among them."""
    with SqliteCheckpoints(folder / "checkpoints.sqlite") as saver:
        state = _graph(folder, saver).get_state(CONFIG)
    return {path for path, record in state.values.get("nodes", {}).items() if record["status"] == "done"}


def _judged(folder: Path, finished: Sequence[set[str]], lines: Sequence[Counter[str]]) -> int:
    """Assert that the run ended as without kills and repeated nothing finished; the number of repeated steps."""
    values = json.loads((folder / "done").read_text())
    assert values["output"] == OUTPUT
    assert values["run"]["status"] == "completed"
    executions = _executions(folder)
    assert set(executions) == set(WORK)
    assert {run for counts in executions.values() for run in counts} == {values["run"]["id"]}
    counts = Counter({step: sum(counts.values()) for step, counts in executions.items()})
    for done, before in zip(finished, lines, strict=True):
        repeated = {step for step in done & set(WORK) if counts[step] > before[step]}
        assert not repeated, f"finished before a kill, and done again after it: {repeated}"
    assert sorted(values["path"]) == sorted(set(values["path"]))
    return sum(counts.values()) - len(WORK)


def _counts(folder: Path) -> Counter[str]:
    if not (folder / "ledger").exists():
        return Counter()
    return Counter({step: sum(counts.values()) for step, counts in _executions(folder).items()})


def _checked_error(folder: Path) -> None:
    if (folder / "error").exists():
        raise AssertionError((folder / "error").read_text())


def _hooks(folder: Path) -> int:
    """How many hooks a run without kills passes."""
    assert _ended(_child(folder, 0))
    _checked_error(folder)
    return int((folder / "hooks").read_text())


@pytest.mark.req("D4", "X5")
def test_a_run_killed_at_any_write_of_a_checkpoint_loses_and_repeats_nothing(tmp_path: Path) -> None:
    whole = _folder(tmp_path, "whole")
    hooks = _hooks(whole)
    assert json.loads((whole / "done").read_text())["output"] == OUTPUT
    assert _counts(whole) == dict.fromkeys(WORK, 1)
    repeated = Counter[int]()
    for kill_at in range(1, hooks + 1, STRIDE):
        folder = _folder(tmp_path, f"at{kill_at}")
        _ended(_child(folder, kill_at))
        _checked_error(folder)
        finished, lines = _finished_by(folder), _counts(folder)
        assert _ended(_child(folder, 0))
        _checked_error(folder)
        repeated[_judged(folder, [finished], [lines])] += 1
    assert max(repeated) <= WIDTH


@pytest.mark.req("D4", "X5")
@pytest.mark.parametrize("seed", range(4))
def test_a_run_killed_again_and_again_at_random_ends_as_if_it_had_not_been(tmp_path: Path, seed: int) -> None:
    chance, folder = random.Random(seed), _folder(tmp_path, "run")
    finished, lines = [], []
    for _ in range(KILLS):
        if _ended(_child(folder, 0), after=chance.uniform(0.004, 0.06)) or (folder / "done").exists():
            break
        _checked_error(folder)
        if (folder / "checkpoints.sqlite").exists():
            finished.append(_finished_by(folder))
            lines.append(_counts(folder))
    else:
        assert _ended(_child(folder, 0))
    _checked_error(folder)
    _judged(folder, finished, lines)


def _folder(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir()
    return made
