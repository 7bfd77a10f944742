"""What the times of steps and stretches tell of an execution: the time that it saved by parallelism, and that it rested."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from cogwork.metrics.populations import HOLDERS, REAL, Condition
from cogwork.records.columns import micros
from cogwork.records.tables.executions import SEGMENTS, STEPS

PAUSED: Final = "paused"
"""The status of an execution that rests; the outcome of its stretch says why beside it: ``paused (human)``."""
INTERRUPTED: Final = "paused (interrupted)"
"""Whoever worked on it has stopped: it waits for a worker, not for a person."""


def overlaps(population: sa.Subquery, own: Condition) -> sa.Select[Any]:
    """Per key the microseconds of work that took place beside other work of the same execution.

    That is the sum of the times of its ``own`` steps less the time in which any of them went on. Steps that hold others and those
    that wait for a person do no work of their own.
    """
    start, end = (sa.type_coerce(column, sa.BigInteger) for column in (STEPS.c.started_at, STEPS.c.ended_at))
    before = sa.func.max(end).over(
        partition_by=STEPS.c.execution_id,
        order_by=(STEPS.c.started_at, STEPS.c.path),
        rows=(None, -1),
    )
    worked = (
        sa.select(population.c.key, start.label("start"), end.label("end"), before.label("before"))
        .select_from(population.join(STEPS, own))
        .where(STEPS.c.ended_at > STEPS.c.started_at, REAL, STEPS.c.kind.not_in((*HOLDERS, "human")))
        .subquery("worked")
    )
    until = sa.case((worked.c.end < worked.c.before, worked.c.end), else_=worked.c.before)
    saved = sa.case((until > worked.c.start, until - worked.c.start), else_=0)
    return sa.select(worked.c.key, sa.func.sum(saved)).group_by(worked.c.key)


def rests(population: sa.Subquery, now: datetime) -> sa.Select[Any]:
    """Per key the microseconds from stretches that ended in a pause to the next one, or up to ``now`` where there is none yet."""
    table = SEGMENTS.c
    end, queued = (sa.type_coerce(column, sa.BigInteger) for column in (table.ended_at, table.queued_at))
    following = sa.func.lead(queued).over(partition_by=table.execution_id, order_by=table.number)
    stretches = (
        sa.select(
            population.c.key,
            population.c.status,
            table.outcome,
            end.label("end"),
            following.label("following"),
        )
        .select_from(population.join(SEGMENTS, table.execution_id == population.c.execution_id))
        .subquery("stretches")
    ).c
    resting = sa.case((stretches.status == PAUSED, sa.literal(micros(now), sa.BigInteger)))
    again = sa.func.coalesce(stretches.following, resting)
    paused = sa.and_(stretches.outcome.startswith(PAUSED), stretches.outcome != INTERRUPTED)
    rested = sa.case((sa.and_(paused, again > stretches.end), again - stretches.end), else_=0)
    return sa.select(stretches.key, sa.func.sum(rested)).group_by(stretches.key)
