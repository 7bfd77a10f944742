"""Workers as they are wired: one for a process of its own, or one beside a program, in a thread with an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from cogwork.engine.chores import chores
from cogwork.engine.parts import Parts, Shared
from cogwork.engine.worker import Chore, Worker
from cogwork.errors import EngineError

if TYPE_CHECKING:
    from cogwork.library.library import Library


def worker_of(parts: Parts, *, more: Sequence[Chore] = (), **options: Any) -> Worker:
    """A worker made of these parts, as the settings have it; ``options`` are its ``concurrency``, ``poll`` and ``labels``.

    Beside the engine's own chores it does ``more``.
    """
    chosen = parts.house.settings.engine
    options = {"concurrency": chosen.concurrency, "poll": chosen.poll_seconds, **options}
    return Worker(
        executions=parts.executions,
        segments=parts.segments,
        dispatch=parts.dispatch,
        saver=parts.saver,
        queues=parts.queues,
        chores=[*chores(parts, sweep=partial(_swept, parts)), *more],
        **options,
    )


async def _swept(parts: Parts) -> None:
    """Take away what has been kept for as long as the settings say."""
    from cogwork.retention import plan, sweep

    await sweep(parts.records, parts.saver, plan(parts.house.settings.retention, parts.executions.now()))


class Beside:
    """A worker in a thread of this process; begun by ``start``, ended in order by ``stop``."""

    def __init__(self, shared: Shared, *, library: Library | None = None, **options: Any) -> None:
        self._shared, self._library, self._options = shared, library, options
        self._ready, self._begun = threading.Event(), threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="cogwork-worker", daemon=True)

    def start(self) -> None:
        """Start it, and return when it takes from the queue.

        Raises:
            EngineError: it cannot; ``conflict`` where this process has one.
        """
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Let what runs rest, hand it on, and return when the thread has ended."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as err:
            self._error = err if isinstance(err, EngineError) else EngineError("conflict", f"The worker ended: {err}")
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        parts = self._shared.parts(self._library)
        try:
            await worker_of(parts, **self._options).serve(self._stop, self._ready.set)
        finally:
            await parts.close()
