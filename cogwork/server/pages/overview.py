"""The first page: what waits for people, what has failed, how much is at work, and how the parts are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import Request
from starlette.responses import Response

from cogwork.server.pages.live import streamed
from cogwork.server.pages.regions import Region
from cogwork.server.pages.routing import router
from cogwork.server.pages.view import acting, page, rendered

if TYPE_CHECKING:
    from cogwork.workflow_engine import WorkflowEngine

routes = router()
SHOWN = 8
STATUSES = ("running", "pending", "paused", "failed", "completed", "cancelled")


@routes.get("/")
async def overview(request: Request) -> Response:
    """The page."""
    return page(request, "overview.html", section="overview", regions=await regions(request))


@routes.get("/live/overview")
async def live(request: Request) -> Response:
    """Its parts, whenever one is another."""
    return await streamed(request, lambda: regions(request), every=2.0)


async def regions(request: Request) -> list[Region]:
    """The parts of the page that change."""
    found = await acting(request).perform("executions.read", "", _looked)
    return [
        Region(name, rendered(request, f"overview_{name}.html", **found))
        for name in ("counts", "people", "failures", "latest", "health")
    ]


async def _looked(engine: WorkflowEngine) -> dict[str, Any]:
    counts, people, failures, latest, health = await asyncio.gather(
        _counts(engine),
        _people(engine),
        engine.list_executions(status="failed", limit=SHOWN),
        engine.list_executions(limit=SHOWN),
        engine.get_system_health(within=2.0),
    )
    return {"counts": counts, "people": people, "failures": failures, "latest": latest, "health": health}


async def _counts(engine: WorkflowEngine) -> dict[str, int]:
    from cogwork.executions.listing import counts

    found = await engine.parts.records.reading(counts)
    return {name: found.get(name, 0) for name in STATUSES}


async def _people(engine: WorkflowEngine) -> list[Any]:
    """The executions that ask somebody something, the latest first."""
    page = await engine.list_executions(status="paused", limit=50)
    found: Any = page["executions"]
    return [each for each in found if each["questions"]][:SHOWN]
