"""How schedules and firings are kept: checked, found, changed, each in the transaction of the caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from cogwork.errors import EngineError, not_found
from cogwork.records.pages import Page, paged
from cogwork.records.tables.schedules import FIRINGS, SCHEDULES
from cogwork.schedules.events import checked_mapping
from cogwork.schedules.firings import checked, next_firing, shift_of
from cogwork.schedules.planning import plan
from cogwork.schedules.rows import Firing, ScheduleRecord, firing_of, given_definition, plain_definition, schedule_of
from graphs.language.triggers import Schedule, Starting
from state.values import Json


def made_schedule(
    schedule_id: str,
    name: str,
    workflow: str,
    definition: Schedule | Mapping[str, Any],
    version: str,
    input: Mapping[str, Json] | None,
    options: Mapping[str, Json] | None,
    enabled: bool,
    now: datetime,
) -> ScheduleRecord:
    """A new schedule, checked.

    Raises:
        EngineError: ``invalid_input``.
    """
    checked_names(name, workflow)
    given = checked(given_definition(Schedule, definition, "schedule"))
    checked_mapping(Starting(input=dict(input or {})))
    return ScheduleRecord(
        id=schedule_id,
        name=name,
        workflow=workflow,
        version=str(version),
        source="engine",
        definition=given,
        input=dict(input or {}),
        options=dict(options or {}),
        enabled=enabled,
        after=now,
        next_at=next_firing(given, now, shift=shift_of(schedule_id, given)) if enabled else None,
        created_at=now,
        updated_at=now,
    )


def checked_names(name: str, workflow: str) -> None:
    """See that both can be kept.

    Raises:
        EngineError: ``invalid_input``.
    """
    for what, text in (("name", name), ("workflow", workflow)):
        if not text.strip() or len(text) > 255 or not text.isprintable():
            raise EngineError("invalid_input", f"The {what} {text[:60]!r} is none: give up to 255 printable characters")


def insert_schedule(connection: Connection, made: ScheduleRecord) -> None:
    """Insert a schedule that is new.

    Raises:
        EngineError: ``conflict``; the name is taken.
    """
    values = {field: getattr(made, field) for field in ScheduleRecord.__dataclass_fields__}
    try:
        with connection.begin_nested():
            connection.execute(
                sa.insert(SCHEDULES).values(**values | {"definition": plain_definition(made.definition)})
            )
    except IntegrityError as err:
        told = f"There is a schedule {made.name!r} already: choose another name, or change that one"
        raise EngineError("conflict", told, name=made.name) from err


def found_schedule(connection: Connection, name: str, *, lock: bool = False) -> ScheduleRecord:
    """The schedule of that name or id; with ``lock``, nobody else changes it until the transaction ends.

    Raises:
        EngineError: ``schedule_not_found``.
    """
    query = sa.select(SCHEDULES).where(sa.or_(SCHEDULES.c.name == name, SCHEDULES.c.id == name))
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    if row is None:
        known = connection.execute(sa.select(SCHEDULES.c.name).limit(1000)).scalars().all()
        raise not_found("schedule_not_found", "schedule", name, known)
    return schedule_of(row)


def changed_schedule(connection: Connection, name: str, changes: Mapping[str, Any], now: datetime) -> ScheduleRecord:
    """Change a schedule in this transaction.

    Raises:
        EngineError: ``invalid_input``, ``schedule_not_found``.
    """
    old = found_schedule(connection, name, lock=True)
    given = {**changes}
    if "definition" in given:
        given["definition"] = checked(given_definition(Schedule, given["definition"], "schedule"))
    if "input" in given:
        given["input"] = dict(given["input"] or {})
        checked_mapping(Starting(input=given["input"]))
    checked_names(old.name, given.get("workflow", old.workflow))
    new = replace(old, **given, updated_at=now)
    if new.definition != old.definition:
        if old.enabled:
            plan(connection, old, now)
        after = max(old.after, now)
        shift = shift_of(new.id, new.definition)
        following = next_firing(new.definition, after, shift=shift) if new.enabled else None
        new = replace(new, after=after, next_at=following)
    _write(connection, new)
    return new


def switched_schedule(connection: Connection, name: str, enabled: bool, now: datetime) -> ScheduleRecord:
    """Let it fire, or no more, in this transaction.

    Raises:
        EngineError: ``schedule_not_found``.
    """
    old = found_schedule(connection, name, lock=True)
    if old.enabled == enabled:
        return old
    after = max(old.after, now)
    following = next_firing(old.definition, after, shift=shift_of(old.id, old.definition)) if enabled else None
    new = replace(old, enabled=enabled, after=after, next_at=following, updated_at=now)
    if not enabled:
        drop_planned(connection, old.id, "the schedule was disabled")
    _write(connection, new)
    return new


def _write(connection: Connection, new: ScheduleRecord) -> None:
    fields = ("workflow", "version", "input", "options", "enabled", "after", "next_at", "updated_at")
    values = {field: getattr(new, field) for field in fields} | {"definition": plain_definition(new.definition)}
    connection.execute(sa.update(SCHEDULES).where(SCHEDULES.c.id == new.id).values(**values))


def drop_planned(connection: Connection, source_id: str, why: str) -> None:
    """Settle the firings of a source that have not begun."""
    planned_ones = (FIRINGS.c.source_id == source_id, FIRINGS.c.outcome == "planned", FIRINGS.c.wake_at.is_not(None))
    dropped = {"outcome": "dropped", "detail": why, "wake_at": None, "request": None}
    connection.execute(sa.update(FIRINGS).where(*planned_ones).values(**dropped))


def firings_of(connection: Connection, source_id: str, limit: int, cursor: str | None) -> Page[Firing]:
    """A page of the firings of a source.

    Raises:
        EngineError: ``invalid_input``, ``invalid_cursor``.
    """
    query = sa.select(FIRINGS).where(FIRINGS.c.source_id == source_id)
    filters = {"list": "firings", "source": source_id}
    page = paged(connection, query, FIRINGS.c.due_at, FIRINGS.c.id, filters=filters, limit=limit, cursor=cursor)
    return page.map(firing_of)


def read_firing(connection: Connection, firing_id: str) -> Firing:
    """The firing of that id.

    Raises:
        EngineError: ``database_error``; it is gone.
    """
    row = connection.execute(sa.select(FIRINGS).where(FIRINGS.c.id == firing_id)).mappings().first()
    if row is None:
        raise EngineError("database_error", f"The firing {firing_id} is gone")
    return firing_of(row)
