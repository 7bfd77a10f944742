"""The language: what reading, checking and building a workflow takes, and evaluating an expression."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import yaml

from benchmarks.figures import Cell, Table, median, verdict
from benchmarks.settings import ROOT, Settings
from benchmarks.subjects import services
from graphs.analysis.check import check
from graphs.build import build
from graphs.language.load import load
from graphs.language.yaml import read_yaml
from nodes.template import parse_template

MAX_SECONDS = 1.5
"""For check and build of the big workflow together."""
MAX_MICROSECONDS = 10.0
"""For one warm evaluation."""
EVALUATIONS = 10_000
TIMES = 5


async def language(settings: Settings) -> list[Table]:
    """Milliseconds for reading, checking and building; microseconds for an expression."""
    table = Table(
        name="language", title="the language (medians)", columns=("what", "nodes", "value", "unit", "limit", "met")
    )
    settings.tell("language")
    table.rows.extend(_big(settings.size * 10))
    table.rows.extend(_texts(settings.size))
    table.rows.extend(_expressions())
    _help(table)
    return [table]


def document(size: int) -> dict[str, Any]:
    """A workflow of ``size`` steps in groups of five: a tool, two transforms, a condition and a join, chained loosely."""
    nodes: dict[str, Any] = {}
    for group in range(size // 5):
        at, before = f"g{group}", f"g{group - 3}_join.total" if group >= 3 else "input.start"
        nodes[f"{at}_fetch"] = {"type": "tool", "tool": "bench.wait", "args": {"seconds": f"{{{{ {before} }}}}"}}
        nodes[f"{at}_double"] = {"type": "transform", "set": {"value": f"{{{{ {at}_fetch * 2 }}}}", "from": f"{at}"}}
        nodes[f"{at}_is_big"] = {"type": "condition", "cases": [{"if": f"{at}_double.value > 3", "then": f"{at}_big"}]}
        nodes[f"{at}_big"] = {"type": "transform", "set": f"{{{{ {at}_double.value + 1 }}}}"}
        total = f"{{{{ ({at}_big | default: 0) + {at}_fetch }}}}"
        nodes[f"{at}_join"] = {
            "type": "transform",
            "set": {"total": total, "text": f"group {group}: {{{{ {at}_fetch }}}}"},
        }
    start = {"start": {"type": "number", "default": 1}}
    return {"cogwork": "v1", "name": "big", "input": start, "nodes": nodes}


def _big(size: int) -> list[tuple[Cell, ...]]:
    raw = document(size)
    found = services()
    loading = _milliseconds(lambda: load(raw))
    workflow = load(raw)
    checking = _milliseconds(lambda: check(workflow, found, _no_other))
    building = _milliseconds(lambda: build(workflow, found, _no_other))
    limit = MAX_SECONDS * 1000
    both = checking + building
    return [
        ("load from a mapping", size, loading, "ms", None, None),
        ("check", size, checking, "ms", None, None),
        ("build (checks again)", size, building, "ms", None, None),
        ("check + build", size, both, "ms", limit, verdict(both <= limit)),
    ]


def _texts(size: int) -> list[tuple[Cell, ...]]:
    text = yaml.safe_dump(document(size), sort_keys=False)
    return [
        ("read YAML", size, _milliseconds(lambda: read_yaml(text)), "ms", None, None),
        ("load from YAML", size, _milliseconds(lambda: load(text)), "ms", None, None),
    ]


def _expressions() -> list[tuple[Cell, ...]]:
    source = "{{step.items[0].name}}"
    names = {"step": {"items": [{"name": "x"}]}}
    parsed = parse_template(source)
    warm = _milliseconds(lambda: [parsed.render(names) for _ in range(EVALUATIONS)]) * 1000 / EVALUATIONS
    return [(f"evaluate {source}, warm", None, warm, "us", MAX_MICROSECONDS, verdict(warm <= MAX_MICROSECONDS))]


def _help(table: Table) -> None:
    if find_spec("cogwork.__main__") is None:
        table.notes.append("skipped: `cogwork --help`, as there is no command line yet")
        return
    command = [sys.executable, "-m", "cogwork", "--help"]
    took = _milliseconds(lambda: subprocess.run(command, cwd=ROOT, check=True, capture_output=True))
    table.rows.append(("cogwork --help", None, took, "ms", None, None))


def _milliseconds(action: Callable[[], object]) -> float:
    """The median of a few calls after a first one."""
    action()
    took = []
    for _ in range(TIMES):
        start = time.perf_counter()
        action()
        took.append(time.perf_counter() - start)
    return median(took) * 1000


def _no_other(name: str, where: Any) -> None:
    """The benchmarks use no other workflow."""
