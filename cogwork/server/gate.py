"""The outermost layer: each request gets an id, each answer the headers that browsers are kept in check by."""

from __future__ import annotations

import logging
import re
import secrets
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders

from cogwork.errors import EngineError
from cogwork.server.answers import refuse
from state.bearing import bearing

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG: Final = logging.getLogger("cogwork.server")
_GIVEN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
SECURITY: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
}


class Gate:
    """Gives ids and headers, and turns what nobody foresaw into an error without its inside."""

    def __init__(self, app: ASGIApp, *, secure: bool = False) -> None:
        self._app = app
        self._headers = {**SECURITY, **({"Strict-Transport-Security": "max-age=31536000"} if secure else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _id(Headers(scope=scope).get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        begun = ended = False

        async def sending(message: Message) -> None:
            nonlocal begun, ended
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            with bearing(request_id=request_id):
                await self._app(scope, receive, sending)
        except Exception:
            LOG.exception("a request failed", extra={"request_id": request_id})
            if begun and not ended:
                raise
            if not begun:
                await refuse(EngineError("internal", "The server failed; its log has more"), scope, receive, sending)


def _id(given: str | None) -> str:
    """The caller's own id where it is one, else a new one."""
    return given if given is not None and _GIVEN.fullmatch(given) else f"req-{secrets.token_hex(6)}"
