"""Async calls for callers without an event loop: one background loop, shared by the process."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
LOOP_THREAD = "cogwork-loop"
_END = object()
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def loop() -> asyncio.AbstractEventLoop:
    """The background loop; started by the first call, ends with the process."""
    global _loop
    with _lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name=LOOP_THREAD, daemon=True).start()
        return _loop


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result, waited for; an interrupt from the keyboard cancels it."""
    target = loop()
    if threading.current_thread().name == LOOP_THREAD:
        coroutine.close()
        raise RuntimeError("This is the background loop itself: await the async form instead")
    future = asyncio.run_coroutine_threadsafe(coroutine, target)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def iterate(make: Callable[[], AsyncIterator[T]]) -> Iterator[T]:
    """The items of an async iterator, as they come; leaving early closes it, and waits until it is closed."""
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    begun, ended = threading.Event(), threading.Event()

    async def pump() -> None:
        begun.set()
        source = make()
        try:
            async for item in source:
                items.put(item)
        finally:
            try:
                close = getattr(source, "aclose", None)
                if close is not None:
                    await close()
            finally:
                ended.set()

    future = asyncio.run_coroutine_threadsafe(pump(), loop())
    future.add_done_callback(lambda done: items.put(_END))
    try:
        while (item := items.get()) is not _END:
            yield item
        future.result()
    finally:
        future.cancel()
        if begun.is_set() and threading.current_thread().name != LOOP_THREAD:
            ended.wait()
