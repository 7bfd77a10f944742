"""What happens in executions over HTTP: pages of events, and streams of server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response

from cogwork.executions.statuses import ENDED
from cogwork.executions.store import utc_now
from cogwork.server.http.execution_forms import Events
from cogwork.server.http.executions import Id
from cogwork.server.http.forms import MOST, Caller, Served, errors, preferred

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

router = APIRouter(prefix="/executions", tags=["executions"])
STREAM: Final = "text/event-stream"
TYPES: Final = ("application/json", STREAM)
RETRY_MS: Final = 2000
"""How long a listener should wait before it comes again."""
_FAR: Final = 2**53
Number = Annotated[int, Query(ge=0, le=_FAR, description="Events after this number.")]
LastId = Annotated[
    str | None, Header(alias="Last-Event-ID", pattern=r"^[0-9]{1,15}$", description="The same, as browsers send it.")
]
_TYPED: Final[dict[str, Any]] = {STREAM: {"schema": {"type": "string"}}}


@router.get(
    "/{execution}/events",
    response_model=Events,
    responses={
        200: {"content": _TYPED, "description": "A page of events, or all of them as they happen."},
        204: {"description": "It has ended, and there are no further events: do not come again."},
        **errors(),
    },
    openapi_extra={"x-gives": TYPES},
)
async def get_events(
    acting: Caller,
    served: Served,
    execution: Id,
    request: Request,
    after: Number = 0,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    last: LastId = None,
) -> Any:
    """A page of what has happened, or, with `Accept: text/event-stream`, what happens until the execution ends.

    A listener that comes again with the number of the last event that it had misses none.
    """
    after = int(last) if last is not None else after
    history = served.engine.parts.history
    status = await acting.perform(
        "executions.read", execution, lambda engine: engine.parts.executions.status_of(execution)
    )
    if preferred(request.headers.get("accept", ""), TYPES) != STREAM:
        told = await history.read(execution, after=after, limit=limit + 1)
        shown = [each.to_dict() for each in told[:limit]]
        return {"events": shown, "after": shown[-1]["seq"] if shown else after, "more": len(told) > limit}
    if last is not None and status in ENDED and not await history.read(execution, after=after, limit=1):
        return Response(status_code=204)
    if (full := served.feeds.full()) is not None:
        raise full
    until = acting.principal.expires_at
    return EventStream(lambda: served.feeds.listen(execution, after), until)


class EventStream(Response):
    """Events as they come, until they end, the caller has gone, or may listen no longer."""

    media_type = STREAM

    def __init__(self, listen: Callable[[], Any], until: datetime | None) -> None:
        super().__init__()
        del self.headers["content-length"]
        self.headers["Cache-Control"] = "no-store"
        self.headers["X-Accel-Buffering"] = "no"
        self._listen, self._until = listen, until

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream; it ends with the caller."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        sending = asyncio.ensure_future(self._sent(send))
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, gone):
                task.cancel()
            await asyncio.wait({sending, gone})
        if not sending.cancelled():
            sending.result()

    async def _sent(self, send: Send) -> None:
        await send({"type": "http.response.body", "body": f"retry: {RETRY_MS}\n\n".encode(), "more_body": True})
        stream: AsyncGenerator[bytes, None] = self._listen()
        async with aclosing(stream):
            async for part in stream:
                await send({"type": "http.response.body", "body": part, "more_body": True})
                if self._until is not None and utc_now() >= self._until:
                    break
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    """Return once the caller has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
