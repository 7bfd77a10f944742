"""The thread whose event loop the sessions live in, whatever loops and threads their callers come and go with."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from state.errors import Fault

T = TypeVar("T")
THREAD: Final = "cogwork-mcp"
STOP_SECONDS: Final = 2.0


class LoopThread:
    """An event loop in a thread of its own, started when it is first needed."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stopped = False

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin the work there; cancelling the future cancels it.

        Raises:
            Fault: ``unavailable``; the thread has been stopped.
        """
        with self._lock:
            if self._stopped:
                work.close()
                raise Fault("unavailable", "The connections to MCP servers have been closed", origin="tool")
            return asyncio.run_coroutine_threadsafe(work, self._started())

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of the work, from any event loop; the caller's cancellation is the work's."""
        return await asyncio.wrap_future(self.submit(work))

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name=THREAD, daemon=True)
            self._thread.start()
        return self._loop

    def stop(self, last: Coroutine[Any, Any, None], seconds: float) -> None:
        """Do the last work, for so many seconds at most, and end the loop; nothing can be begun any more."""
        with self._lock:
            loop, self._stopped = (None if self._stopped else self._loop), True
        if loop is None or self._thread is None:
            last.close()
            return
        ended = asyncio.run_coroutine_threadsafe(_emptied(last, seconds), loop)
        if self._thread is not threading.current_thread():
            _waited(ended, seconds + STOP_SECONDS)
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(STOP_SECONDS)
            if not loop.is_running():
                loop.close()


async def _emptied(last: Coroutine[Any, Any, None], seconds: float) -> None:
    """Do the last work, then give up whatever else is left on the loop."""
    try:
        async with asyncio.timeout(seconds):
            await last
    finally:
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=STOP_SECONDS / 2)


def _waited(ended: Future[None], seconds: float) -> None:
    try:
        ended.result(seconds)
    except (TimeoutError, asyncio.CancelledError):
        return
