"""What happens in executions, for many listeners at once: each execution is looked at once, however many listen to it."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cogwork.errors import EngineError
from cogwork.executions.history import LOOK_SECONDS
from cogwork.executions.statuses import ENDED

if TYPE_CHECKING:
    from cogwork.executions.history import Told
    from cogwork.workflow_engine import WorkflowEngine

KEPT: Final = 512
KEPT_BYTES: Final = 1024 * 1024
"""So many of the latest events of an execution are at hand; who is further behind reads the records."""
LOOKED: Final = 128
BEHIND: Final = 16
"""Events that are read at once, for all listeners and for one that is far behind."""
HEARTBEAT_SECONDS: Final = 15.0
HEARTBEAT: Final = b": still here\n\n"


class Feeds:
    """The streams of events of one server; at most ``most`` at once."""

    def __init__(self, engine: WorkflowEngine, most: int, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        self._engine, self._most, self.heartbeat = engine, most, heartbeat
        self._feeds: dict[str, _Feed] = {}
        self.listening = 0
        self.closing = asyncio.Event()

    def full(self) -> EngineError | None:
        """Why nobody more can listen; None where somebody can."""
        if self.closing.is_set():
            return EngineError("database_error", "The server is about to end: listen at another")
        if self.listening >= self._most:
            told = f"{self._most} streams of events are open already, as many as may be: wait, or read pages of events"
            return EngineError("rate_limited", told, limit=self._most, retry_after=5)
        return None

    async def listen(self, execution: str, after: int) -> AsyncIterator[bytes]:
        """The events after that number as they are sent, with a heartbeat where nothing comes, to the execution's end.

        Raises:
            EngineError: ``execution_not_found``, ``database_error``.
        """
        feed = self._feeds.get(execution)
        if feed is None or feed.task.done():
            feed = self._feeds[execution] = _Feed(self._engine, execution, after)
        feed.listeners += 1
        self.listening += 1
        try:
            async for part in self._heard(feed, after):
                yield part
        finally:
            self.listening -= 1
            feed.listeners -= 1
            if not feed.listeners:
                if self._feeds.get(execution) is feed:
                    del self._feeds[execution]
                await feed.close()

    async def _heard(self, feed: _Feed, after: int) -> AsyncIterator[bytes]:
        while not self.closing.is_set():
            moved, over = feed.moved, feed.over
            if some := await feed.behind(after):
                after = some[-1][0]
                for _, encoded in some:
                    yield encoded
            elif over:
                feed.raise_error()
                yield _ending(feed.status)
                return
            elif not await self._stirred(moved):
                yield HEARTBEAT

    async def _stirred(self, moved: asyncio.Event) -> bool:
        """Whether something has come, or the server ends, before it is time for a heartbeat."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.heartbeat):
                await moved.wait()
                return True
        return False

    async def close(self) -> None:
        """End all streams."""
        self.closing.set()
        for feed in list(self._feeds.values()):
            feed.stir()


class _Feed:
    """One execution that is looked at for its listeners; holds the latest events, as they are sent, once for all of them."""

    def __init__(self, engine: WorkflowEngine, execution: str, after: int) -> None:
        self._history, self._engine, self._execution = engine.parts.history, engine, execution
        self._kept: deque[tuple[int, bytes]] = deque()
        self._size, self._reached = 0, after
        self.moved, self.over, self.status, self.listeners = asyncio.Event(), False, "", 0
        self._error: EngineError | None = None
        self.task = asyncio.create_task(self._look(), name=f"events of {execution}")

    def raise_error(self) -> None:
        """Raise what has kept it from looking further, if anything."""
        if self._error is not None:
            raise self._error

    async def behind(self, after: int) -> list[tuple[int, bytes]]:
        """The events after that number that there are, some of them at least."""
        if self._kept and self._kept[0][0] <= after + 1:
            return [each for each in self._kept if each[0] > after] if self._kept[-1][0] > after else []
        if after >= self._reached:
            return []
        return [
            (told.seq, encoded(told)) for told in await self._history.read(self._execution, after=after, limit=BEHIND)
        ]

    def stir(self) -> None:
        """Wake all who wait."""
        self.moved.set()
        self.moved = asyncio.Event()

    async def _look(self) -> None:
        try:
            while True:
                self.status = await self._engine.parts.executions.status_of(self._execution)
                told = await self._history.read(self._execution, after=self._reached, limit=LOOKED)
                for each in told:
                    self._keep(each.seq, encoded(each))
                self.over = not told and self.status in ENDED
                if told or self.over:
                    self.stir()
                if self.over:
                    return
                if not told:
                    await asyncio.sleep(LOOK_SECONDS)
        except EngineError as error:
            self._error, self.over = error, True
            self.stir()

    def _keep(self, number: int, event: bytes) -> None:
        self._kept.append((number, event))
        self._reached, self._size = number, self._size + len(event)
        while len(self._kept) > KEPT or (self._size > KEPT_BYTES and len(self._kept) > 1):
            self._size -= len(self._kept.popleft()[1])

    async def close(self) -> None:
        """Look no more."""
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


def encoded(told: Told) -> bytes:
    """An event as it is sent."""
    data = json.dumps(told.to_dict(), ensure_ascii=False, separators=(",", ":"))
    return f"id: {told.seq}\nevent: {told.event.kind}\ndata: {data}\n\n".encode("utf-8", "replace")


def _ending(status: str) -> bytes:
    return f'event: end\ndata: {{"status":"{status}"}}\n\n'.encode()
