"""The ASGI application: the doors, behind the layers that every request goes through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.routing import Route

from cogwork.observability.measured import Measured
from cogwork.server.acting import Acting
from cogwork.server.doors import opened
from cogwork.server.gate import Gate
from cogwork.server.heads import Heads
from cogwork.server.hosts import Hosts
from cogwork.server.http import health, triggers
from cogwork.server.http.api import api
from cogwork.server.limits import Limits
from cogwork.server.mcp.door import Context, Extras, Rules
from cogwork.server.mcp.server import mcp_server
from cogwork.server.mcp.serving import mcp_asgi
from cogwork.server.signing_in import SigningIn

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from cogwork.settings import Settings
    from cogwork.workflow_engine import WorkflowEngine

OPEN = (*health.OPEN, triggers.OPEN, "/sign-in", "/static/")
"""The paths that need no token."""
ANY_HOST = (*health.OPEN, "/metrics")
"""The paths that may be called under any name: those of probes and of scrapers, which know addresses only."""


class Application:
    """cogwork as an ASGI application; its doors are open between the start and the end of its lifespan."""

    def __init__(
        self,
        settings: Settings,
        engine: WorkflowEngine | None = None,
        *,
        extras: Extras | None = None,
        rules: Rules | None = None,
    ) -> None:
        from cogwork.workflow_engine import WorkflowEngine

        self.settings = settings
        self._engine = engine or WorkflowEngine(settings=settings, worker=settings.server.worker)
        self.api = api(self._life)
        # Hosts, origins and bodies are seen to by the layers around it.
        limits, usual = settings.server.limits, Rules(allow_generated_writes=settings.server.allow_generated_writes)
        self._agents, self._agents_served = mcp_asgi(
            mcp_server(_acting, extras=extras, rules=rules or usual),
            allowed_hosts=["*"],
            max_body=limits.body_bytes,
            max_sessions=limits.sessions,
        )
        self.api.router.routes.append(Route("/mcp", endpoint=self._agents))
        self._served = self._layered(self.api)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        await self._served(scope, receive, send)

    def _layered(self, inner: ASGIApp) -> ASGIApp:
        chosen = self.settings.server
        signed = SigningIn(Heads(inner), lambda: self.api.state.doors, open_paths=OPEN)
        limited = Limits(signed, chosen.limits)
        named = Hosts(limited, hosts=chosen.allowed_hosts, origins=chosen.allowed_origins, open_paths=ANY_HOST)
        return Gate(Measured(named, self._engine.app.telemetry), secure=chosen.tls is not None)

    @asynccontextmanager
    async def _life(self, app: FastAPI) -> AsyncIterator[None]:
        async with opened(self.settings, self._engine) as doors:
            app.state.doors = doors
            async with self._agents_served():
                yield


def _acting(ctx: Context) -> Acting:
    assert ctx.request is not None, "over HTTP each message comes with its request"
    found: Acting = ctx.request.state.acting
    return found


def application(settings: Settings, engine: WorkflowEngine | None = None, **more: Any) -> Application:
    """The application of these settings; over an engine that is not open yet, if one is given.

    ``extras`` are further tools, resources and prompts of the MCP server, ``rules`` what it allows in place of the settings.
    """
    return Application(settings, engine, **more)
