"""The MCP server over streamable HTTP, as an ASGI application that another one mounts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp

from cogwork.server.mcp.replay import Replay

BODY_BYTES: Final = 4 * 1024 * 1024
SESSIONS: Final = 10_000
IDLE_SECONDS: Final = 30 * 60.0
LOCAL_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")


class _Sessions(StreamableHTTPSessionManager):
    """The SDK's sessions, each with what its own streams have carried.

    The SDK would share one store among all, and names streams by the ids that clients give their requests: the first request
    of one client would be read again by another one.
    """

    def _admit_session(self, requestor: Any) -> StreamableHTTPServerTransport | None:
        transport = super()._admit_session(requestor)
        if transport is not None:
            transport._event_store = Replay()
        return transport


def mcp_asgi(
    server: Any,
    *,
    allowed_hosts: Sequence[str] = LOCAL_HOSTS,
    allowed_origins: Sequence[str] | None = None,
    max_body: int = BODY_BYTES,
    max_sessions: int = SESSIONS,
    idle_seconds: float = IDLE_SECONDS,
    retry_ms: int = 1000,
) -> tuple[ASGIApp, Callable[[], AbstractAsyncContextManager[None]]]:
    """The application, and the context within which it serves; whoever mounts it enters that in its own lifespan, once.

    What mounts it authenticates: ``scope["user"]`` (the SDK's ``AuthenticatedUser``) is whom a session belongs to, and the
    request's ``state`` is what ``acting`` of the server reads. Host and Origin are checked here as well: each name is allowed
    with any port, ``*`` leaves the check to the application around it.
    """
    origins = allowed_origins if allowed_origins is not None else [f"http://{host}" for host in allowed_hosts]
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection="*" not in allowed_hosts,
        allowed_hosts=[name for host in allowed_hosts for name in (host, f"{host}:*")],
        allowed_origins=[name for origin in origins for name in (origin, f"{origin}:*")],
    )
    sessions = _Sessions(
        app=server,
        event_store=Replay(),
        security_settings=security,
        max_request_body_size=max_body,
        max_sessions=max_sessions,
        session_idle_timeout=idle_seconds,
        retry_interval=retry_ms,
    )

    @asynccontextmanager
    async def serving() -> AsyncIterator[None]:
        async with sessions.run():
            try:
                yield
            finally:
                server.door.closing = True

    return StreamableHTTPASGIApp(sessions), serving
