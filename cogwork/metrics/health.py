"""The state of the whole: every dependency probed at once, within a time that none of them can draw out."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, TypeVar

from state.values import Json

T = TypeVar("T")
Status: TypeAlias = Literal["healthy", "degraded", "unhealthy"]
TIMEOUT_SECONDS: Final = 5.0
_GRACE_SECONDS: Final = 0.2
"""That a probe which was given up has to clean up."""
VITAL: Final = frozenset({"records", "checkpoints", "queue"})
"""Without these nothing can be run; without any other part something can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """How one dependency stands: a ``status``, a sentence for people, and figures as plain JSON."""

    status: Status
    detail: str = ""
    figures: Mapping[str, Json] = field(default_factory=dict)


Probe: TypeAlias = Callable[[], Awaitable[Part]]
"""Asks one dependency. It must not block the event loop: ``aside`` runs what blocks."""


async def system_health(
    parts: Mapping[str, Probe],
    *,
    within: float = TIMEOUT_SECONDS,
    vital: Iterable[str] = VITAL,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Json]:
    """How every part stands: ``{"status": …, "parts": {name: {"status", "detail", "latency_ms", …}}}``.

    ``unhealthy``: one of the ``vital`` parts is. ``degraded``: any part is not healthy. A probe that fails, or does not answer
    ``within`` so many seconds, tells of an unhealthy part; this call itself raises nothing and takes hardly longer than that.
    """
    tasks = {name: asyncio.create_task(_timed(probe, clock), name=f"health {name}") for name, probe in parts.items()}
    late: set[asyncio.Task[tuple[Part, float]]] = set()
    try:
        if tasks:
            _, late = await asyncio.wait(tasks.values(), timeout=within)
    finally:
        for task in tasks.values():
            task.cancel()
    if late:
        await asyncio.wait(late, timeout=_GRACE_SECONDS)
    silent = Part(status="unhealthy", detail=f"it did not answer within {within:g} s"), within
    found = {name: silent if task in late else task.result() for name, task in tasks.items()}
    states = {name: part.status for name, (part, _) in found.items()}
    return {
        "status": overall(states, frozenset(vital)),
        "parts": {name: _told(part, seconds) for name, (part, seconds) in sorted(found.items())},
    }


def overall(states: Mapping[str, Status], vital: frozenset[str] = VITAL) -> Status:
    """The state of the whole: ``unhealthy`` where a vital part is, ``degraded`` where any is less than healthy."""
    if any(state == "unhealthy" and name in vital for name, state in states.items()):
        return "unhealthy"
    return "degraded" if any(state != "healthy" for state in states.values()) else "healthy"


async def _timed(probe: Probe, clock: Callable[[], float]) -> tuple[Part, float]:
    begun = clock()
    try:
        part = await probe()
    except Exception as err:
        text = " ".join(str(err).split()) or type(err).__name__
        part = Part(status="unhealthy", detail=text[:500])
    return part, clock() - begun


def _told(part: Part, seconds: float) -> dict[str, Json]:
    return {"status": part.status, "detail": part.detail, "latency_ms": round(seconds * 1000, 3), **part.figures}


async def aside(call: Callable[[], T]) -> T:
    """What ``call`` returns, from a thread of its own that nobody waits for as the program ends: it may hang."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[T] = loop.create_future()

    def tell(value: T | None, error: BaseException | None) -> None:
        if told.done():
            return
        if error is not None:
            told.set_exception(error)
        else:
            told.set_result(value)  # type: ignore[arg-type]

    def work() -> None:
        value, error = None, None
        try:
            value = call()
        except Exception as err:
            error = err
        try:
            loop.call_soon_threadsafe(tell, value, error)
        except RuntimeError:  # The loop is closed: nobody wants to know any more.
            return

    threading.Thread(target=work, name="cogwork-health", daemon=True).start()
    return await told
