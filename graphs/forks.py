"""What a fork begins with: a new run that keeps what is done, and answers for nothing of it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import StateUpdate

from graphs.runtime.frames import Record

if TYPE_CHECKING:
    from graphs.graph import WorkflowGraph

_FORGOTTEN = ("reason", "error", "cancelled", "undo", "also", "ended_at", "limits", "budget", "worked")


def fresh(about: Record) -> Record:
    """The entries of a run's record that a fork of it begins with."""
    return {
        "id": uuid.uuid4().hex,
        "forked_from": about.get("id"),
        "status": "running",
        "rev": int(about.get("rev") or 0) + 1,
        **dict.fromkeys(_FORGOTTEN),
    }


def anew(records: Mapping[str, Record]) -> dict[str, Record]:
    """The records of steps that mean something else in a fork.

    What the first run did is that run's to take back; its call in doubt is made by the fork for itself.
    """
    changed: dict[str, Record] = {}
    for path, record in records.items():
        if "doubt" in record:
            changed[path] = {"status": "again"}
        elif "undo" in record:
            changed[path] = {name: value for name, value in record.items() if name != "undo"}
    return changed


async def written(graph: WorkflowGraph, config: RunnableConfig, values: Any) -> None:
    """Change the state of a thread that the caller owns already; ``update_state`` would wait for it in vain."""
    await CompiledStateGraph.abulk_update_state(graph, config, [[StateUpdate(values, graph.plan.sink)]])


def latest(config: RunnableConfig) -> RunnableConfig:
    """The config without the checkpoint that it names."""
    return {**config, "configurable": {k: v for k, v in config["configurable"].items() if k != "checkpoint_id"}}
