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

_served = _app()

planning = _served.compile("planning")
coding = _served.compile("coding")
information = _served.compile("information")
debugging = _served.compile("debugging")
generic = _served.compile("generic")
auto = _served.compile("auto")
incident_triage = _served.compile("incident_triage")


@asynccontextmanager
async def checkpoints() -> AsyncIterator[SqliteCheckpoints | PostgresCheckpoints]:
    """The checkpoints of the settings, opened for as long as the server runs."""
    saver = _served.checkpoints()
    try:
        yield saver
    finally:
        saver.close()
