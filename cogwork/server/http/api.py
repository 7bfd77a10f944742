"""The HTTP door as one FastAPI application: its routes, its errors, its document."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from cogwork.errors import EngineError, ErrorCode
from cogwork.server.answers import error_answer
from cogwork.server.faults import engine_error
from cogwork.server.http import (
    agents,
    batches,
    conversations,
    events,
    executions,
    health,
    memory,
    remote,
    schedules,
    sessions,
    system,
    triggers,
    versions,
    workflows,
)
from cogwork.server.http.forms import held
from cogwork.server.pages.mounting import mount, page_of
from state.errors import CogworkError

PREFIX = "/api/v1"
ROUTERS = (
    workflows.router,
    versions.router,
    versions.uses,
    executions.router,
    events.router,
    batches.router,
    agents.router,
    agents.handoffs,
    sessions.router,
    conversations.of_session,
    conversations.router,
    memory.router,
    schedules.router,
    triggers.router,
    system.router,
    remote.router,
)
_CODES: dict[int, ErrorCode] = {
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
}


def api(lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None) -> FastAPI:
    """The application; ``state.doors`` has to be there while it serves."""
    made = FastAPI(
        title="cogwork",
        version="1",
        summary="Agent workflows: their versions, executions, schedules, sessions and figures.",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    made.include_router(health.router)
    made.include_router(health.figures)
    made.include_router(triggers.hooks, dependencies=[Depends(held)])
    for router in ROUTERS:
        made.include_router(router, prefix=PREFIX, dependencies=[Depends(held)])
    mount(made)
    made.add_exception_handler(CogworkError, _refused)
    made.add_exception_handler(RequestValidationError, _unfit)
    made.add_exception_handler(HTTPException, _unrouted)
    made.add_exception_handler(Exception, _failed)
    return made


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, CogworkError)
    told = engine_error(error)
    headers = {"Retry-After": str(told.details["retry_after"])} if "retry_after" in told.details else None
    return error_answer(told, _id(request), headers)


async def _unfit(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = [{"at": "/".join(map(str, each["loc"])), "message": each["msg"]} for each in error.errors()[:50]]
    first = problems[0] if problems else {"at": "body", "message": "it does not fit"}
    message = f"{first['at']}: {first['message']}"
    return error_answer(EngineError("invalid_input", message, problems=[*problems]), _id(request))


async def _failed(request: Request, error: Exception) -> JSONResponse:
    """What nobody foresaw, without its inside; the outermost layer writes it into the log."""
    return error_answer(EngineError("internal", "The server failed; its log has more"), _id(request))


async def _unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "invalid_input")
    message = (
        f"There is nothing at {request.method} {request.url.path[:200]}" if code == "not_found" else str(error.detail)
    )
    told = EngineError(code, message)
    if (page := page_of(request, told, error.status_code)) is not None:
        return page
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed(request)) or headers.get("Allow", "")
    answer = error_answer(told, _id(request), headers)
    answer.status_code = error.status_code
    return answer


def _allowed(request: Request) -> list[str]:
    """The methods that the path has, of whichever routes."""
    path = request.url.path.removeprefix(request.scope["root_path"])
    documented = request.app.openapi()["paths"]
    found: set[str] = {method.upper() for method in documented.get(path, ())}
    for each, methods in () if found else documented.items():
        if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", each), path):
            found |= {method.upper() for method in methods}
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


def _id(request: Request) -> str | None:
    found: str | None = getattr(request.state, "request_id", None)
    return found
