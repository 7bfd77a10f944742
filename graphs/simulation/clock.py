"""An event loop whose time jumps to the next timer whenever nothing else is to do: nobody waits for a wait."""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

T = TypeVar("T")
BEGIN: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""What the clock shows at first; every simulation of one workflow sees the same times."""
_RESOLUTION: Final = 1e-6
"""Timers this close, in seconds, are due: asyncio's own measure is lost in rounding after a virtual year."""


class Stuck(Exception):
    """The work goes on and on, also in time that costs nothing."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at time 0; ``deadline`` is the real time (``time.monotonic``) after which work is given up."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.deadline = float("inf")
        self.threads = 0
        super().__init__(_Jumping(self))
        self._clock_resolution = _RESOLUTION

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self.elapsed

    def now(self) -> datetime:
        """The virtual time of day."""
        return BEGIN + timedelta(seconds=self.elapsed)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """As ever; while a thread is at work, time stands still."""
        future = super().run_in_executor(executor, func, *args)
        self.threads += 1
        future.add_done_callback(self._returned)
        return future

    def _returned(self, future: Any) -> None:
        self.threads -= 1


class _Jumping(selectors.DefaultSelector):
    """Looks at the real files without waiting for them, and moves its loop's time instead."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        super().__init__()

    def select(self, timeout: float | None = None) -> Any:
        if time.monotonic() > self.loop.deadline:
            self.loop.deadline = float("inf")
            raise Stuck
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None or self.loop.threads:
            return super().select(None if self.loop.deadline == float("inf") else 1.0)
        self.loop.elapsed += timeout
        return ready


def run(work: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """What ``work`` gives in virtual time, on a thread of its own, so that it may be called anywhere."""
    found: list[T] = []
    failed: list[BaseException] = []

    def begin() -> None:
        try:
            with asyncio.Runner(loop_factory=VirtualLoop) as runner:
                loop = runner.get_loop()
                assert isinstance(loop, VirtualLoop)
                found.append(runner.run(work(loop)))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=begin, name="cogwork-simulation", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]
