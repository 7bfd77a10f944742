"""What an attempt at a segment finds in the records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.executions.record import Execution
from cogwork.executions.store import found
from cogwork.records import payloads
from cogwork.records.tables.executions import SEGMENTS
from state.values import Json


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a segment; ``worked`` are the seconds of the execution's segments before this one, ``context`` is what the
    execution began with, ``input`` is read where nobody has begun it yet."""

    execution: Execution
    number: int
    command: Mapping[str, Json]
    worked: float
    context: Mapping[str, Json] | None = None
    input: Json = None


_SEGMENTS: Final = sa.select(SEGMENTS.c.number, SEGMENTS.c.command, SEGMENTS.c.started_at, SEGMENTS.c.ended_at).where(
    SEGMENTS.c.execution_id == sa.bindparam("name", type_=sa.String),
    SEGMENTS.c.number <= sa.bindparam("upto", type_=sa.Integer),
)


def attempted(connection: Connection, name: str, number: int) -> Attempt:
    """The segment as it stands.

    Raises:
        EngineError: ``execution_not_found``.
    """
    execution = found(connection, name)
    rows = connection.execute(_SEGMENTS, {"name": name, "upto": number}).all()
    command = next((row.command for row in rows if row.number == number), None)
    over = [row for row in rows if row.number < number and row.started_at is not None and row.ended_at is not None]
    worked = sum((row.ended_at - row.started_at).total_seconds() for row in over)
    first = next((row.command for row in rows if row.number == 1), None) or {}
    input = payloads.found(connection, execution.input) if not execution.run else None
    return Attempt(execution, number, command or {"kind": "go_on"}, worked, first.get("context") or None, input)
