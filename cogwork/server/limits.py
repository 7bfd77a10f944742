"""What one request may take: the size and time of its body, the time of its answer, and how many there may be."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers

from cogwork.errors import EngineError
from cogwork.server.answers import refuse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from cogwork.sections import ServerLimits

HEARD_OUT: Final = 4
"""How many times the limit is read, and thrown away, so that whoever sends too much can still read why it is refused."""
_STREAM: Final = b"text/event-stream"


class Limits:
    """Reads the body within its limits before anything looks at it, and ends answers that take too long."""

    def __init__(self, app: ASGIApp, limits: ServerLimits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                body = await self._body(scope, receive)
        except TimeoutError:
            late = EngineError("execution_timeout", f"The body took longer than {self._limits.body_seconds:g} s")
            await refuse(late, scope, receive, send, {"Connection": "close"})
            return
        except EngineError as error:
            await refuse(error, scope, receive, send, {"Connection": "close"})
            return
        if body is not None:
            await self._within(scope, body, receive, send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None where the caller has gone.

        Raises:
            EngineError: ``too_large``.
        """
        most = self._limits.body_bytes
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > HEARD_OUT * most:
            raise _large(most)
        parts, size, more = list[bytes](), 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
            if size <= most:
                parts.append(message.get("body", b""))
            elif size > HEARD_OUT * most:
                raise _large(most)
        if size > most:
            raise _large(most)
        return b"".join(parts)

    async def _within(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Serve within the time for answers; a stream of events may go on for as long as it likes."""
        first: deque[Message] = deque([{"type": "http.request", "body": body, "more_body": False}])
        begun = False

        async def receiving() -> Message:
            return first.popleft() if first else await receive()

        try:
            async with asyncio.timeout(self._limits.answer_seconds) as timer:

                async def sending(message: Message) -> None:
                    nonlocal begun
                    if message["type"] == "http.response.start":
                        begun = True
                        if any(
                            name == b"content-type" and value.startswith(_STREAM) for name, value in message["headers"]
                        ):
                            timer.reschedule(None)
                    await send(message)

                await self._app(scope, receiving, sending)
        except TimeoutError:
            if not timer.expired() or begun:
                raise
            late = f"The answer took longer than {self._limits.answer_seconds:g} s"
            await refuse(EngineError("execution_timeout", late), scope, receive, send)


def _large(most: int) -> EngineError:
    return EngineError("too_large", f"The body is larger than {most} bytes", limit=most)
