"""Isolated executions: one stretch of a run in a confined fork, with the events that it would have in the worker itself."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from cogwork.isolation.job import Job
from cogwork.isolation.limits import Containment, Isolation, Limit
from cogwork.isolation.near_saver import NearSaver
from cogwork.isolation.near_services import NearServices
from cogwork.isolation.reports import Reports
from cogwork.isolation.serving import Breach, Over, Serving
from cogwork.isolation.zygote import ENDING, Fork, Zygote, containment_of
from graphs.keeping import kept_by
from state.errors import Fault, FaultClass
from state.events import Event, EventKind
from state.services import Services
from state.values import Json

T = TypeVar("T")

LAST: Final[frozenset[EventKind]] = frozenset({"run.completed", "run.failed", "run.cancelled", "run.paused"})
GRACE: Final = 2.0
"""Seconds that an execution may take to end by itself after its last event."""
LOOK: Final = 0.25
SHOWN: Final = 2_000
"""How many of the last bytes that it printed are told when it failed."""
_CLASSES: Final[Mapping[Limit, FaultClass]] = {
    "wall": "timeout",
    "cpu": "timeout",
    "memory": "refused",
    "output": "refused",
    "files": "refused",
    "processes": "refused",
    "protocol": "refused",
    "killed": "internal",
}


async def isolated_events(
    zygote: Zygote, job: Job, *, services: Services, saver: Any, isolation: Isolation | None = None
) -> AsyncIterator[Event]:
    """The events of one stretch of a run that has a process of its own; the last one says how it ended or where it rests.

    The last event's data has ``isolation``: what was ``held`` and what was ``missing``, and the processor time and memory that
    were used. An execution that broke a limit, or died, ends with ``run.failed``; its error names the limit. Nothing of it is
    left when this ends, is closed or is cancelled; the run can then be resumed from its checkpoints.

    Raises:
        Fault: ``unavailable`` where nothing can be forked, ``refused`` where what must hold does not hold here.
        InputRefused, AnswerRefused, NotResumable, SpecError: before anything runs, as without isolation.
        Exception: what the saver failed with, as without isolation.
    """
    limits = isolation or Isolation()
    async with zygote.forked(limits) as fork, Reports(fork.take("report")) as reports:
        stretch = _Stretch(fork, reports, limits, job, services, saver)
        try:
            async for event in stretch.events(zygote):
                yield event
        finally:
            fork.let_go()
            await asyncio.shield(asyncio.ensure_future(_gone(reports)))


async def _gone(reports: Reports) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(ENDING):
            await reports.ended()


@dataclass(slots=True)
class _Stretch:
    """One execution on its way."""

    fork: Fork
    reports: Reports
    limits: Isolation
    job: Job
    services: Services
    saver: Any
    run: str = ""
    last: Event | None = None
    stopped: tuple[Limit | None, str] | None = None
    """Why it is ended: the limit that it broke, or None where it did not heed that it was cancelled; and a sentence."""
    halted: asyncio.Event = field(default_factory=asyncio.Event)

    async def events(self, zygote: Zygote) -> AsyncIterator[Event]:
        """Its events, the last one made of how its process ended."""
        containment = containment_of(await self.reports.confined(), zygote.containment.reasons)
        if self.limits.network:
            containment = containment.without("network")
        if lacking := sorted(self.limits.require - {*containment.held}):
            why = "; ".join(containment.reasons)
            told = f"The execution wants what does not hold here: {', '.join(lacking)}" + (f" ({why})" if why else "")
            raise Fault("refused", told, details=containment.to_dict())
        near = NearServices(services=self.services, job=self.job, saver=self.saver)
        kept = NearSaver(self.saver, self.job.thread)
        if self.job.input is None:
            near.run = await kept.run_id()
        printed = _Printed(self.limits.output_bytes, self._stop)
        serving = Serving(self.fork.line, near, kept, self.limits, self.job.model_dump(mode="json"))
        timer = asyncio.get_running_loop().call_later(self.limits.wall_s, self._stop, "wall", self._told("wall"))
        watching = asyncio.create_task(self._obeyed())
        try:
            async with printed.reading(self.fork), serving:
                over = Over()
                async for item in self._items(serving):
                    if isinstance(item, Event):
                        yield item
                    else:
                        over = item
                ended = await self._ended(serving, natural=over.said and self.stopped is None)
        finally:
            timer.cancel()
            watching.cancel()
        yield self._ending(over, serving, ended, containment, printed.text())

    async def _items(self, serving: Serving) -> AsyncIterator[Event | Over]:
        """Events as they come, all but the last, and then why there are no more."""
        while True:
            item = await self._unless_halted(serving.next())
            match item:
                case None:
                    return
                case Over() as over:
                    yield over
                    return
                case Breach(how):
                    self._stop("protocol", f"It broke the protocol with {how}")
                    return
                case Event() as event:
                    self.run = event.run
                    if self.last is not None:
                        continue
                    if event.kind in LAST:
                        self.last = event
                    else:
                        yield event

    async def _unless_halted(self, coming: Awaitable[T]) -> T | None:
        """What comes; None where the execution is ended first."""
        waiting = [asyncio.ensure_future(coming), asyncio.ensure_future(self.halted.wait())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            return None if self.stopped is not None else waiting[0].result()
        finally:
            for each in waiting:
                each.cancel()

    def _stop(self, limit: Limit | None, why: str) -> None:
        if self.stopped is None:
            self.stopped = (limit, why)
            self.halted.set()

    async def _obeyed(self) -> None:
        """End the execution where it does not heed that it was cancelled."""
        requests, since = kept_by(self.saver).requests, 0.0
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(LOOK)
            found = await requests.open(self.job.thread)
            since = 0.0 if found is None or found.kind != "cancel" else since or clock()
            if since and clock() - since > self.limits.heed_s:
                self._stop(None, found.reason if found is not None else "")
                return

    async def _ended(self, serving: Serving, *, natural: bool) -> dict[str, Any]:
        """How the process ended; one that does not end by itself is ended."""
        if natural or self.stopped is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    await self._unless_halted(self.reports.ended())
        serving.give_up("rest" if self.last is not None else "cancel")
        self.fork.let_go()
        with suppress(TimeoutError):
            async with asyncio.timeout(ENDING):
                return await self.reports.ended() or {}
        return {}

    # -- the last event ------------------------------------------------------------------------------------

    def _ending(
        self, over: Over, serving: Serving, ended: Mapping[str, Any], containment: Containment, printed: str
    ) -> Event:
        """The last event.

        Raises:
            CogworkError: what the run raised instead of ending, or what the saver failed with.
        """
        used: dict[str, Json] = {name: ended.get(name) for name in ("cpu_s", "memory_mb")}
        about: dict[str, Json] = {**containment.to_dict(), **used}
        limit, why = self._reason(over, ended)
        if limit is None and self.stopped is not None:
            error = Fault("cancelled", why or "The run was cancelled", origin="workflow").record(node="")
            return self._made("run.cancelled", {"error": error, "isolation": about})
        if self.last is not None and limit in (None, "killed"):
            return self._made(self.last.kind, {**self.last.data, "isolation": about}, at=self.last.at)
        if serving.failed is not None:
            raise serving.failed
        if over.error is not None and limit is None:
            raise over.error
        details: dict[str, Json] = {
            "limit": limit,
            **{name: ended.get(name) for name in ("exit_code", "signal")},
            **used,
        }
        shown = self.services.secrets.redact(printed, cut=True)
        failed = Fault(
            _CLASSES[limit or "killed"],
            why,
            origin="workflow",
            details={**details, "output": shown} if shown else details,
        )
        return self._made("run.failed", {"error": failed.record(node=""), "isolation": about})

    def _reason(self, over: Over, ended: Mapping[str, Any]) -> tuple[Limit | None, str]:
        """The limit that ended the execution, and the sentence that says so; None where none did."""
        if self.stopped is not None:
            return self.stopped
        if (limit := ended.get("limit")) not in (None, "gone"):
            return limit, self._told(limit)
        if over.said:
            return None, ""
        code, signal = ended.get("exit_code"), ended.get("signal")
        how = (
            f"signal {signal}"
            if signal is not None
            else f"exit code {code}"
            if code is not None
            else "nobody knows how"
        )
        return "killed", f"The process of the isolated execution ended before the run did: {how}"

    def _told(self, limit: Limit) -> str:
        limits = self.limits
        most: Mapping[Limit, str] = {
            "memory": f"{limits.memory_mb} MiB of memory",
            "cpu": f"{limits.cpu_s} s of processor time",
            "wall": f"{limits.wall_s:g} s",
            "output": f"{limits.output_bytes:,} bytes of output",
            "files": f"{limits.disk_mb} MiB of files",
            "processes": f"{limits.processes} processes",
        }
        return f"The isolated execution took more than its {most.get(limit, limit)} and was ended"

    def _made(self, kind: EventKind, data: dict[str, Json], *, at: str = "") -> Event:
        return Event(kind=kind, run=self.run, at=at or datetime.now(UTC).isoformat(), data=data)


class _Printed:
    """What an execution prints: its last bytes, and an end to it where it is too much."""

    def __init__(self, most: int, stop: Callable[[Limit, str], None]) -> None:
        self._most, self._stop = most, stop
        self._seen = 0
        self._tail = b""
        self._transports: list[asyncio.ReadTransport] = []

    def reading(self, fork: Fork) -> _Printed:
        """Reads the outputs of the fork within the block."""
        self._handles = [fork.take("out"), fork.take("err")]
        return self

    async def __aenter__(self) -> None:
        for handle in self._handles:
            pipe = os.fdopen(handle, "rb", 0)
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: _Tap(self._take), pipe)
            self._transports.append(transport)

    async def __aexit__(self, *exc: object) -> None:
        for transport in self._transports:
            transport.close()

    def text(self) -> str:
        """The last of it."""
        return self._tail.decode("utf-8", errors="replace")

    def _take(self, data: bytes) -> None:
        self._seen += len(data)
        self._tail = (self._tail + data)[-SHOWN:]
        if self._seen > self._most:
            told = f"The isolated execution printed more than its {self._most:,} bytes of output and was ended"
            self._stop("output", told)
            for transport in self._transports:
                transport.pause_reading()


class _Tap(asyncio.Protocol):
    """Hands on what is read."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def data_received(self, data: bytes) -> None:
        """Some bytes have come."""
        self._take(data)
