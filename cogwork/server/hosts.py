"""Under which names the server may be called, and from which web pages."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders

from cogwork.errors import EngineError
from cogwork.server.answers import refuse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_ALLOWED: Final = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Mcp-Session-Id, Mcp-Protocol-Version"


class Hosts:
    """Refuses calls under other names (DNS rebinding) and from other pages (cross-site requests); CORS is closed."""

    def __init__(
        self, app: ASGIApp, *, hosts: Iterable[str], origins: Iterable[str], open_paths: Iterable[str] = ()
    ) -> None:
        self._app = app
        self._hosts = (*LOOPBACK, *(host.lower() for host in hosts))
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._open = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or _path(scope) in self._open:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        if len(headers.getlist("host")) != 1 or not self._named(host):
            await refuse(_wrong("host", host), scope, receive, send)
        elif origin is not None and not self._from(origin, scope["scheme"], host):
            await refuse(_wrong("origin", origin), scope, receive, send)
        elif origin is None and headers.get("sec-fetch-site") == "cross-site" and scope["method"] not in _SAFE:
            await refuse(_wrong("origin", "another site"), scope, receive, send)
        elif origin is not None and origin.lower() in self._origins:
            await self._cross(origin, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _named(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        return any(name == each or (each.startswith("*.") and name.endswith(each[1:])) for each in self._hosts)

    def _from(self, origin: str, scheme: str, host: str) -> bool:
        return origin.lower() in (f"{scheme}://{host}", *self._origins)

    async def _cross(self, origin: str, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = MutableHeaders(scope=message)
                told["Access-Control-Allow-Origin"] = origin
                told["Access-Control-Expose-Headers"] = "X-Request-ID, Mcp-Session-Id, Retry-After"
                told["Cross-Origin-Resource-Policy"] = "cross-origin"
                told.add_vary_header("Origin")
            await send(message)

        if scope["method"] == "OPTIONS":
            from starlette.responses import Response

            told = {
                "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
                "Access-Control-Allow-Headers": _ALLOWED,
                "Access-Control-Max-Age": "600",
            }
            await Response(status_code=204, headers=told)(scope, receive, sending)
        else:
            await self._app(scope, receive, sending)


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own, so that no other reaches it."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _wrong(what: str, value: str) -> EngineError:
    setting = "server.allowed_hosts" if what == "host" else "server.allowed_origins"
    return EngineError("permission_denied", f"The {what} {value[:200]!r} is not among {setting}", **{what: value[:200]})
