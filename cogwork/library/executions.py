"""The version that the records say an execution goes on with, after it has been moved."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.records.tables.executions import EXECUTIONS


def note_version(connection: Connection, thread: str, version: tuple[str, int], digest: str) -> None:
    """Let the open execution on a thread be of another version: the workflow's id and the version's number."""
    mine = sa.and_(EXECUTIONS.c.thread == thread, EXECUTIONS.c.status.in_(("pending", "running", "paused")))
    change = sa.update(EXECUTIONS).where(mine)
    connection.execute(change.values(workflow_id=version[0], version=version[1], digest=digest))
