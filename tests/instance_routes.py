"""The routes of executions, for as long as the HTTP door of the tests' instances does not have them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from starlette.responses import JSONResponse, StreamingResponse

from cogwork.server.asgi import Application
from cogwork.server.http.forms import Caller
from cogwork.workflow_engine import WorkflowEngine

Move = Callable[[WorkflowEngine, str, dict[str, Any]], Awaitable[Any]]


def complete(application: Application) -> None:
    """Add the routes of executions that the HTTP door does not have yet."""
    if any("/executions/{execution}/result" in getattr(route, "path", "") for route in application.api.routes):
        return
    application.api.include_router(_router())


def _router() -> APIRouter:
    router = APIRouter(prefix="/api/v1/executions")

    @router.post("")
    async def start(
        acting: Caller, request: Request, idempotency_key: Annotated[str | None, Header()] = None
    ) -> JSONResponse:
        body = await request.json()
        options = {**body.get("options", {}), **({"idempotency_key": idempotency_key} if idempotency_key else {})}

        async def begun(engine: WorkflowEngine) -> dict[str, Any]:
            return dict(await engine.execute_workflow(body["workflow"], body.get("input"), options))

        return JSONResponse(await acting.perform("executions.start", body["workflow"], begun), 201)

    @router.get("/{execution}/result")
    async def result(acting: Caller, execution: str) -> dict[str, Any]:
        found = await acting.perform("executions.read", execution, lambda e: e.get_execution_result(execution))
        return found.to_dict()

    @router.get("/{execution}/events")
    async def events(acting: Caller, execution: str, last_event_id: Annotated[int, Header()] = 0) -> StreamingResponse:
        async def told() -> AsyncIterator[str]:
            async for each in acting.engine.follow(execution, last_event_id):
                yield f"id: {each.seq}\nevent: {each.event.kind}\ndata: {json.dumps(each.to_dict())}\n\n"

        return StreamingResponse(told(), media_type="text/event-stream")

    for verb, work in _MOVES.items():
        router.add_api_route(f"/{{execution}}/{verb}", _moving(work), methods=["POST"], name=verb)
    return router


_MOVES: dict[str, Move] = {
    "pause": lambda engine, name, body: engine.parts.dispatch.pause(name, body.get("reason", "")),
    "resume": lambda engine, name, body: engine.parts.dispatch.resume(name, body.get("answers")),
    "cancel": lambda engine, name, body: engine.parts.dispatch.cancel(
        name, body.get("reason", ""), undo=body.get("undo", False)
    ),
}


def _moving(work: Move) -> Callable[..., Awaitable[dict[str, Any]]]:
    async def move(acting: Caller, execution: str, request: Request) -> dict[str, Any]:
        body = await request.json()
        await acting.perform("executions.move", execution, lambda engine: work(engine, execution, body))
        return await acting.engine.get_execution_status(execution)

    return move
