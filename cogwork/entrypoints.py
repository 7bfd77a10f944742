"""What ``langgraph.json`` serves: the catalog's workflows as graphs, and the checkpoints."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")

from cogwork.app import app as _app

if TYPE_CHECKING:
    from cogwork.store.checkpoints import SqliteCheckpoints
    from cogwork.store.postgres import PostgresCheckpoints
    from graphs.graph import WorkflowGraph

_served = _app()

_recorder = _served.recorder("langgraph")


def _graph(name: str) -> WorkflowGraph:
    """A workflow of the catalog, whose runs are recorded as executions."""
    made = _served.compile(name)
    _served.specs().keep(made)
    made.observer = _recorder
    return made


planning = _graph("planning")
coding = _graph("coding")
information = _graph("information")
debugging = _graph("debugging")
generic = _graph("generic")
auto = _graph("auto")
incident_triage = _graph("incident_triage")


@asynccontextmanager
async def checkpoints() -> AsyncIterator[SqliteCheckpoints | PostgresCheckpoints]:
    """The checkpoints of the settings, opened for as long as the server runs."""
    saver = _served.checkpoints()
    try:
        yield saver
    finally:
        saver.close()
