"""The ASGI application: the doors, behind the layers that every request goes through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI

from cogwork.server.doors import opened
from cogwork.server.gate import Gate
from cogwork.server.heads import Heads
from cogwork.server.hosts import Hosts
from cogwork.server.http import health, triggers
from cogwork.server.http.api import api
from cogwork.server.limits import Limits
from cogwork.server.signing_in import SigningIn

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from cogwork.settings import Settings
    from cogwork.workflow_engine import WorkflowEngine

OPEN = (*health.OPEN, triggers.OPEN, "/sign-in", "/static/")
"""The paths that need no token."""


class Application:
    """cogwork as an ASGI application; its doors are open between the start and the end of its lifespan."""

    def __init__(self, settings: Settings, engine: WorkflowEngine | None = None) -> None:
        self.settings, self._engine = settings, engine
        self.api = api(self._life)
        self._served = self._layered(self.api)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        await self._served(scope, receive, send)

    def _layered(self, inner: ASGIApp) -> ASGIApp:
        chosen = self.settings.server
        signed = SigningIn(Heads(inner), lambda: self.api.state.doors, open_paths=OPEN)
        limited = Limits(signed, chosen.limits)
        named = Hosts(limited, hosts=chosen.allowed_hosts, origins=chosen.allowed_origins, open_paths=health.OPEN)
        return Gate(named, secure=chosen.tls is not None)

    @asynccontextmanager
    async def _life(self, app: FastAPI) -> AsyncIterator[None]:
        async with opened(self.settings, self._engine) as doors:
            app.state.doors = doors
            yield


def application(settings: Settings, engine: WorkflowEngine | None = None) -> Application:
    """The application of these settings; over an engine that is not open yet, if one is given."""
    return Application(settings, engine)
