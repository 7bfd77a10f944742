"""The isolated execution's end of the line to its worker: requests and their answers, from any thread and event loop."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from typing import Any, Final, TypeAlias

from cogwork.isolation.faults import raised
from cogwork.isolation.frames import HEADER, packed
from state.errors import CogworkError

Heard: TypeAlias = Callable[[Mapping[str, Any]], None]
GIVEN_UP: Final = 30.0
"""Seconds that a call which was cut off may take to come to rest at the worker."""


class Line:
    """One connected socket. Requests may be made from everywhere; a thread hears what comes back.

    Attributes:
        job: the first message, what there is to do.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._sending = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[Future[Any], Heard | None]] = {}
        self.job: Mapping[str, Any] = self._next() or {}
        threading.Thread(target=self._hear, name="cogwork-line", daemon=True).start()

    def tell(self, what: str, **more: Any) -> None:
        """Send a message that nobody answers."""
        self._send({"do": what, **more})

    def ask(self, what: str, **more: Any) -> Any:
        """The answer to a request, for callers that can wait without an event loop.

        Raises:
            CogworkError: what the worker refused, as it was there.
        """
        return self._asked(what, more)[1].result()

    async def request(self, what: str, **more: Any) -> Any:
        """The answer to a request, waited for on the event loop.

        Raises:
            CogworkError: what the worker refused, as it was there.
        """
        return await asyncio.wrap_future(self._asked(what, more)[1])

    async def call(self, what: str, heard: Heard, fate: Callable[[], str], **more: Any) -> Any:
        """The answer to a long request that may be cut off; ``heard`` is told what comes before it, in the line's thread.

        A caller that is cancelled waits until the worker has brought the call to rest; ``fate`` says then how.

        Raises:
            CogworkError: what the worker refused, as it was there.
        """
        number, future = self._asked(what, more, heard)
        waiting = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            if not future.done():
                self._send({"do": "cut_off", "of": number, "fate": fate()})
                await asyncio.wait((waiting,), timeout=GIVEN_UP)
            if waiting.done() and not waiting.cancelled():
                waiting.exception()
            raise

    async def stream(self, what: str, **more: Any) -> AsyncIterator[Any]:
        """The parts of an answer, as they come.

        Raises:
            CogworkError: what the worker refused, as it was there.
        """
        loop, parts = asyncio.get_running_loop(), asyncio.Queue[Any]()

        def heard(message: Mapping[str, Any]) -> None:
            loop.call_soon_threadsafe(parts.put_nowait, message)

        number, future = self._asked(what, more, heard)
        future.add_done_callback(lambda done: heard({"done": done}))
        try:
            while "done" not in (message := await parts.get()):
                yield message["part"]
            message["done"].result()
        finally:
            if not future.done():
                self._send({"do": "cut_off", "of": number, "fate": "rest"})

    def _asked(self, what: str, more: Mapping[str, Any], heard: Heard | None = None) -> tuple[int, Future[Any]]:
        number, future = next(self._numbers), Future[Any]()
        self._waiting[number] = (future, heard)
        try:
            self._send({"do": what, "id": number, **more})
        except BaseException:
            del self._waiting[number]
            raise
        return number, future

    def _send(self, message: Mapping[str, Any]) -> None:
        data = packed(message)
        with self._sending:
            self._socket.sendall(data)

    def _hear(self) -> None:
        while (message := self._next()) is not None:
            number = message.get("id")
            future, heard = self._waiting.get(number, (None, None)) if isinstance(number, int) else (None, None)
            if future is None:
                continue
            if "ok" not in message and "raised" not in message:
                if heard is not None:
                    heard(message)
                continue
            del self._waiting[number]  # type: ignore[arg-type]
            if future.cancelled():
                continue
            if "ok" in message:
                future.set_result(message["ok"])
            else:
                future.set_exception(raised(message["raised"]))
        for future, _ in [*self._waiting.values()]:
            if not future.done():
                future.set_exception(CogworkError("The worker of this execution is gone"))

    def _next(self) -> dict[str, Any] | None:
        import ormsgpack

        header = self._read(HEADER.size)
        body = self._read(HEADER.unpack(header)[0]) if header else b""
        message: dict[str, Any] | None = ormsgpack.unpackb(body) if body else None
        return message

    def _read(self, size: int) -> bytes:
        """So many bytes; none where the worker is gone."""
        found = bytearray()
        while len(found) < size:
            try:
                chunk = self._socket.recv(min(size - len(found), 1 << 20))
            except OSError:
                return b""
            if not chunk:
                return b""
            found += chunk
        return bytes(found)
