"""A layer of an ASGI application that counts requests, and lets what they do belong to the caller's trace."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cogwork.observability import catalogue
from cogwork.observability.figures import OTHER
from cogwork.observability.places import TRACEPARENT, being, place_of

if TYPE_CHECKING:
    from cogwork.observability.telemetry import Telemetry

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
PREFIXES: Final = ("/api", "/mcp", "/health", "/metrics", "/static")
"""What requests are counted under that come to no route of their own."""
BROKEN: Final = "broken"
"""In place of a status: the request ended before its answer began."""


class Measured:
    """Counts the requests to ``app``, by method, route and status; a route is the pattern, never the path that was asked for."""

    def __init__(self, app: Application, telemetry: Telemetry) -> None:
        self.app, self._telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = _Measuring(self._telemetry, scope, send)
        self._telemetry.figures.add(catalogue.UNDER_WAY)
        try:
            with ExitStack() as stack:
                request.traced(stack)
                await self.app(scope, receive, request.send)
        finally:
            self._telemetry.figures.add(catalogue.UNDER_WAY, amount=-1.0)
            request.over()


class _Measuring:
    """One request."""

    def __init__(self, telemetry: Telemetry, scope: Scope, send: Send) -> None:
        self._telemetry, self._scope, self._send = telemetry, scope, send
        self._begun, self._seconds, self._status = time.perf_counter(), 0.0, 0
        self._span: Any = None

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on."""
        if message["type"] == "http.response.start":
            self._seconds, self._status = time.perf_counter() - self._begun, int(message["status"])
        await self._send(message)

    def traced(self, stack: ExitStack) -> None:
        """Be within the caller's trace, in a span of the server's own where spans are made."""
        given = next((value for name, value in self._scope.get("headers", ()) if name == TRACEPARENT.encode()), b"")
        above = place_of(given.decode("latin-1"))
        if self._telemetry.spans is not None:
            self._span = stack.enter_context(self._telemetry.spans.serving(_method(self._scope), above))
        elif above is not None:
            stack.enter_context(being(above))

    def over(self) -> None:
        """Count it."""
        method, route = _method(self._scope), _route(self._scope)
        status = f"{self._status // 100}xx" if self._status else BROKEN
        self._telemetry.figures.add(catalogue.REQUESTS, method, route, status)
        if self._status:
            self._telemetry.figures.observe(catalogue.LATENCY, self._seconds, method, route)
        if self._span is not None and self._telemetry.spans is not None:
            self._telemetry.spans.served(self._span, method, route, self._status)


def _method(scope: Scope) -> str:
    method = str(scope.get("method", "")).upper()
    return method if method in METHODS else OTHER


def _route(scope: Scope) -> str:
    """The pattern of the route that answered; where there is none, the beginning of the path, if it is one that we know."""
    pattern = getattr(scope.get("route"), "path", None)
    if isinstance(pattern, str) and pattern:
        return pattern
    path = str(scope.get("path", ""))
    if path == "/":
        return path
    return next((each for each in PREFIXES if path == each or path.startswith(f"{each}/")), OTHER)
