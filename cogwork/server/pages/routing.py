"""How pages are routed: errors become pages as well, and lists are asked for alike."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from cogwork.errors import EngineError
from cogwork.server.faults import engine_error, status_of
from cogwork.server.pages.view import page
from state.errors import CogworkError

_WORDS: Mapping[int, str] = {
    400: "That cannot be read",
    401: "Sign in first",
    403: "That is not allowed",
    404: "There is no such thing",
    405: "That is not done here",
    409: "That cannot be done now",
    422: "Something does not fit",
    503: "The records cannot be reached",
}


class PageRoute(APIRoute):
    """A route whose errors are pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Serve one request."""
        inner = super().get_route_handler()

        async def serve(request: Request) -> Response:
            try:
                return await inner(request)
            except ClientDisconnect:
                return Response(status_code=499)
            except CogworkError as err:
                return error_page(request, engine_error(err))

        return serve


def router() -> APIRouter:
    """A router for pages."""
    return APIRouter(route_class=PageRoute, include_in_schema=False)


def error_page(request: Request, error: EngineError, status: int | None = None) -> Response:
    """An error as a page, with what to do next."""
    error.request_id = getattr(request.state, "request_id", None) or error.request_id
    code = status if status is not None else status_of(error.code)
    title = _WORDS.get(code, "Something went wrong")
    return page(request, "error.html", status=code, error=error, title=title, suggestions=_suggestions(error))


def _suggestions(error: EngineError) -> list[str]:
    given = error.details.get("suggestions")
    return [str(each) for each in given[:5]] if isinstance(given, list) else []


async def form_of(request: Request) -> dict[str, list[str]]:
    """What a form was filled in with, by the name of the control.

    Raises:
        EngineError: ``invalid_input``; it cannot be read.
    """
    from starlette.exceptions import HTTPException

    try:
        async with request.form(max_files=0, max_fields=2000) as form:
            found: dict[str, list[str]] = {}
            for name, value in form.multi_items():
                found.setdefault(name, []).append(str(value))
            return found
    except HTTPException as err:
        raise EngineError("invalid_input", f"The form cannot be read: {err.detail}") from err


def asked(request: Request, *names: str) -> dict[str, str]:
    """The values of a query that are not empty, of these names."""
    found = {name: request.query_params.get(name, "").strip()[:2000] for name in names}
    return {name: value for name, value in found.items() if value}
