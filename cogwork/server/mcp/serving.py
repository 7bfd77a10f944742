"""The MCP server over streamable HTTP, as an ASGI application that another one mounts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Receive, Scope, Send

from cogwork.server.mcp.replay import Replay

BODY_BYTES: Final = 4 * 1024 * 1024
SESSIONS: Final = 10_000
IDLE_SECONDS: Final = 30 * 60.0
LOCAL_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")


class _Transport(StreamableHTTPServerTransport):
    """One session's streams: what they have carried is the session's own, and a client may read on if it greeted as one that can.

    The SDK would share one store among all sessions, and names streams by the ids that clients give their requests: the first
    request of one client would be read again by another one.
    """

    _greeted = ""

    async def _mint_priming_event(self, stream_id: str, protocol_version: str) -> Any:
        self._greeted = max(self._greeted, protocol_version)  # the greeting comes first; versions are dates
        return await super()._mint_priming_event(stream_id, self._greeted)

    def _create_session_message(self, message: Any, request: Any, request_id: Any, protocol_version: str) -> Any:
        return super()._create_session_message(message, request, request_id, max(self._greeted, protocol_version))


class _Sessions(StreamableHTTPSessionManager):
    """The SDK's sessions, with transports of ours."""

    def _admit_session(self, requestor: Any) -> StreamableHTTPServerTransport | None:
        transport = super()._admit_session(requestor)
        if transport is not None:
            transport.__class__ = _Transport  # the SDK makes it and takes no other class
            transport._event_store = Replay()
        return transport


class _Trimmed:
    """The application, with the white space around values of headers taken off, as HTTP wants and not every server does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "headers": [(name, value.strip(b" \t")) for name, value in scope["headers"]]}
        await self._app(scope, receive, send)


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

    return _Trimmed(StreamableHTTPASGIApp(sessions)), serving
