"""Makes the schedules and triggers that stand in specs agree with the published version."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.records.database import Records
from cogwork.records.tables.schedules import SCHEDULES, TRIGGERS
from cogwork.schedules.keeping import changed_schedule, drop_planned, insert_schedule, made_schedule
from cogwork.schedules.rows import TriggerRecord, trigger_of
from cogwork.schedules.store import utc_now
from cogwork.schedules.trigger_rows import insert_trigger, made_trigger, polled, remove_trigger, write_trigger
from graphs.language.triggers import EventTrigger, Schedule, ScheduleTrigger, Starting


async def sync(
    records: Records,
    workflow: str,
    triggers: Mapping[str, Starting],
    *,
    version: str = "",
    now: Callable[[], datetime] = utc_now,
) -> None:
    """Make the rows of the source ``spec`` agree with the triggers of the version that is published; none where none is.

    Rows are named ``<workflow>/<trigger>``. What has not changed goes on where it was. What is new begins now.

    Raises:
        EngineError: ``invalid_input``; a trigger cannot be used. ``conflict``; the engine has one of that name. Nothing is changed.
    """
    at = now()
    await records.writing(lambda connection: synced(connection, workflow, triggers, version, at))


def synced(
    connection: Connection, workflow: str, triggers: Mapping[str, Starting], version: str, now: datetime
) -> None:
    """``sync`` within a transaction of the caller, such as the one that moves the label."""
    schedules = {n: each for n, each in triggers.items() if isinstance(each, ScheduleTrigger)}
    events = {n: each for n, each in triggers.items() if not isinstance(each, ScheduleTrigger)}
    _schedules(connection, workflow, schedules, version, now)
    _events(connection, workflow, events, version, now)


def _schedules(
    connection: Connection, workflow: str, wanted: Mapping[str, ScheduleTrigger], version: str, now: datetime
) -> None:
    query = sa.select(SCHEDULES).where(SCHEDULES.c.workflow == workflow, SCHEDULES.c.source == "spec").with_for_update()
    kept = {row["name"]: row for row in connection.execute(query).mappings()}
    names = {f"{workflow}/{name}": trigger for name, trigger in wanted.items()}
    for name in kept.keys() - names.keys():
        drop_planned(connection, kept[name]["id"], "the published version has no such schedule")
        connection.execute(sa.delete(SCHEDULES).where(SCHEDULES.c.id == kept[name]["id"]))
    for name, trigger in names.items():
        definition = Schedule(**{field: getattr(trigger, field) for field in Schedule.model_fields})
        given = trigger.input or {}
        if name not in kept:
            made = made_schedule(
                _id("sch", name), name, workflow, definition, version, given, trigger.options, True, now
            )
            insert_schedule(connection, replace(made, source="spec"))
            continue
        changes = {
            "version": version,
            "input": dict(given),
            "options": dict(trigger.options),
            "definition": definition,
        }
        changed_schedule(connection, kept[name]["id"], changes, now)


def _events(connection: Connection, workflow: str, wanted: Mapping[str, Starting], version: str, now: datetime) -> None:
    query = sa.select(TRIGGERS).where(TRIGGERS.c.workflow == workflow, TRIGGERS.c.source == "spec").with_for_update()
    kept = {row["name"]: trigger_of(row) for row in connection.execute(query).mappings()}
    names = {f"{workflow}/{name}": trigger for name, trigger in wanted.items()}
    for name in kept.keys() - names.keys():
        remove_trigger(connection, kept[name], "the published version has no such trigger")
    for name, trigger in names.items():
        made = made_trigger(_id("trg", name), name, workflow, trigger, version, now, source="spec")
        if name not in kept:
            insert_trigger(connection, made)
        else:
            write_trigger(connection, _gone_on(kept[name], made))


def _gone_on(old: TriggerRecord, new: TriggerRecord) -> TriggerRecord:
    """The new form of a trigger, at the place that the old one had read to where both read the same source."""
    if old.definition == new.definition and old.version == new.version:
        return old
    moved = replace(new, created_at=old.created_at, enabled=old.enabled, next_at=new.next_at if old.enabled else None)
    same = _source(old.definition) == _source(new.definition)
    return replace(moved, position=old.position, next_at=old.next_at or moved.next_at) if same else moved


def _source(definition: EventTrigger) -> object:
    """What of a trigger says where its events come from."""
    names = ("type", "path", "channel", "database", "of")
    return [getattr(definition, name, None) for name in names], polled(definition)


def _id(prefix: str, name: str) -> str:
    return f"{prefix}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
