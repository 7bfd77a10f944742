"""Writes down what of a schedule is due, and how far it has been dealt with, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.records.tables.schedules import SCHEDULES
from cogwork.schedules.catching_up import due
from cogwork.schedules.events import input_from
from cogwork.schedules.firings import firing_id, next_firing, shift_of
from cogwork.schedules.rows import Request, ScheduleRecord, firing_row, insert_once, schedule_of

BATCH: Final = 50


def plan_due(connection: Connection, now: datetime) -> int:
    """Plan the firings of some of the schedules that are due; how many schedules. Who comes second finds them planned."""
    query = (
        sa.select(SCHEDULES)
        .where(SCHEDULES.c.next_at <= now)
        .order_by(SCHEDULES.c.next_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    rows = connection.execute(query).mappings().all()
    for row in rows:
        _plan_row(connection, row, now)
    return len(rows)


def _plan_row(connection: Connection, row: Mapping[Any, Any], now: datetime) -> None:
    try:
        plan(connection, schedule_of(row), now)
    except EngineError as err:
        # One that cannot be computed must not hold up the others: it rests until it is changed.
        rest = sa.update(SCHEDULES).where(SCHEDULES.c.id == row["id"]).values(next_at=None, after=now)
        connection.execute(rest)
        told = f"{err.code}: {err}"
        at = row["next_at"] or now
        insert_once(connection, [firing_row(firing_id(row["id"], at), row["id"], at, now, "failed", detail=told)])


def plan(connection: Connection, schedule: ScheduleRecord, now: datetime) -> None:
    """Record the schedule's firings up to ``now`` and move it there.

    Raises:
        EngineError: its definition cannot be used.
    """
    shift = shift_of(schedule.id, schedule.definition)
    found = due(schedule.definition, schedule.after, now, shift)
    rows = []
    if found.earlier is not None:
        first, last = found.earlier
        detail = f"missed, with all others from {first:%Y-%m-%dT%H:%M:%SZ} to {last:%Y-%m-%dT%H:%M:%SZ}"
        rows.append(
            firing_row(firing_id(schedule.id, last, shift), schedule.id, last, now, "skipped_catch_up", detail=detail)
        )
    for at in found.missed:
        detail = f"missed, and catch_up is {schedule.definition.catch_up}"
        rows.append(
            firing_row(firing_id(schedule.id, at, shift), schedule.id, at, now, "skipped_catch_up", detail=detail)
        )
    rows += [planned(schedule, firing_id(schedule.id, at, shift), at, now) for at in found.fire]
    insert_once(connection, rows)
    after = max(schedule.after, now)
    following = next_firing(schedule.definition, after, shift=shift) if schedule.enabled else None
    moved = sa.update(SCHEDULES).where(SCHEDULES.c.id == schedule.id).values(after=after, next_at=following)
    connection.execute(moved)


def planned(
    schedule: ScheduleRecord, fire: str, at: datetime, now: datetime, *, forced: bool = False
) -> dict[str, Any]:
    """The row of a firing that is to start an execution; a ``forced`` one asks for no overlap."""
    event = {"type": "schedule", "schedule": schedule.name, "id": fire, "due_at": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
    event["at"] = event["due_at"]
    try:
        given = input_from(schedule.input, event, {})
    except EngineError as err:
        return firing_row(fire, schedule.id, at, now, "failed", detail=f"{err.code}: {err}")
    request = Request(
        workflow=schedule.workflow,
        version=schedule.version,
        input=given,
        options=schedule.options,
        origin=origin_of(schedule),
        overlap="allow" if forced else schedule.definition.overlap,
    )
    return firing_row(fire, schedule.id, at, now, "planned", request=request, wake_at=now)


def origin_of(schedule: ScheduleRecord) -> str:
    """What the executions of a schedule name as their origin."""
    return f"schedule:{schedule.id}"
