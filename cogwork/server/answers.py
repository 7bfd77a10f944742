"""Answers of the layers in front of the routes, which know of ASGI alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from cogwork.server.faults import status_of

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from cogwork.errors import EngineError


def error_answer(
    error: EngineError, request_id: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An error as the answer to a request; the id of the request takes the place of the error's own."""
    if request_id is not None:
        error.request_id = request_id
    return JSONResponse(error.to_dict(), status_of(error.code), dict(headers or {}))


async def refuse(
    error: EngineError, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str] | None = None
) -> None:
    """Answer with an error, and go no further."""
    await error_answer(error, scope.get("state", {}).get("request_id"), headers)(scope, receive, send)
