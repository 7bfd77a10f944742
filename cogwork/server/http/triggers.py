"""Event triggers and webhooks over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response

from cogwork.server.http.forms import Caller, Cursor, Limit, Served, Text, errors, located, named
from cogwork.server.http.schedules import (
    CreateTrigger,
    Firings,
    FiringView,
    Triggers,
    TriggerView,
    checked_name,
    page_told,
    told,
)
from cogwork.workflow_engine import WorkflowEngine

router = APIRouter(prefix="/triggers", tags=["triggers"])
hooks = APIRouter(tags=["triggers"])
OPEN = "/hooks/"
"""The paths whose requests are signed, and need no token."""
Trigger = Annotated[str, named("trigger's name or id")]


@router.get("", response_model=Triggers, responses=errors())
async def list_triggers(
    acting: Caller,
    workflow: Text = None,
    kind: Literal["webhook", "file", "postgres", "workflow"] | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Any:
    """A page of event triggers, the latest first."""

    async def read(engine: WorkflowEngine) -> Any:
        found = await engine.triggers.list(workflow=workflow, kind=kind, limit=limit, cursor=cursor)
        return page_told(found, "triggers")

    return await acting.perform("schedules.read", "", read)


@router.post("", status_code=201, response_model=TriggerView, responses=errors())
async def create_trigger(acting: Caller, body: CreateTrigger, response: Response, request: Request) -> Any:
    """Add an event trigger."""
    given = body.model_dump() | {"workflow": checked_name(body.workflow)}

    async def create(engine: WorkflowEngine) -> Any:
        return told(await engine.triggers.create(**given))

    made = await acting.perform("schedules.write", body.name, create)
    response.headers["Location"] = located(request, "get_trigger", made["id"])
    return made


@router.get("/{trigger}", response_model=TriggerView, responses=errors())
async def get_trigger(acting: Caller, trigger: Trigger) -> Any:
    """An event trigger."""

    async def read(engine: WorkflowEngine) -> Any:
        return told(await engine.triggers.get(trigger))

    return await acting.perform("schedules.read", trigger, read)


@router.post("/{trigger}/enable", response_model=TriggerView, responses=errors())
async def enable_trigger(acting: Caller, trigger: Trigger) -> Any:
    """Let it listen from now on."""

    async def enable(engine: WorkflowEngine) -> Any:
        return told(await engine.triggers.enable(trigger))

    return await acting.perform("schedules.write", trigger, enable)


@router.post("/{trigger}/disable", response_model=TriggerView, responses=errors())
async def disable_trigger(acting: Caller, trigger: Trigger) -> Any:
    """Let it listen no more."""

    async def disable(engine: WorkflowEngine) -> Any:
        return told(await engine.triggers.disable(trigger))

    return await acting.perform("schedules.write", trigger, disable)


@router.delete("/{trigger}", status_code=204, responses=errors())
async def delete_trigger(acting: Caller, trigger: Trigger) -> None:
    """Remove it; the record of its firings stays."""
    await acting.perform("schedules.write", trigger, lambda engine: engine.triggers.delete(trigger))


@router.get("/{trigger}/firings", response_model=Firings, responses=errors())
async def list_trigger_firings(acting: Caller, trigger: Trigger, limit: Limit = 50, cursor: Cursor = None) -> Any:
    """What became of its events."""

    async def read(engine: WorkflowEngine) -> Any:
        return page_told(await engine.triggers.firings(trigger, limit, cursor), "firings")

    return await acting.perform("schedules.read", trigger, read)


@hooks.post(
    "/hooks/{trigger}",
    status_code=202,
    response_model=FiringView,
    responses=errors(),
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": {}}}}},
)
async def receive(served: Served, trigger: Trigger, request: Request) -> Any:
    """Take a webhook's request. Its signature says who has sent it; sent once more, it starts nothing again."""
    headers = dict(request.headers)
    return told(await served.engine.triggers.deliver(trigger, headers, await request.body()))
