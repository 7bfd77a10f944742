"""The manifest of the requirements and the tests that show them are held against each other, in both directions."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.requirements import ROWS, TESTS

HERE = Path(__file__).parent
SOURCE = HERE.parent.parent / "shared" / "REQUIREMENTS.md"


def marked() -> dict[str, set[str]]:
    """Row id to the tests that carry it, as ``file.py::function``."""
    found: dict[str, set[str]] = {}
    for path in sorted(HERE.glob("test_*.py")):
        for name, rows in _marks(ast.parse(path.read_text(encoding="utf-8"))):
            for row in rows:
                found.setdefault(row, set()).add(f"{path.name}::{name}")
    return found


def _marks(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    whole = [row for node in tree.body for row in _module_rows(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            rows = whole + [row for decorator in node.decorator_list for row in _rows(decorator)]
            if rows:
                yield node.name, rows


def _module_rows(node: ast.stmt) -> list[str]:
    is_mark = isinstance(node, ast.Assign) and any(
        isinstance(t, ast.Name) and t.id == "pytestmark" for t in node.targets
    )
    return [row for call in ast.walk(node) for row in _rows(call)] if is_mark else []


def _rows(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "req":
        return [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    return []


def test_every_test_that_carries_a_row_is_listed_under_it() -> None:
    assert marked() == {row: set(tests) for row, tests in TESTS.items()}, (
        "tests/requirements.py is out of date: run python -m tests.requirements"
    )


def test_every_row_that_is_done_has_a_test_and_every_other_says_what_is_missing() -> None:
    for row, (state, missing) in ROWS.items():
        assert state in ("done", "partly", "not yet"), row
        assert bool(TESTS.get(row)) == (state != "not yet"), f"{row} is {state!r}"
        assert bool(missing) == (state != "done"), f"{row} is {state!r}: say what is missing, and only then"
    assert set(TESTS) <= set(ROWS)


def test_the_rows_are_those_of_the_requirements() -> None:
    if not SOURCE.exists():
        pytest.skip("the requirements document is not beside this checkout")
    ids = re.findall(r"^\| ([A-Z]\d+) \|", SOURCE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(ids) == sorted(ROWS)
