"""The worker's end of the line to one isolated execution: hears it without trust, answers it, and gathers its events."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from cogwork.isolation import asked as forms
from cogwork.isolation.faults import raised, told
from cogwork.isolation.frames import HEADER, LARGE, Broken, length, packed, unpacked
from cogwork.isolation.limits import MB, Isolation
from cogwork.isolation.near_saver import NearSaver
from cogwork.isolation.near_services import Calling, NearServices
from state.errors import CogworkError
from state.events import EVENT_KINDS, Event
from state.values import UnfitValue, normalise

MOST_AT_ONCE: Final = 2_048
MOST_EVENTS: Final = 1_000
"""How many events may wait for whoever reads them; then the execution waits."""
PER_SECOND: Final = 5_000
"""How many messages a second are read for long."""
BURST: Final = 10_000
UNHEARD: Final = 1 * MB
"""With so much unread by the execution, it is told no more of the progress of calls."""


@dataclass(frozen=True, slots=True)
class Over:
    """Nothing more comes: the execution raised something, or it said that it is done, or its line is closed."""

    error: CogworkError | None = None
    said: bool = False


@dataclass(frozen=True, slots=True)
class Breach:
    """The protocol was broken."""

    how: str


Item: TypeAlias = Event | Over | Breach


class Serving:
    """Answers one execution from a socket, which it closes; what happens comes out of ``next``."""

    def __init__(
        self,
        connection: socket.socket,
        near: NearServices,
        saver: NearSaver,
        isolation: Isolation,
        job: Mapping[str, Any],
    ) -> None:
        self._socket, self._near, self._saver, self._job = connection, near, saver, job
        self._most = isolation.message_mb * MB
        self._items: asyncio.Queue[Item] = asyncio.Queue(MOST_EVENTS)
        self._tasks: dict[int, tuple[asyncio.Task[None], Calling]] = {}
        self._sizes: dict[int, int] = {}
        self._served = _served(near, saver)
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.failed: Exception | None = None
        """What the worker's own store failed with first: the execution cannot go on then, and that is not its fault."""

    async def __aenter__(self) -> Serving:
        self._socket.setblocking(False)
        self._loop = asyncio.get_running_loop()
        reader, self._writer = await asyncio.open_connection(sock=self._socket)
        self._send(self._job)
        self._reading = asyncio.create_task(self._read(reader))
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop all that is under way for it; what is being written to the store is written."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))
        tasks = [task for task, _ in self._tasks.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._saver.aclose()
        if self._writer is not None:
            self._writer.transport.abort()

    async def next(self) -> Item:
        """What happens next."""
        return await self._items.get()

    def give_up(self, fate: str) -> None:
        """Say what is to become of runs within the calls that are under way."""
        for _, calling in self._tasks.values():
            calling.fate = fate  # type: ignore[assignment]

    # -- hearing -------------------------------------------------------------------------------------------

    async def _read(self, reader: asyncio.StreamReader) -> None:
        pace = _Pace()
        try:
            while True:
                size = length(await reader.readexactly(HEADER.size), self._most)
                body = await reader.readexactly(size)
                message = unpacked(body) if size <= LARGE else await asyncio.to_thread(unpacked, body)
                await self._take(forms.understood(message), size)
                await pace.kept()
        except Broken as err:
            await self._items.put(Breach(str(err)))
        except (asyncio.IncompleteReadError, OSError):
            await self._items.put(Over())

    async def _take(self, message: Any, size: int) -> None:
        match message:
            case forms.Happened():
                await self._items.put(_event(message.event, self._near))
            case forms.Refused():
                await self._items.put(Over(raised(message.raised), said=True))
            case forms.Done():
                await self._items.put(Over(said=True))
            case forms.CutOff():
                self._cut_off(message)
            case _:
                self._begin(message, size)

    def _begin(self, request: Any, size: int) -> None:
        if request.id in self._tasks:
            raise Broken("two requests with one number")
        if len(self._tasks) >= MOST_AT_ONCE or sum(self._sizes.values()) + size > 8 * self._most:
            raise Broken("more requests at once than any execution needs")
        calling = Calling(tell=partial(self._progress, request.id))
        task = asyncio.create_task(self._answer(request, calling))
        self._tasks[request.id], self._sizes[request.id] = (task, calling), size
        task.add_done_callback(partial(self._forget, request.id))

    def _forget(self, number: int, task: asyncio.Task[None]) -> None:
        del self._tasks[number], self._sizes[number]
        if not task.cancelled() and (error := task.exception()) is not None and not self._items.full():
            self._items.put_nowait(Breach(str(error)))

    def _cut_off(self, message: forms.CutOff) -> None:
        task, calling = self._tasks.get(message.of, (None, None))
        if task is not None and calling is not None:
            calling.fate = message.fate
            task.cancel()

    # -- answering -----------------------------------------------------------------------------------------

    async def _answer(self, request: Any, calling: Calling) -> None:
        """Do what is requested and send the answer.

        Raises:
            Broken: the request makes no sense, which ends the execution.
        """
        try:
            if request.do == "stream_model":
                async for part in self._near.parts(request):
                    self._send({"id": request.id, "part": part})
                    await self._drained()
                answer = None
            elif request.do == "ask_model":
                answer = [part async for part in self._near.parts(request)]
            elif request.do == "call_tool":
                answer = await self._near.call_tool(request, calling)
            else:
                answer = await self._served[request.do](request)
            reply = {"id": request.id, "ok": answer}
        except asyncio.CancelledError:
            self._reply({"id": request.id, "raised": {"kind": "error", "type": "Cancelled", "message": "given up"}})
            raise
        except Broken:
            raise
        except Exception as error:
            if request.do in _STORED and not isinstance(error, CogworkError):
                self.failed = self.failed or error
            reply = {"id": request.id, "raised": self._near.services.secrets.redact(told(error))}
        self._reply(reply)
        await self._drained()

    def _reply(self, reply: Mapping[str, Any]) -> None:
        try:
            self._send(reply)
        except TypeError as err:
            message = f"What the worker has cannot be sent: {err}"
            self._send({"id": reply["id"], "raised": {"kind": "error", "type": "TypeError", "message": message}})

    def _progress(self, number: int, message: dict[str, Any]) -> None:
        """Tell of the progress of a call, unless the execution does not listen; from any thread."""
        writer = self._writer
        if writer is not None and writer.transport.get_write_buffer_size() < UNHEARD:
            self._loop_call(partial(self._send, {"id": number, **message}))

    def _loop_call(self, do: Callable[[], None]) -> None:
        """Do it at once where this is the event loop's thread, so that it comes before the answer; else soon."""
        if self._loop is _running():
            do()
        elif self._loop is not None:
            self._loop.call_soon_threadsafe(do)

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._writer is not None and not self._writer.transport.is_closing():
            self._writer.write(packed(message))

    async def _drained(self) -> None:
        if self._writer is not None:
            try:
                await self._writer.drain()
            except OSError:
                return


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class _Pace:
    """Lets an execution send a burst of messages, and then only so many a second."""

    def __init__(self) -> None:
        self._left, self._at = float(BURST), asyncio.get_running_loop().time()

    async def kept(self) -> None:
        """Wait, where the execution is faster than that."""
        now = asyncio.get_running_loop().time()
        self._left = min(float(BURST), self._left + (now - self._at) * PER_SECOND) - 1
        self._at = now
        if self._left < 0:
            await asyncio.sleep(-self._left / PER_SECOND)


_STORED: Final = frozenset(
    {"get_tuple", "list_tuples", "put", "put_writes", "calls_of", "keep_call", "forget_call", "open_request", "own"}
)
"""The requests that only fail with an unknown exception where the store itself does."""


def _served(near: NearServices, saver: NearSaver) -> dict[str, Callable[[Any], Awaitable[Any]]]:
    """What answers each kind of request; what may block is done in a thread."""
    services = near.services

    def apart(do: Callable[[Any], Any]) -> Callable[[Any], Awaitable[Any]]:
        return lambda request: asyncio.to_thread(do, request)

    return {
        "facts": apart(lambda _: near.facts()),
        "find_tool": apart(lambda request: near.find_tool(request.name)),
        "tool_names": apart(lambda _: near.tool_names()),
        "tools_matching": apart(lambda request: near.tools_matching(request.pattern)),
        "tool_problem": apart(lambda request: near.tool_problem(request.name)),
        "release_tools": lambda request: services.tools.release(request.run),
        "find_model": apart(near.find_model),
        "context_length": apart(lambda request: services.models.context_length(request.name)),
        "price": apart(lambda request: near.price(request.name)),
        "fallbacks": apart(lambda request: [*services.models.fallbacks(request.mode)]),
        "model_problem": apart(lambda request: services.models.problem(request.name)),
        "find_prompt": apart(near.find_prompt),
        "prompt_names": apart(lambda _: [*services.prompts.names()]),
        "render": apart(near.render),
        "search": apart(near.search),
        "secret_names": apart(lambda _: [*services.secrets.names()]),
        "secret_problem": apart(lambda request: services.secrets.problem(request.name, tool=request.tool)),
        "get_tuple": saver.get_tuple,
        "list_tuples": saver.list_tuples,
        "put": saver.put,
        "put_writes": saver.put_writes,
        "calls_of": lambda request: saver.calls_of(request.run),
        "keep_call": saver.keep_call,
        "forget_call": lambda request: saver.forget_call(request.key),
        "open_request": lambda _: saver.open_request(),
        "close_request": saver.close_request,
        "own": lambda request: saver.own(request.name),
        "disown": lambda request: saver.disown(request.name),
        "alive": lambda request: saver.alive(request.name),
    }


def _event(raw: dict[str, Any], near: NearServices) -> Event:
    """The event that the execution tells of, without secrets.

    Raises:
        Broken: it is none.
    """
    try:
        event = Event.from_dict(normalise(raw))
    except (UnfitValue, KeyError, TypeError) as err:
        raise Broken(f"an event that is none: {type(err).__name__}") from None
    texts = (event.run, event.at, event.step)
    if event.kind not in EVENT_KINDS or not all(isinstance(each, str) and len(each) <= 1_000 for each in texts):
        raise Broken("an event of no known form")
    shown = near.services.secrets.redact(event.data)
    return Event(kind=event.kind, run=event.run, at=event.at, step=event.step, data=shown)
