"""The pages as parts of the application: their routes, and the files that browsers load."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from cogwork.errors import EngineError
from cogwork.server.pages import designing, executions, moves, overview, shelves, signing, workflows
from cogwork.server.pages.routing import error_page
from cogwork.server.pages.view import STATIC

ROUTES = (
    overview.routes,
    designing.routes,
    workflows.routes,
    executions.routes,
    moves.routes,
    shelves.routes,
    signing.routes,
)


def mount(app: FastAPI) -> None:
    """Add the pages to the application."""
    for routes in ROUTES:
        app.include_router(routes)
    app.mount("/static", _Files(directory=STATIC), "static")


def page_of(request: Request, error: EngineError, status: int) -> Response | None:
    """The error as a page, where a person asks; None where a program does."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    programs = path.startswith(("/api/", "/mcp", "/health", "/metrics", "/static/"))
    if programs or "text/html" not in request.headers.get("accept", "") or not hasattr(request.state, "acting"):
        return None
    return error_page(request, error, status)


class _Files(StaticFiles):
    """Files that a browser keeps, and asks about before it uses them again."""

    def file_response(self, *args: Any, **more: Any) -> Response:
        """The file."""
        answer = super().file_response(*args, **more)
        answer.headers["Cache-Control"] = "no-cache"
        return answer
