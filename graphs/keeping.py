"""Who keeps what of a run: its owner, its calls and the requests to it, whatever the checkpointer."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final, Literal

from graphs.runtime.interrupted import take_up
from graphs.runtime.recording import Recording
from graphs.runtime.scheduler import Scheduler
from state.durable import Durable, InMemory, Request
from state.errors import Unrecorded

POLL: Final = 0.04
"""Seconds between two looks at what somebody asks of the run."""
SHUTDOWN: Final = "shutdown"
"""The reason of a pause with which a worker that ends hands its run on."""
_IN_MEMORY: Final = "_cogwork_in_memory"


def kept_by(saver: Any) -> Durable:
    """What keeps the rest of a run beside the checkpoints of ``saver``: itself where it can, else this process's memory."""
    if isinstance(saver, Durable):
        return saver
    known = saver.__dict__.get(_IN_MEMORY)
    if known is None:
        known = saver.__dict__[_IN_MEMORY] = InMemory()
    found: Durable = known
    return found


def owned_name(configurable: dict[str, Any]) -> str:
    """What is owned: the thread, or the part of it that belongs to one node of somebody else's graph."""
    namespace = configurable.get("checkpoint_ns") or ""
    return f"{configurable['thread_id']}|{namespace}" if namespace else str(configurable["thread_id"])


def request(
    kind: Literal["pause", "cancel"],
    reason: str,
    *,
    undo: bool = False,
    fault: Literal["cancelled", "timeout"] = "cancelled",
) -> Request:
    """A new request."""
    at = datetime.now(UTC).isoformat()
    return Request(id=uuid.uuid4().hex, kind=kind, undo=undo, reason=reason, at=at, fault=fault)


@asynccontextmanager
async def recorded(scheduler: Scheduler, kept: Durable, thread: str) -> AsyncIterator[None]:
    """Record the calls of the run within the block; at its end all of them are on disk."""
    run = scheduler.about["id"]
    known = await kept.calls.of_run(thread, run) if scheduler.resumed else {}
    scheduler.recording = Recording(thread, run, kept.calls, known, scheduler.now)
    take_up(scheduler, known.values())
    try:
        yield
    except BaseException:
        with suppress(Unrecorded):
            await scheduler.recording.flush()
        raise
    await scheduler.recording.flush()


async def void_pause(kept: Durable, thread: str) -> None:
    """Close the request to pause that nobody has heeded: what it was made for has ended."""
    left = await kept.requests.open(thread)
    if left is not None and left.kind == "pause":
        await kept.requests.close(thread, left)


@asynccontextmanager
async def heeded(scheduler: Scheduler, kept: Durable, thread: str) -> AsyncIterator[None]:
    """Heed, within the block, what somebody asks of the run, and the limit on its working time.

    A request to pause is void once the call ends; one to cancel stays until the run has ended.
    """
    left = await kept.requests.open(thread)
    if left is not None and left.kind == "cancel" and not scheduler.resumed:
        await kept.requests.close(thread, left)  # it was made for the run before this one
    elif left is not None and left.kind == "cancel":
        _heed(scheduler, left)
    try:
        async with _watched(scheduler, lambda: kept.requests.open(thread)):
            yield
    finally:
        if scheduler.about.get("ended"):
            left = await kept.requests.open(thread)
            if left is not None:
                await kept.requests.close(thread, left)
        else:
            await void_pause(kept, thread)


@asynccontextmanager
async def timed(scheduler: Scheduler) -> AsyncIterator[None]:
    """Heed, within the block, the limit on the working time of a run of which nobody can ask anything."""

    async def nothing() -> None:
        return None

    async with _watched(scheduler, nothing):
        yield


@asynccontextmanager
async def _watched(scheduler: Scheduler, asked: Callable[[], Awaitable[Request | None]]) -> AsyncIterator[None]:
    watch = asyncio.create_task(_watch(scheduler, asked))
    try:
        yield
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch


async def _watch(scheduler: Scheduler, asked: Callable[[], Awaitable[Request | None]]) -> None:
    while True:
        await asyncio.sleep(POLL)
        found = await asked()
        if found is not None:
            _heed(scheduler, found)
        scheduler.mind_time()


def _heed(scheduler: Scheduler, found: Request) -> None:
    if found.kind == "pause":
        scheduler.pause(SHUTDOWN if found.reason == SHUTDOWN else "requested")
    else:
        scheduler.cancel(found.reason, undo=found.undo, fault=found.fault)
