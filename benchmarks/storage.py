"""Storage: how many bytes a run leaves in its database, in plain LangGraph and in cogwork."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from benchmarks.dags import Dag, chain
from benchmarks.figures import Cell, Table, verdict
from benchmarks.settings import Settings
from benchmarks.subjects import by_hand, document, services
from cogwork.store.checkpoints import SqliteCheckpoints
from graphs.build import build
from graphs.language.load import load

CARRIED = 100_000
"""Characters of the value that the chain carries; random, so that nothing can be saved by packing it."""
MEGABYTE = 1_000_000
CARRYING_LIMIT, TINY_LIMIT = 1 * MEGABYTE, 10 * MEGABYTE
CONFIG: Any = {"configurable": {"thread_id": "kept"}, "recursion_limit": 100_000}


async def storage(settings: Settings) -> list[Table]:
    """Bytes of the database after one run, its log written back."""
    table = Table(
        name="storage",
        title="database after one run (MB)",
        columns=("run", "nodes", "plain LangGraph", "cogwork", "ratio", "limit", "met"),
    )
    short, long = chain(max(2, settings.size // 2)), chain(settings.size * 10)
    for name, dag, carried, limit in (
        (f"a chain that carries {CARRIED // 1000} KB", short, CARRIED, CARRYING_LIMIT),
        ("a chain of tiny values", long, 0, TINY_LIMIT),
    ):
        settings.tell(f"storage: {name}")
        table.rows.append(await _row(name, dag, carried, limit))
    return [table]


async def _row(name: str, dag: Dag, carried: int, limit: int) -> tuple[Cell, ...]:
    text = random.Random(1).randbytes(carried // 2).hex()
    with tempfile.TemporaryDirectory() as folder:
        plain, own = Path(folder) / "plain.sqlite", Path(folder) / "own.sqlite"
        await _by_hand(dag, text, plain)
        await _as_workflow(dag, text, own)
        theirs, ours = plain.stat().st_size, own.stat().st_size
    return (
        name,
        len(dag.tasks),
        theirs / MEGABYTE,
        ours / MEGABYTE,
        ours / theirs,
        limit / MEGABYTE,
        verdict(ours <= limit),
    )


async def _by_hand(dag: Dag, text: str, path: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        state = await by_hand(dag, saver).ainvoke({"input": {"text": text}}, CONFIG, durability="sync")
        _complete(state, dag)


async def _as_workflow(dag: Dag, text: str, path: Path) -> None:
    spec = {**document(dag, pure=False), "input": {"text": {"type": "string", "default": ""}}}
    with SqliteCheckpoints(path) as saver:
        graph = build(load(spec), services(), lambda name, where: None, checkpointer=saver)
        _complete(await graph.ainvoke({"text": text}, CONFIG), dag)


def _complete(state: Any, dag: Dag) -> None:
    if len(state["path"]) != len(dag.tasks):
        raise RuntimeError(f"{len(state['path'])} of {len(dag.tasks)} tasks ran")
