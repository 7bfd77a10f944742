"""What happens when X dies at Y: each row of the matrix in docs/operations.md names a test that exists; those of kills are here."""

from __future__ import annotations

import ast
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kills import ledger
from tests.kills.harness import End, Kill, Totals, hunt, judge, run_killed
from tests.kills.runs import Place, compiled, features
from tests.kills.specs import RandomSpec
from tests.test_docs import DOCS, HOUSE, code, tables

HEADS = ("what dies", "when", "what is kept", "what happens on resumption", "test")
ROWS = list(tables(DOCS / "operations.md", *HEADS))
FLAGS = {"b0": True, "b1": False, "b2": False}


def _tests() -> set[str]:
    """The ids of all tests, without parameters."""
    found = set()
    for path in sorted((HOUSE / "tests").glob("test_*.py")):
        for item in ast.parse(path.read_text()).body:
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and item.name.startswith("test_"):
                found.add(f"{path.name}::{item.name}")
    return found


def test_every_row_of_the_failure_matrix_names_a_test_that_exists() -> None:
    assert len(ROWS) >= 20
    known = _tests()
    assert not [row for row in ROWS if code(row[4]) not in known]
    assert all(all(cell for cell in row) for row in ROWS)


# -- a killed process ------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Where a run may be killed, beside a ledger of its own."""
    with tempfile.TemporaryDirectory(prefix="ledger-") as folder:
        address = Path(folder) / "socket"
        pid, alive = ledger.start(address)
        yield Place(folder=tmp_path / "runs", ledger=address)
        os.close(alive)
        os.waitpid(pid, 0)


def _spec(nodes: dict[str, Any], ending: str = "completes", **more: Any) -> RandomSpec:
    spec = {"cogwork": "v1", "name": "killed", "input": dict.fromkeys(FLAGS, "boolean"), "nodes": nodes, **more}
    return RandomSpec(number=1, spec=spec, library={}, given=FLAGS, ending=ending, free=frozenset())


def _call(tool: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"type": "tool", "tool": f"kills.{tool}", "args": {"value": value}, **more}


def _killed(place: Place, made: RandomSpec, kill: Kill) -> End:
    """The end of a run killed there, which is that of the same run unkilled."""
    graph = compiled(made)
    whole, end = (
        run_killed(Place(folder=place.folder / name, ledger=place.ledger), made, graph, plan)
        for name, plan in (("whole", []), ("killed", [kill]))
    )
    assert not whole.error and not whole.asked
    assert end.kills == 1, "the process was not killed"
    totals = Totals()
    judge(totals, whole, end, made, str(kill))
    assert totals.clean, totals.faults
    return end


def _needs(tmp_path: Path, *names: str) -> None:
    if missing := set(names) - features("sqlite", tmp_path):
        pytest.skip(f"not there yet: {', '.join(sorted(missing))}")


SENT = _spec({"a": _call("once", 1), "b": _call("once", "{{ a }}")})
TIMES = {"intent before": [], "intent after": ["a"], "call before": ["a"], "call after": ["a"]}
TIMES |= {"result before": ["a"], "result after": [], "writes before": [], "checkpoint committed": []}
"""Where the process is killed, and about which call a person is then asked: those whose end nobody has recorded."""


@pytest.mark.req("X5", "T4")
@pytest.mark.parametrize("where", TIMES)
def test_a_process_killed_around_a_write_asks_about_it_only_where_nobody_can_know(
    place: Place, tmp_path: Path, where: str
) -> None:
    _needs(tmp_path, "record")
    kill = Kill(place=where, times=2 if where == "checkpoint committed" else 1)
    assert _killed(place, SENT, kill).asked == TIMES[where]


@pytest.mark.req("X5")
@pytest.mark.parametrize("where", ["call before", "call after", "result before", "result after"])
def test_a_process_killed_around_a_repeatable_write_calls_it_again_under_its_key_and_asks_nobody(
    place: Place, tmp_path: Path, where: str
) -> None:
    _needs(tmp_path, "record")
    end = _killed(place, _spec({"a": _call("keyed", 1), "b": _call("keyed", "{{ a }}")}), Kill(place=where))
    assert not end.asked
    tries = {entry["step"]: entry["tries"] for entry in end.entries}
    assert tries == {"a": 2 if where in ("call after", "result before") else 1, "b": 1}


@pytest.mark.req("X5", "D4")
@pytest.mark.parametrize(
    "where", ["checkpoint before", "checkpoint after", "checkpoint committed", "writes before", "writes after"]
)
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_process_killed_at_a_write_of_a_checkpoint_goes_on_from_the_last_one(
    place: Place, where: str, times: int
) -> None:
    each = {"for_each": [1, 2], "nodes": {"s": _call("keyed", "{{ item }}")}, "depends_on": ["a"]}
    made = _spec({"a": _call("look", 1), "each": each, "ask": {"type": "human", "ask": "?", "form": {"n": "integer"}}})
    _killed(place, made, Kill(place=where, times=times))


def _everywhere(place: Place, made: RandomSpec) -> None:
    """Kill a run of it at every pass of its fuse."""
    place.folder.mkdir(parents=True)
    totals = hunt(place, made, seed=1, stride=2, budget=40)
    assert totals.kills >= 10
    assert totals.clean, totals.faults


UNDONE = {"undo": {"tool": "kills.unsend", "args": {"value": "back"}}}
FAILS = _call("keyed", "last", depends_on=["b"])
FAILS["args"] |= {"fault": "tool_error", "faults": 99}


@pytest.mark.req("T4", "X5")
def test_a_process_killed_in_the_middle_of_undo_goes_on_with_what_is_left_of_it(place: Place, tmp_path: Path) -> None:
    _needs(tmp_path, "undo", "record")
    nodes = {"a": _call("once", 1, **UNDONE), "b": _call("once", "{{ a }}", **UNDONE), "last": FAILS}
    _everywhere(place, _spec(nodes, "fails last"))


@pytest.mark.req("X12", "X5")
def test_a_process_killed_in_the_middle_of_on_failure_does_the_rest_of_it_once(place: Place, tmp_path: Path) -> None:
    _needs(tmp_path, "on_failure", "record")
    block = {"nodes": {"f0": _call("once", "f0"), "f1": _call("once", "f1", depends_on=["f0"])}}
    _everywhere(place, _spec({"b": _call("look", 1), "last": FAILS}, "fails last", on_failure=block))


@pytest.mark.req("X12", "X5")
def test_a_process_killed_in_the_middle_of_finally_does_the_rest_of_it_once(place: Place, tmp_path: Path) -> None:
    _needs(tmp_path, "finally", "record")
    block = {"nodes": {"z0": _call("once", "z0"), "z1": _call("once", "z1", depends_on=["z0"])}}
    _everywhere(place, _spec({"a": _call("once", 1)}, **{"finally": block}))


@pytest.mark.req("X3", "T4", "X5")
def test_a_process_killed_in_the_middle_of_a_cancellation_ends_it_later(place: Place, tmp_path: Path) -> None:
    _needs(tmp_path, "cancel", "undo", "finally", "record")
    nodes = {"a": _call("once", 1, **UNDONE), "last": {"type": "human", "ask": "Stop?", "depends_on": ["a"]}}
    _everywhere(place, _spec(nodes, "cancelled", **{"finally": {"nodes": {"z": _call("once", "z")}}}))
