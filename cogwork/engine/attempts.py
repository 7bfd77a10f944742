"""The attempts at a segment, as they are recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.executions.record import Execution
from cogwork.records.tables.executions import SEGMENTS
from state.values import Json


@dataclass(slots=True)
class Attempt:
    """One attempt at a segment: ``count`` from 1; ``worked`` are the seconds of the execution's segments before this one;
    ``checkpoint`` is where the attempt before began, ``stuck`` how often in a row."""

    execution: Execution
    number: int
    command: Mapping[str, Json]
    count: int
    stuck: int
    checkpoint: str
    worked: float


def started(connection: Connection, execution: Execution, number: int, worker: str, now: datetime) -> Attempt:
    """Note that somebody begins the segment."""
    key = (SEGMENTS.c.execution_id == execution.id, SEGMENTS.c.number == number)
    row = connection.execute(sa.select(SEGMENTS).where(*key)).mappings().one()
    values = {"attempts": row["attempts"] + 1, "worker": worker, "started_at": row["started_at"] or now}
    connection.execute(sa.update(SEGMENTS).where(*key).values(**values))
    before = connection.execute(
        sa.select(SEGMENTS.c.started_at, SEGMENTS.c.ended_at).where(
            SEGMENTS.c.execution_id == execution.id, SEGMENTS.c.number < number, SEGMENTS.c.ended_at.is_not(None)
        )
    )
    worked = sum((end - begin).total_seconds() for begin, end in before if begin is not None and end is not None)
    return Attempt(
        execution=execution,
        number=number,
        command=row["command"] or {},
        count=row["attempts"] + 1,
        stuck=row["stuck"],
        checkpoint=row["checkpoint"],
        worked=worked,
    )


def ended(connection: Connection, attempt: Attempt, outcome: str, now: datetime) -> None:
    """Note how the segment ended."""
    key = (SEGMENTS.c.execution_id == attempt.execution.id, SEGMENTS.c.number == attempt.number)
    connection.execute(sa.update(SEGMENTS).where(*key).values(ended_at=now, outcome=outcome[:64]))
