"""What a run needs kept besides its checkpoints: who owns it, what it called, and what it is asked to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

from state.errors import Owned
from state.events import Event
from state.services import Effect
from state.values import Json

PATIENCE: Final = 2.0
"""Seconds that a call waits for another one of the same thread that is about to end."""
PATIENCE_ROUNDS: Final = 40

CallStatus: TypeAlias = Literal["begun", "done", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """One call to a tool or model: the intent, and once it has ended its result.

    ``key``        ``run:path:number``, the same for every attempt; what tools get as idempotency key
    ``target``     the tool's or model's name
    ``attempt``    the attempt that begun last, counted from 1
    ``status``     ``begun`` while nobody knows how it ended; ``failed`` when the attempt surely failed
    ``result``     plain JSON, once done
    ``error``      ``Fault.record``, once failed
    ``begun_at``   ISO 8601 in UTC
    """

    key: str
    run: str
    step: str
    target: str
    effect: Effect
    repeatable: bool
    attempt: int = 1
    status: CallStatus = "begun"
    result: Json = None
    error: Mapping[str, Json] | None = None
    args: Json = None
    begun_at: str = ""
    ended_at: str = ""


class CallRecord(Protocol):
    """The calls of the runs of a store, by thread; every write is on disk when the method returns."""

    async def of_run(self, thread: str, run: str) -> Mapping[str, RecordedCall]:
        """The calls of a run, by key."""

    async def keep(self, thread: str, call: RecordedCall) -> None:
        """Write the call, in place of what is there under its key."""

    async def forget(self, thread: str, key: str) -> None:
        """Remove the call, so that it may be made anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody asks of a run that another process may work on; ``undo`` counts with ``cancel``.

    A ``cancel`` whose ``fault`` is ``timeout`` ends the run as failed for that reason.
    """

    id: str
    kind: Literal["pause", "cancel"]
    undo: bool = False
    reason: str = ""
    at: str = ""
    fault: Literal["cancelled", "timeout"] = "cancelled"


class Requests(Protocol):
    """The requests to the runs of a store, by thread; at most one is open per thread, the last one made."""

    async def make(self, thread: str, request: Request) -> None:
        """Leave a request; ``cancel`` replaces ``pause``, but not the other way round."""

    async def open(self, thread: str) -> Request | None:
        """The open request of the thread; cheap enough to be asked twenty times a second."""

    async def close(self, thread: str, request: Request) -> None:
        """The request is fulfilled, or void."""


class Owners(Protocol):
    """Who may work on a thread: one at a time, gone with its process however that ends."""

    def held(self, thread: str) -> AbstractAsyncContextManager[None]:
        """Own the thread's run within the block; waits a moment for an owner that is about to let go.

        Raises:
            Owned: somebody else works on it.
        """

    def alive(self, thread: str) -> bool:
        """Whether somebody works on the thread's run."""


class Witness(Protocol):
    """Who is told what happens in one call of a graph, between taking up a run and leaving it.

    Where it ``traces``, the ends of steps are told with what they gave.
    """

    traces: bool

    def saw(self, event: Event) -> None:
        """A step event; returns at once."""

    async def left(self, values: Mapping[str, Json], questions: tuple[Json, ...]) -> None:
        """The call ends in order: the state in the checkpoint, and what people are asked."""

    async def broke(self, error: BaseException) -> None:
        """The call ends otherwise, and the run stands where its last checkpoint is."""


class Observer(Protocol):
    """Who keeps a record of runs beside their checkpoints, whichever door they came through."""

    async def began(
        self,
        thread: str,
        about: Mapping[str, Json],
        *,
        input: Json,
        steps: Mapping[str, Mapping[str, str]],
        configurable: Mapping[str, Any],
    ) -> Witness:
        """The owner of ``thread`` takes up the run that ``about`` tells of.

        ``input`` is that of the run, ``steps`` what is known of each step by its id: ``kind``, ``tool``, ``agent``.

        Raises:
            CogworkError: the run must not go on; nothing has been done.
        """


@runtime_checkable
class Durable(Protocol):
    """A checkpointer that keeps all of this beside its checkpoints; others get a record in memory."""

    @property
    def calls(self) -> CallRecord:
        """The record of calls."""

    @property
    def requests(self) -> Requests:
        """The open requests."""

    @property
    def owners(self) -> Owners:
        """Who works on what."""


class MemoryCalls:
    """A ``CallRecord`` in memory."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], dict[str, RecordedCall]] = {}

    async def of_run(self, thread: str, run: str) -> Mapping[str, RecordedCall]:
        """The calls of a run, by key."""
        return dict(self._calls.get((thread, run), {}))

    async def keep(self, thread: str, call: RecordedCall) -> None:
        """Write the call."""
        self.note(thread, call)

    def note(self, thread: str, call: RecordedCall) -> None:
        """``keep``, at once: there is nothing to wait for."""
        self._calls.setdefault((thread, call.run), {})[call.key] = call

    async def forget(self, thread: str, key: str) -> None:
        """Remove the call."""
        for (owner, _), calls in self._calls.items():
            if owner == thread:
                calls.pop(key, None)


class MemoryRequests:
    """``Requests`` in memory."""

    def __init__(self) -> None:
        self._open: dict[str, Request] = {}

    async def make(self, thread: str, request: Request) -> None:
        """Leave a request."""
        known = self._open.get(thread)
        if known is None or known.kind == "pause" or request.kind == "cancel":
            self._open[thread] = request

    async def open(self, thread: str) -> Request | None:
        """The open request."""
        return self._open.get(thread)

    async def close(self, thread: str, request: Request) -> None:
        """The request is fulfilled."""
        if (known := self._open.get(thread)) is not None and known.id == request.id:
            del self._open[thread]


class MemoryOwners:
    """``Owners`` within one process."""

    def __init__(self) -> None:
        self._held: set[str] = set()

    def held(self, thread: str) -> AbstractAsyncContextManager[None]:
        """Own the thread's run within the block."""
        return self._holding(thread)

    @asynccontextmanager
    async def _holding(self, thread: str) -> AsyncIterator[None]:
        for _ in range(PATIENCE_ROUNDS):
            if thread not in self._held:
                break
            await asyncio.sleep(PATIENCE / PATIENCE_ROUNDS)
        if thread in self._held:
            raise Owned(thread)
        self._held.add(thread)
        try:
            yield
        finally:
            self._held.discard(thread)

    def alive(self, thread: str) -> bool:
        """Whether somebody works on it."""
        return thread in self._held


@dataclass(slots=True)
class InMemory:
    """All of ``Durable`` for a checkpointer that keeps nothing else: as long-lived as its process, like its checkpoints."""

    calls: CallRecord = field(default_factory=MemoryCalls)
    requests: Requests = field(default_factory=MemoryRequests)
    owners: Owners = field(default_factory=MemoryOwners)
