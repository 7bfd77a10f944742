"""``python -m benchmarks``: measure, print a table per benchmark, and write JSON where asked."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks.durable import durable
from benchmarks.engine import engine
from benchmarks.figures import Table, report, show
from benchmarks.http import http
from benchmarks.isolated import isolated
from benchmarks.language import language
from benchmarks.listing import listing
from benchmarks.makespan import makespan
from benchmarks.mcp import tools
from benchmarks.metrics import metrics
from benchmarks.models import models
from benchmarks.overhead import overhead
from benchmarks.pausing import pausing
from benchmarks.prompts import prompts
from benchmarks.sealing import sealing
from benchmarks.settings import Settings, quick
from benchmarks.storage import storage
from benchmarks.toolsearch import toolsearch

BENCHMARKS: dict[str, Callable[[Settings], Awaitable[list[Table]]]] = {
    "language": language,
    "overhead": overhead,
    "storage": storage,
    "durable": durable,
    "pausing": pausing,
    "toolsearch": toolsearch,
    "tools": tools,
    "models": models,
    "makespan": makespan,
    "prompts": prompts,
    "metrics": metrics,
    "isolated": isolated,
    "engine": engine,
    "listing": listing,
    "sealing": sealing,
    "http": http,
}
WIDTH = 160


def main(arguments: list[str] | None = None) -> int:
    """Run what the arguments ask for; 0 also where a target is missed, as the tables say so."""
    asked = _parser().parse_args(arguments)
    settings = _settings(asked)
    console, tables = Console(width=WIDTH), []
    for name in asked.only or BENCHMARKS:
        for table in asyncio.run(_awaited(BENCHMARKS[name](settings))):
            show(table, console)
            tables.append(table)
    if asked.json is not None:
        asked.json.write_text(json.dumps(report(tables), indent=2) + "\n", encoding="utf-8")
    return 0


async def _awaited(tables: Awaitable[list[Table]]) -> list[Table]:
    return await tables


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(BENCHMARKS), help="one benchmark; may be repeated")
    parser.add_argument("--quick", action="store_true", help="few repetitions and short sleeps: enough to see it work")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--runs", type=int, help="runs of each makespan (20)")
    parser.add_argument("--repetitions", type=int, help="repetitions of each overhead figure (40)")
    parser.add_argument("--critical-path", type=float, help="seconds of each makespan's longest path (3)")
    parser.add_argument("--graph", action="append", default=[], help="part of a real graph's name; may be repeated")
    parser.add_argument("--data", type=Path, help="folder of the real graphs (../shared/data/workflow_dags)")
    return parser


def _settings(asked: argparse.Namespace) -> Settings:
    base = Settings(only_graphs=tuple(asked.graph))
    if asked.data is not None:
        base = replace(base, data=asked.data)
    if asked.quick:
        base = quick(base)
    given = {name: getattr(asked, name) for name in ("runs", "repetitions", "critical_path")}
    return replace(base, **{name: value for name, value in given.items() if value is not None})


if __name__ == "__main__":
    raise SystemExit(main())
