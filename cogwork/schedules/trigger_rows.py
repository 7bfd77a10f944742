"""How event triggers are kept: checked, found, changed, each in the transaction of the caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from cogwork.errors import EngineError, not_found
from cogwork.records.tables.schedules import TRIGGERS
from cogwork.schedules.endings import first_position
from cogwork.schedules.events import checked_mapping
from cogwork.schedules.keeping import checked_names, drop_planned
from cogwork.schedules.rows import Source, TriggerRecord, given_definition, plain_definition, trigger_of
from graphs.language.trigger_faults import wrong_with
from graphs.language.triggers import (
    TRIGGERS as KINDS,
)
from graphs.language.triggers import (
    EventTrigger,
    FileTrigger,
    ScheduleTrigger,
    WorkflowTrigger,
    trigger_class,
)


def checked_trigger(definition: Any) -> EventTrigger:
    """The definition of an event trigger, as a model or a mapping with its ``type``.

    Raises:
        EngineError: ``invalid_input``; what is wrong, and what to do.
    """
    chosen = trigger_class(definition)
    if chosen is None or issubclass(chosen, ScheduleTrigger):
        kind = definition.get("type") if isinstance(definition, Mapping) else None
        listed = ", ".join(kind for kind in KINDS if kind != "schedule")
        raise EngineError("invalid_input", f"{str(kind)[:60]!r} is no type of event: there are {listed}")
    given: EventTrigger = given_definition(chosen, definition, "trigger")
    if wrong := wrong_with(given):
        told = "; ".join(f"{each.message} ({each.hint})" for each in wrong)
        raise EngineError("invalid_input", f"The trigger cannot be used: {told}", fields=[w.field for w in wrong])
    checked_mapping(given)
    return given


def made_trigger(
    trigger_id: str,
    name: str,
    workflow: str,
    definition: Any,
    version: str,
    now: datetime,
    *,
    enabled: bool = True,
    source: Source = "engine",
) -> TriggerRecord:
    """A new trigger, checked.

    Raises:
        EngineError: ``invalid_input``.
    """
    checked_names(name, workflow)
    given = checked_trigger(definition)
    return TriggerRecord(
        id=trigger_id,
        name=name,
        workflow=workflow,
        version=str(version),
        source=source,
        kind=given.type,
        definition=given,
        options=given.options,
        enabled=enabled,
        position=first_position(now) if isinstance(given, WorkflowTrigger) else None,
        next_at=now if enabled and polled(given) else None,
        created_at=now,
        updated_at=now,
    )


def polled(definition: EventTrigger) -> bool:
    """Whether its source is looked at every so often."""
    return isinstance(definition, FileTrigger | WorkflowTrigger)


def insert_trigger(connection: Connection, made: TriggerRecord) -> None:
    """Insert a trigger that is new.

    Raises:
        EngineError: ``conflict``; the name is taken.
    """
    try:
        with connection.begin_nested():
            connection.execute(sa.insert(TRIGGERS).values(**_values(made)))
    except IntegrityError as err:
        told = f"There is a trigger {made.name!r} already: choose another name, or delete that one"
        raise EngineError("conflict", told, name=made.name) from err


def found_trigger(connection: Connection, name: str, *, lock: bool = False) -> TriggerRecord:
    """The trigger of that name or id; with ``lock``, nobody else changes it until the transaction ends.

    Raises:
        EngineError: ``trigger_not_found``.
    """
    query = sa.select(TRIGGERS).where(sa.or_(TRIGGERS.c.name == name, TRIGGERS.c.id == name))
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    if row is None:
        known = connection.execute(sa.select(TRIGGERS.c.name).limit(1000)).scalars().all()
        raise not_found("trigger_not_found", "trigger", name, known)
    return trigger_of(row)


def switched_trigger(connection: Connection, name: str, enabled: bool, now: datetime) -> TriggerRecord:
    """Let it listen from now on, or no more.

    Raises:
        EngineError: ``trigger_not_found``.
    """
    old = found_trigger(connection, name, lock=True)
    if old.enabled == enabled:
        return old
    position = old.position
    if enabled:  # What happened meanwhile has passed it by: files are looked at anew, ends count from now.
        position = first_position(now) if isinstance(old.definition, WorkflowTrigger) else None
    else:
        drop_planned(connection, old.id, "the trigger was disabled")
    next_at = now if enabled and polled(old.definition) else None
    new = replace(old, enabled=enabled, position=position, next_at=next_at, updated_at=now)
    write_trigger(connection, new)
    return new


def remove_trigger(connection: Connection, trigger: TriggerRecord, why: str) -> None:
    """Delete a trigger; its firings that have not begun are dropped."""
    drop_planned(connection, trigger.id, why)
    connection.execute(sa.delete(TRIGGERS).where(TRIGGERS.c.id == trigger.id))


def write_trigger(connection: Connection, new: TriggerRecord) -> None:
    """Write what has changed of a trigger."""
    connection.execute(sa.update(TRIGGERS).where(TRIGGERS.c.id == new.id).values(**_values(new)))


def _values(trigger: TriggerRecord) -> dict[str, Any]:
    values = {field: getattr(trigger, field) for field in TriggerRecord.__dataclass_fields__}
    plain = plain_definition(trigger.definition)
    return values | {"definition": plain, "mapping": trigger.definition.input or {}}
