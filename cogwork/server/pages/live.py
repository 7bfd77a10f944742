"""Pages that follow what happens: parts of them, rendered anew and sent as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import Final

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from cogwork.errors import EngineError
from cogwork.server.doors import Doors, doors_of
from cogwork.server.pages.regions import Region
from state.errors import CogworkError

SECONDS: Final = 120.0
"""How long one stream lasts; browsers open the next one by themselves, and say again who they are."""
BEAT: Final = 15.0
"""Seconds after which something is sent, so that a reader who has gone is noticed."""
Parts = Callable[[], Awaitable[list[Region]]]
Mark = Callable[[], Awaitable[Hashable]]
"""Something cheap that is another when the parts may be."""


async def streamed(
    request: Request, parts: Parts, *, mark: Mark | None = None, over: Callable[[], bool] | None = None, every: float
) -> Response:
    """Those of the parts that have changed, as often as they do; until ``over``, or for a while.

    Raises:
        EngineError: who asks may not see them.
    """
    doors = doors_of(request.scope)
    if (most := doors.settings.server.limits.listeners) <= _counted(request, 0):
        raise EngineError(
            "rate_limited", f"{most} pages are followed already, as many as may be: load this one anew", limit=most
        )
    first = await parts()
    events = _events(request, first, parts, mark, over, every)
    return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _events(
    request: Request,
    first: list[Region],
    parts: Parts,
    mark: Mark | None,
    over: Callable[[], bool] | None,
    every: float,
) -> AsyncIterator[str]:
    _counted(request, 1)
    try:
        async for text in _changes(doors_of(request.scope), first, parts, mark, over, every):
            yield text
    finally:
        _counted(request, -1)


def _counted(request: Request, more: int) -> int:
    """How many pages of this server are followed, once there are so many more."""
    state = request.app.state
    state.followed = getattr(state, "followed", 0) + more
    return int(state.followed)


async def _changes(
    doors: Doors, first: list[Region], parts: Parts, mark: Mark | None, over: Callable[[], bool] | None, every: float
) -> AsyncIterator[str]:
    clock = asyncio.get_running_loop().time
    begun = beat = clock()
    sent: dict[str, str] = {}
    yield "retry: 2000\n\n"
    yield _told(first, sent)
    seen: Hashable = None
    while clock() - begun < SECONDS and not doors.draining:
        if over is not None and over():
            yield "event: over\ndata: {}\n\n"
            return
        await asyncio.sleep(every)
        try:
            now = await mark() if mark is not None else clock()
            text = _told(await parts(), sent) if now != seen else ""
            seen = now
        except CogworkError:  # it is gone, or cannot be reached now: the browser asks again
            return
        if text or clock() - beat > BEAT:
            beat = clock()
            yield text or ": still here\n\n"


def _told(regions: list[Region], sent: dict[str, str]) -> str:
    """The event of what differs from what was sent; empty where nothing does."""
    changed = [region for region in regions if sent.get(region.name) != region.digest]
    sent.update({region.name: region.digest for region in changed})
    return f"data: {json.dumps([region.to_dict() for region in changed])}\n\n" if changed else ""
