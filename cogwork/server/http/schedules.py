"""Schedules over HTTP, and what is told of triggers and firings."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from cogwork.errors import EngineError
from cogwork.server.http.forms import (
    Caller,
    Cursor,
    Form,
    Instant,
    Limit,
    Line,
    Name,
    Object,
    Text,
    View,
    errors,
    located,
    named,
    plain,
)
from cogwork.server.sources import is_name
from cogwork.workflow_engine import WorkflowEngine

router = APIRouter(prefix="/schedules", tags=["schedules"])
Schedule = Annotated[str, named("schedule's name or id")]


class CreateSchedule(Form):
    """A schedule."""

    name: Name
    workflow: Name
    definition: Object = Field(
        description="cron or every, start, end, timezone, jitter, catch_up, overlap …",
        examples=[{"cron": "0 7 * * 1-5", "timezone": "Europe/Berlin"}],
    )
    version: Line = ""
    input: Object = Field(default_factory=dict)
    options: Object = Field(default_factory=dict)
    enabled: bool = True


class UpdateSchedule(Form):
    """What is changed of a schedule."""

    workflow: Name | None = None
    definition: Object | None = None
    version: Line | None = None
    input: Object | None = None
    options: Object | None = None


class CreateTrigger(Form):
    """An event trigger."""

    name: Name
    workflow: Name
    definition: Object = Field(
        description="type: webhook, file, postgres or workflow; its fields, and when, input, options.",
        examples=[{"type": "webhook", "secret": "secret://hook"}],
    )
    version: Line = ""
    enabled: bool = True


class ScheduleView(View):
    """A schedule."""

    id: str
    name: str
    workflow: str
    version: str
    source: Literal["engine", "spec"]
    definition: dict[str, Any]
    input: dict[str, Any]
    options: dict[str, Any]
    enabled: bool
    next_at: Instant | None
    created_at: Instant
    updated_at: Instant


class Schedules(View):
    """A page of schedules."""

    schedules: list[ScheduleView]
    cursor: str | None = None


class TriggerView(View):
    """An event trigger."""

    id: str
    name: str
    workflow: str
    version: str
    kind: str
    definition: dict[str, Any]
    enabled: bool
    created_at: Instant
    updated_at: Instant


class Triggers(View):
    """A page of triggers."""

    triggers: list[TriggerView]
    cursor: str | None = None


class FiringView(View):
    """One firing, and what became of it."""

    id: str
    source_id: str
    due_at: Instant
    fired_at: Instant
    outcome: str
    detail: str
    execution_id: str | None
    duplicate: bool


class Firings(View):
    """A page of firings, the latest first."""

    firings: list[FiringView]
    cursor: str | None = None


class Upcoming(View):
    """The next firings."""

    upcoming: list[Instant]


def told(record: Any) -> dict[str, Any]:
    """A schedule, trigger or firing as plain JSON."""
    found = (
        asdict(record)
        if not hasattr(record, "definition")
        else {name: getattr(record, name) for name in record.__dataclass_fields__}
    )
    if "definition" in found:
        found["definition"] = plain(found["definition"])
    return {name: each.isoformat() if isinstance(each, datetime) else each for name, each in found.items()}


def page_told(page: Any, name: str) -> dict[str, Any]:
    """A page of them."""
    return {name: [told(each) for each in page.items], "cursor": page.cursor}


def checked_name(workflow: str) -> str:
    """The name of a workflow, which is no path.

    Raises:
        EngineError: ``invalid_input``.
    """
    if not is_name(workflow):
        raise EngineError(
            "invalid_input", f"{workflow[:80]!r} is no name of a workflow: files are not read for callers"
        )
    return workflow


# -- schedules ---------------------------------------------------------------------------------------------------------


@router.get("", response_model=Schedules, responses=errors())
async def list_schedules(
    acting: Caller, workflow: Text = None, enabled: bool | None = None, limit: Limit = 50, cursor: Cursor = None
) -> Any:
    """A page of schedules, the latest first."""

    async def read(engine: WorkflowEngine) -> Any:
        found = await engine.schedules.list(workflow=workflow, enabled=enabled, limit=limit, cursor=cursor)
        return page_told(found, "schedules")

    return await acting.perform("schedules.read", "", read)


@router.post("", status_code=201, response_model=ScheduleView, responses=errors())
async def create_schedule(acting: Caller, body: CreateSchedule, response: Response, request: Request) -> Any:
    """Add a schedule; its first firing is the first one later than now."""
    given = body.model_dump() | {"workflow": checked_name(body.workflow)}

    async def create(engine: WorkflowEngine) -> Any:
        return told(await engine.schedules.create(**given))

    made = await acting.perform("schedules.write", body.name, create)
    response.headers["Location"] = located(request, "get_schedule", made["id"])
    return made


@router.get("/{schedule}", response_model=ScheduleView, responses=errors())
async def get_schedule(acting: Caller, schedule: Schedule) -> Any:
    """A schedule."""

    async def read(engine: WorkflowEngine) -> Any:
        return told(await engine.schedules.get(schedule))

    return await acting.perform("schedules.read", schedule, read)


@router.patch("/{schedule}", response_model=ScheduleView, responses=errors())
async def update_schedule(acting: Caller, schedule: Schedule, body: UpdateSchedule) -> Any:
    """Change a schedule; what was due before is dealt with as it was."""
    given = body.model_dump(exclude_none=True)
    if "workflow" in given:
        checked_name(given["workflow"])

    async def update(engine: WorkflowEngine) -> Any:
        return told(await engine.schedules.update(schedule, **given))

    return await acting.perform("schedules.write", schedule, update)


@router.delete("/{schedule}", status_code=204, responses=errors())
async def delete_schedule(acting: Caller, schedule: Schedule) -> None:
    """Remove a schedule; the record of its firings stays."""
    await acting.perform("schedules.write", schedule, lambda engine: engine.schedules.delete(schedule))


@router.post("/{schedule}/enable", response_model=ScheduleView, responses=errors())
async def enable_schedule(acting: Caller, schedule: Schedule) -> Any:
    """Let it fire from now on."""

    async def enable(engine: WorkflowEngine) -> Any:
        return told(await engine.schedules.enable(schedule))

    return await acting.perform("schedules.write", schedule, enable)


@router.post("/{schedule}/disable", response_model=ScheduleView, responses=errors())
async def disable_schedule(acting: Caller, schedule: Schedule) -> Any:
    """Let it fire no more."""

    async def disable(engine: WorkflowEngine) -> Any:
        return told(await engine.schedules.disable(schedule))

    return await acting.perform("schedules.write", schedule, disable)


@router.post("/{schedule}/run", response_model=FiringView, responses=errors())
async def run_schedule(acting: Caller, schedule: Schedule) -> Any:
    """Fire it once, beside its times."""

    async def run(engine: WorkflowEngine) -> Any:
        return told(await engine.schedules.run_now(schedule))

    return await acting.perform("executions.start", schedule, run)


@router.get("/{schedule}/upcoming", response_model=Upcoming, responses=errors())
async def list_upcoming(acting: Caller, schedule: Schedule, n: Annotated[int, Query(ge=1, le=100)] = 5) -> Any:
    """The next firings, if it stays as it is."""

    async def read(engine: WorkflowEngine) -> Any:
        return {"upcoming": [each.isoformat() for each in await engine.schedules.upcoming(schedule, n)]}

    return await acting.perform("schedules.read", schedule, read)


@router.get("/{schedule}/firings", response_model=Firings, responses=errors())
async def list_schedule_firings(acting: Caller, schedule: Schedule, limit: Limit = 50, cursor: Cursor = None) -> Any:
    """What became of its firings."""

    async def read(engine: WorkflowEngine) -> Any:
        return page_told(await engine.schedules.firings(schedule, limit, cursor), "firings")

    return await acting.perform("schedules.read", schedule, read)
