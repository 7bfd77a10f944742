"""What probes ask: whether the process lives, and whether it can take work."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from cogwork.errors import EngineError
from cogwork.server.doors import doors_of
from cogwork.server.http.forms import Caller

router = APIRouter(prefix="/health", tags=["health"])
figures = APIRouter(tags=["health"])
OPEN = ("/health/live", "/health/ready")
"""The paths that need no token, and any host may name."""


@figures.get("/metrics", include_in_schema=False)
async def get_figures(acting: Caller) -> Response:
    """What this process has counted, and what the records and queues say, in the text that Prometheus reads."""
    from cogwork.observability.prometheus import CONTENT_TYPE, prometheus_text

    return Response(await acting.perform("metrics.read", "", prometheus_text), media_type=CONTENT_TYPE)


@router.get("/live")
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/ready", responses={503: {"description": "It takes no work now."}})
async def ready(request: Request) -> JSONResponse:
    """The records can be read, and the server is not about to end."""
    doors = doors_of(request.scope)
    if doors.draining:
        return JSONResponse({"status": "draining"}, 503)
    try:
        async with asyncio.timeout(5):
            await doors.engine.list_executions(limit=1)
    except (EngineError, TimeoutError):
        return JSONResponse({"status": "unavailable"}, 503)
    return JSONResponse({"status": "ready"})
