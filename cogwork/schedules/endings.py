"""Executions of another workflow that have ended, in the order of their ends, late commits included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.records.columns import instant, micros
from cogwork.records.payloads import found
from cogwork.records.tables.executions import EXECUTIONS
from graphs.language.triggers import WorkflowTrigger
from state.values import Json

AGAIN: Final = timedelta(seconds=60)
"""How far behind the last end is read once more: an end may be committed after a later one."""
PAGE: Final = 200
DEPTH: Final = "trigger_depth"
"""The key in an execution's metadata that counts how many triggers have led to it."""
MAX_DEPTH: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An execution that has ended, and where the reading goes on behind it."""

    row: Mapping[str, Any]

    @property
    def at(self) -> datetime:
        """When it ended."""
        at: datetime = self.row["ended_at"]
        return at

    @property
    def depth(self) -> int:
        """How many triggers have led to it."""
        metadata = self.row["metadata"]
        depth = metadata.get(DEPTH, 0) if isinstance(metadata, dict) else 0
        return depth if isinstance(depth, int) else MAX_DEPTH

    def event(self, connection: Connection) -> dict[str, Json]:
        """What expressions see."""
        try:
            output = found(connection, self.row["output"])
        except EngineError as err:
            output = {"unreadable": str(err)}
        return {
            "execution": self.row["id"],
            "workflow": self.row["workflow"],
            "version": self.row["version"],
            "status": self.row["status"],
            "output": output,
            "error": self.row["error"],
            "ended_at": self.at.isoformat(timespec="seconds"),
        }


def first_position(now: datetime) -> Json:
    """Where a new trigger begins: with the ends that come."""
    return {"ended_at": micros(now), "from": micros(now)}


def ended_since(
    connection: Connection, definition: WorkflowTrigger, position: Json, behind: Ended | None
) -> list[Ended]:
    """A page of the executions that ended since the position, or behind one of them."""
    columns = [EXECUTIONS.c[name] for name in _COLUMNS]
    query = sa.select(*columns).where(
        EXECUTIONS.c.ended_at.is_not(None),
        EXECUTIONS.c.workflow == definition.of,
        EXECUTIONS.c.status.in_(list(definition.on)),
    )
    if behind is None:
        low = max(instant(position["from"]), instant(position["ended_at"]) - AGAIN)
        query = query.where(EXECUTIONS.c.ended_at >= low)
    else:
        pair = sa.tuple_(EXECUTIONS.c.ended_at, EXECUTIONS.c.id)
        last = sa.tuple_(sa.literal(behind.at, EXECUTIONS.c.ended_at.type), sa.literal(behind.row["id"]))
        query = query.where(EXECUTIONS.c.ended_at >= behind.at, pair > last)
    rows = connection.execute(query.order_by(EXECUTIONS.c.ended_at, EXECUTIONS.c.id).limit(PAGE)).mappings()
    return [Ended(row=dict(row)) for row in rows]


_COLUMNS: Final = ("id", "workflow", "version", "status", "output", "error", "metadata", "ended_at")
