"""Figures, health and what there is, over HTTP."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from cogwork.server.http.forms import ONE_LINE, Caller, View, errors, named
from cogwork.workflow_engine import WorkflowEngine

router = APIRouter(tags=["system"])
Range = Annotated[
    str,
    Query(
        max_length=120,
        pattern=ONE_LINE,
        description="last_7_days, last_24_hours, last_30_minutes, today, or START/END.",
    ),
]
Figure = Annotated[str, Query(max_length=60, pattern=ONE_LINE)]
Figures = Annotated[tuple[Figure, ...], Query(max_length=40, description="Which figures; all of them without it.")]
Zone = Annotated[str, Query(max_length=60, pattern=ONE_LINE, description="Whose days they are, such as Europe/Berlin.")]
By = Annotated[Literal["day", "hour"], Query(description="How throughput is told.")]


class Span(View):
    """A stretch of time."""


class Report(View):
    """The figures of something over a time."""

    subject: dict[str, Any]
    range: Span


class Part(View):
    """How a part stands."""

    status: Literal["healthy", "degraded", "unhealthy"]


class Health(View):
    """How everything stands that executions depend on."""

    status: Literal["healthy", "degraded", "unhealthy"]
    parts: dict[str, Part]


class Capabilities(View):
    """What can be executed here, and how."""

    modes: list[str]
    node_kinds: list[str]
    tools: list[str]
    queues: list[str]
    database: str


class ModelView(View):
    """A model that is known."""

    name: str
    state: str


class Models(View):
    """The models that are known, the unusable ones among them."""

    models: list[ModelView]


class ToolView(View):
    """A tool that was found."""

    name: str
    score: float
    description: str
    parameters: dict[str, Any]


class Tools(View):
    """The tools that fit best."""

    tools: list[ToolView]


@router.get("/metrics", response_model=Report, responses=errors())
async def get_overview(
    acting: Caller,
    range: Range = "last_7_days",
    metric: Figures = (),
    by: By = "day",
    timezone: Zone = "UTC",
) -> Any:
    """The figures of all executions, and those of each workflow, the busiest first."""

    async def read(engine: WorkflowEngine) -> Any:
        return (await engine.metrics.overview(range, metric or None, by=by, timezone=timezone)).to_dict()

    return await acting.perform("metrics.read", "", read)


@router.get("/metrics/workflows/{workflow}", response_model=Report, responses=errors())
async def get_workflow_metrics(
    acting: Caller,
    workflow: Annotated[str, named("workflow's id or name")],
    range: Range = "last_30_days",
    metric: Figures = (),
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    by: By = "day",
    timezone: Zone = "UTC",
) -> Any:
    """The figures of a workflow, perhaps of one version only."""

    async def read(engine: WorkflowEngine) -> Any:
        found = await engine.metrics.workflow(workflow, range, metric or None, version, by=by, timezone=timezone)
        return found.to_dict()

    return await acting.perform("metrics.read", workflow, read)


@router.get("/metrics/agents/{agent}", response_model=Report, responses=errors())
async def get_agent_metrics(
    acting: Caller,
    agent: Annotated[str, named("agent's id or name")],
    range: Range = "last_7_days",
    metric: Figures = (),
    by: By = "day",
    timezone: Zone = "UTC",
) -> Any:
    """The figures of an agent's turns."""

    async def read(engine: WorkflowEngine) -> Any:
        return (await engine.metrics.agent(agent, range, metric or None, by=by, timezone=timezone)).to_dict()

    return await acting.perform("metrics.read", agent, read)


@router.get("/health", response_model=Health, responses=errors())
async def get_health(acting: Caller) -> Any:
    """How every part stands that executions depend on, and why."""
    return await acting.perform("metrics.read", "", lambda engine: engine.get_system_health())


@router.get("/capabilities", response_model=Capabilities, responses=errors())
async def get_capabilities(acting: Caller) -> Any:
    """What can be executed here, and how."""
    return await acting.perform("tools.read", "", lambda engine: engine.get_capabilities())


@router.get("/models", response_model=Models, responses=errors())
async def list_models(acting: Caller) -> Any:
    """The models that are known, the unusable ones among them."""

    async def read(engine: WorkflowEngine) -> Any:
        found = await asyncio.to_thread(engine.app.models.listed)
        return {"models": [each.to_dict() for each in found]}

    return await acting.perform("tools.read", "", read)


@router.get("/tools", response_model=Tools, responses=errors())
async def search_tools(
    acting: Caller,
    query: Annotated[str, Query(min_length=1, max_length=500, pattern=ONE_LINE)],
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
) -> Any:
    """The tools that fit a need best, in words and, where the settings have embeddings, in meaning."""

    async def find(engine: WorkflowEngine) -> Any:
        found = await asyncio.to_thread(engine.app.search_tools, query, limit)
        told = [
            {
                "name": hit.name,
                "score": hit.score,
                "description": hit.tool.description,
                "parameters": dict(hit.tool.args_schema),
            }
            for hit in found
        ]
        return {"tools": told}

    return await acting.perform("tools.read", "", find)
