"""Schedules, triggers and firings as data, and how they stand in the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.records.payloads import encoded
from cogwork.records.tables.schedules import FIRINGS
from graphs.language.dump import plain
from graphs.language.triggers import EventTrigger, Overlap, Schedule, trigger_class
from state.values import Json

Source: TypeAlias = Literal["engine", "spec"]
Outcome: TypeAlias = Literal[
    "planned", "starting", "fired", "failed", "skipped_overlap", "skipped_catch_up", "filtered", "dropped", "gap"
]
MAX_REQUEST: Final = 16 * 1024 * 1024
"""Bytes of what a firing starts an execution with."""
MAX_DETAIL: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord:
    """A schedule as it is kept; ``after`` is the instant up to which its firings have been dealt with."""

    id: str
    name: str
    workflow: str
    version: str
    source: Source
    definition: Schedule
    input: dict[str, Json]
    options: dict[str, Json]
    enabled: bool
    after: datetime
    next_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRecord:
    """An event trigger as it is kept."""

    id: str
    name: str
    workflow: str
    version: str
    source: Source
    kind: str
    definition: EventTrigger
    options: dict[str, Json]
    enabled: bool
    position: Json
    next_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """One firing and what became of it; ``duplicate`` says that it had been recorded before."""

    id: str
    source_id: str
    due_at: datetime
    fired_at: datetime
    outcome: Outcome
    detail: str = ""
    execution_id: str | None = None
    attempt: int = 0
    duplicate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a firing starts: the workflow, its input and options."""

    workflow: str
    version: str = ""
    input: Json = field(default_factory=dict)
    options: dict[str, Json] = field(default_factory=dict)
    origin: str
    overlap: Overlap = "allow"

    def row(self) -> Json:
        """As it is kept.

        Raises:
            EngineError: ``invalid_input``; it is too large.
        """
        told = asdict(self)
        encoded(told, "input of a firing", MAX_REQUEST)
        return told


def schedule_of(row: Mapping[Any, Any]) -> ScheduleRecord:
    """The schedule of a row.

    Raises:
        EngineError: ``database_error``; what is stored is none.
    """
    values = {name: row[name] for name in ScheduleRecord.__dataclass_fields__ if name != "definition"}
    return ScheduleRecord(**values, definition=_read(Schedule, row["definition"], "schedule", row["name"]))


def trigger_of(row: Mapping[Any, Any]) -> TriggerRecord:
    """The trigger of a row.

    Raises:
        EngineError: ``database_error``; what is stored is none.
    """
    chosen = trigger_class(row["definition"])
    if chosen is None or row["kind"] == "schedule":
        raise _unreadable("trigger", row["name"])
    values = {name: row[name] for name in TriggerRecord.__dataclass_fields__ if name != "definition"}
    return TriggerRecord(**values, definition=_read(chosen, row["definition"], "trigger", row["name"]))


def firing_of(row: Mapping[Any, Any], *, duplicate: bool = False) -> Firing:
    """The firing of a row."""
    values = {name: row[name] for name in Firing.__dataclass_fields__ if name != "duplicate"}
    return Firing(**values, duplicate=duplicate)


def _read(model: Any, value: Json, what: str, name: str) -> Any:
    try:
        return TypeAdapter(model).validate_python(value)
    except ValidationError as err:
        raise _unreadable(what, name) from err


def _unreadable(what: str, name: str) -> EngineError:
    return EngineError(
        "database_error", f"The {what} {name!r} is stored in a form that is none: delete it, and add it anew"
    )


def given_definition(model: Any, value: Any, what: str) -> Any:
    """The definition that a caller gave, as a model or a mapping.

    Raises:
        EngineError: ``invalid_input``; each field that does not fit.
    """
    if isinstance(value, model):
        return value
    try:
        return TypeAdapter(model).validate_python(value)
    except ValidationError as err:
        faults = [f"{'.'.join(map(str, e['loc'])) or what}: {e['msg']}" for e in err.errors(include_url=False)]
        told = "; ".join(faults[:8])
        raise EngineError("invalid_input", f"The {what} cannot be used: {told}", faults=list(faults[:8])) from err


def plain_definition(definition: Any) -> Json:
    """The definition as it is kept, without its defaults."""
    return plain(definition)


def insert_once(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Insert those firings whose ids nobody has."""
    from sqlalchemy.dialects import postgresql, sqlite

    if not rows:
        return
    made = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(FIRINGS)
    for begin in range(0, len(rows), 200):
        part = rows[begin : begin + 200]
        connection.execute(made.values(part).on_conflict_do_nothing(index_elements=["id"]))


def firing_row(
    firing_id: str,
    source_id: str,
    due_at: datetime,
    now: datetime,
    outcome: Outcome,
    *,
    detail: str = "",
    request: Request | None = None,
    wake_at: datetime | None = None,
    attempt: int = 0,
) -> dict[str, Any]:
    """The row of a firing that is recorded now."""
    return {
        "id": firing_id,
        "source_id": source_id,
        "due_at": due_at,
        "fired_at": now,
        "outcome": outcome,
        "detail": detail.replace("\0", "\ufffd")[:MAX_DETAIL],
        "execution_id": None,
        "attempt": attempt,
        "ordered": request is not None and request.overlap != "allow",
        "request": request.row() if request is not None else None,
        "wake_at": wake_at,
    }


def firing_by_id(connection: Connection, firing_id: str) -> Mapping[Any, Any] | None:
    """The row of that firing."""
    return connection.execute(sa.select(FIRINGS).where(FIRINGS.c.id == firing_id)).mappings().first()
