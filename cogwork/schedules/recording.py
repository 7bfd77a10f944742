"""Records an event of a trigger as a firing: filtered, mapped to an input, told apart from those before."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.schedules.endings import DEPTH, MAX_DEPTH
from cogwork.schedules.events import input_from, met
from cogwork.schedules.rows import (
    Firing,
    Outcome,
    Request,
    TriggerRecord,
    firing_by_id,
    firing_of,
    firing_row,
    insert_once,
)
from state.values import Json


def event_id(trigger: TriggerRecord, key: str) -> str:
    """The id of the firing for the event that ``key`` tells from all others of the trigger."""
    return f"fire-{trigger.id}-{key}"


def record_event(
    connection: Connection,
    trigger: TriggerRecord,
    key: str,
    event: Mapping[str, Json],
    carried: Json,
    now: datetime,
    *,
    depth: int = 0,
    at: datetime | None = None,
) -> Firing:
    """Record the event, which happened ``at`` that instant or now, once; the firing, or the one that was recorded for it before."""
    fire = event_id(trigger, key)
    if (known := firing_by_id(connection, fire)) is not None:
        return firing_of(known, duplicate=True)
    insert_once(connection, [{**_row(trigger, fire, event, carried, now, depth), "due_at": at or now}])
    row = firing_by_id(connection, fire)
    assert row is not None
    return firing_of(row)


def record_note(
    connection: Connection, trigger: TriggerRecord, key: str, outcome: Outcome, detail: str, now: datetime
) -> None:
    """Record what people should know of a trigger and no event stands for, once per ``key``."""
    insert_once(connection, [firing_row(event_id(trigger, key), trigger.id, now, now, outcome, detail=detail)])


def _row(
    trigger: TriggerRecord, fire: str, event: Mapping[str, Json], carried: Json, now: datetime, depth: int
) -> dict[str, Any]:
    told = {
        "type": trigger.kind,
        "trigger": trigger.name,
        "id": fire,
        "at": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        **event,
    }
    if depth >= MAX_DEPTH:
        detail = f"{depth} triggers have led here one after the other: the chain ends, lest it never does"
        return firing_row(fire, trigger.id, now, now, "failed", detail=detail)
    try:
        if not met(trigger.definition.when, told):
            return firing_row(fire, trigger.id, now, now, "filtered", detail="when is false for this event")
        request = Request(
            workflow=trigger.workflow,
            version=trigger.version,
            input=input_from(trigger.definition.input, told, carried),
            options=_options(trigger, depth),
            origin=f"trigger:{trigger.id}",
        )
        return firing_row(fire, trigger.id, now, now, "planned", request=request, wake_at=now)
    except EngineError as err:
        return firing_row(fire, trigger.id, now, now, "failed", detail=f"{err.code}: {err}")


def _options(trigger: TriggerRecord, depth: int) -> dict[str, Json]:
    metadata = trigger.options.get("metadata")
    counted = {**(metadata if isinstance(metadata, dict) else {}), DEPTH: depth + 1}
    return {**trigger.options, "metadata": counted}
