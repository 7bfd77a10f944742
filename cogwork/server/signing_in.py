"""Who calls: the principal of a bearer token, a cookie or a certificate; and how often it may."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from cogwork.errors import EngineError
from cogwork.identity.roles import LOCAL, Principal
from cogwork.server.answers import refuse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from cogwork.server.doors import Doors

COOKIE: Final = "cogwork_token"
CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="cogwork"'}
Verify = Callable[[str], Awaitable[Principal]]
"""The principal of a token; raises ``EngineError`` with the code ``unauthenticated``."""


class SigningIn:
    """Finds the principal of each request, holds it to its rate, and gives it the engine as ``state.acting``.

    Paths that are ``open`` (a prefix that ends in ``/``, or a whole path) need none: those for probes and signing in.
    """

    def __init__(self, app: ASGIApp, doors: Callable[[], Doors], *, open_paths: Iterable[str]) -> None:
        self._app, self._doors = app, doors
        self._open = tuple(open_paths)
        self._rates = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._is_open(scope):
            await self._open_to_all(scope, receive, send)
            return
        doors = self._doors()
        try:
            principal = await self._principal(scope, doors)
            await self._hold(f"principal:{principal.id}", doors.settings.server.limits.requests)
        except EngineError as error:
            await self._refused(error, scope, receive, send)
            return
        state = scope.setdefault("state", {})
        scope["user"] = _user(principal)
        state["principal"] = principal
        state["acting"] = doors.acting(principal, _door(scope), state["request_id"])
        await self._app(scope, receive, send)

    async def _open_to_all(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve without a token; what is posted (a token to sign in with, an event from outside) is held to a rate by address."""
        if scope["method"] == "POST":
            limits = self._doors().settings.server.limits
            most = limits.strangers if scope["path"].endswith("/sign-in") else limits.requests
            try:
                await self._hold(f"open:{most}:{_address(scope)}", most)
            except EngineError as error:
                await self._refused(error, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        return any(path == each or (each.endswith("/") and path.startswith(each)) for each in self._open)

    async def _principal(self, scope: Scope, doors: Doors) -> Principal:
        if doors.settings.server.auth == "none":
            return LOCAL
        if (shown := scope.get("extensions", {}).get("tls", {}).get("principal")) is not None:
            certified: Principal = shown
            return certified
        token = given_token(scope)
        try:
            if token is None:
                raise EngineError("unauthenticated", "Say who you are: Authorization: Bearer TOKEN")
            return await doors.verify(token)
        except EngineError:
            await self._hold(f"stranger:{_address(scope)}", doors.settings.server.limits.strangers)
            raise

    async def _hold(self, who: str, most: int) -> None:
        """Count one request.

        Raises:
            EngineError: ``rate_limited``; there were too many in the last minute.
        """
        if not await self._rates.hit(RateLimitItemPerMinute(most), who):
            raise EngineError(
                "rate_limited", f"More than {most} requests in a minute: wait", limit=most, retry_after=60
            )

    async def _refused(self, error: EngineError, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a person to the page that asks for a token, and tell a program what is wrong."""
        told = Headers(scope=scope)
        if error.code == "unauthenticated" and "text/html" in told.get("accept", ""):
            from urllib.parse import quote

            from starlette.responses import RedirectResponse

            root = scope.get("root_path", "")
            # What a form was filled in with is gone; the page that it stood on is the way back to it.
            path = scope["path"] if scope["method"] == "GET" else f"{root}/"
            where = f"{root}/sign-in?next={quote(path, safe='')}"
            await RedirectResponse(where, 303)(scope, receive, send)
            return
        headers = {"unauthenticated": CHALLENGE, "rate_limited": {"Retry-After": "60"}}.get(error.code)
        await refuse(error, scope, receive, send, headers)


def given_token(scope: Scope) -> str | None:
    """The token of a request: of its header, else of the cookie that signing in has set."""
    headers = Headers(scope=scope)
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        return token.strip()
    return cookie_parser(headers.get("cookie", "")).get(COOKIE)


def _user(principal: Principal) -> AuthenticatedUser:
    """The principal as the MCP library knows callers: a session is bound to it."""
    return AuthenticatedUser(
        AccessToken(
            token="", client_id=principal.id, scopes=[principal.role], subject=principal.id, claims={"iss": "cogwork"}
        )
    )


def _address(scope: Scope) -> str:
    client: tuple[str, Any] | None = scope.get("client")
    return client[0] if client else ""


def _door(scope: Scope) -> str:
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return "mcp" if path.startswith("/mcp") else "http" if path.startswith("/api/") else "page"
