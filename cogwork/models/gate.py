"""How many calls an endpoint gets: so many at once, so many requests and tokens a minute, in the order in which they came."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from state.errors import Fault

if TYPE_CHECKING:
    from limits.storage import MemoryStorage

MINUTE: Final = 60
LONGEST_CLOSED: Final = 900.0
"""Seconds that a gate stays closed at an endpoint's word, at most: it is not to be locked for a day by one odd reply."""
LEAST_WAIT: Final = 0.02
"""Seconds before a limit is looked at again, at least."""


@dataclass(slots=True, eq=False)
class _Waiter:
    loop: asyncio.AbstractEventLoop
    turn: asyncio.Future[None]
    called: bool = False


class Turns:
    """``at_once`` callers at a time, the others in a line; callers may be in any thread and event loop."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._line: deque[_Waiter] = deque()
        self._lock = threading.Lock()

    async def enter(self) -> None:
        """Wait for a turn, and have it until ``leave``."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._free and not self._line:
                self._free -= 1
                return
            waiter = _Waiter(loop, loop.create_future())
            self._line.append(waiter)
        try:
            await waiter.turn
        except BaseException:
            with self._lock:
                called = waiter.called
                if not called:
                    self._line.remove(waiter)
            if called:
                self.leave()
            raise

    def leave(self) -> None:
        """Hand the turn on to the next in line whose event loop still runs; without one it is free."""
        with self._lock:
            while self._line:
                waiter = self._line.popleft()
                waiter.called = True
                try:
                    waiter.loop.call_soon_threadsafe(_call, waiter.turn)
                except RuntimeError:
                    continue
                return
            self._free += 1


def _call(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


class Rate:
    """At most ``amount`` in any ``seconds``; asked by one caller at a time.

    ``exact`` counts each unit by itself, which suits requests; else they are counted by the window, which suits tokens. Rates that
    share a ``storage`` share the thread that clears it.
    What is known only afterwards, such as the tokens of an answer, is counted with ``owe``, and the next ones wait for it.
    """

    def __init__(
        self, amount: int, seconds: int = MINUTE, *, exact: bool = True, storage: MemoryStorage | None = None
    ) -> None:
        from limits import RateLimitItemPerSecond
        from limits.storage import MemoryStorage
        from limits.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

        self.amount, self.seconds, self.exact = amount, seconds, exact
        self.owed = 0
        self._item = RateLimitItemPerSecond(amount, seconds)
        strategy = MovingWindowRateLimiter if exact else SlidingWindowCounterRateLimiter
        self._limiter = strategy(storage or MemoryStorage())
        self._what = "requests" if exact else "tokens"

    def wait(self, cost: int) -> float:
        """The seconds to wait before asking again, at least; 0 where ``cost`` may be taken now.

        More than there can ever be counts as all there is.
        """
        wanted = self._wanted(cost)
        if self._limiter.test(self._item, self._what, cost=wanted):
            return 0.0
        state = self._limiter.get_window_stats(self._item, self._what)
        if self.exact and wanted == 1:
            return max(state.reset_time - time.time(), LEAST_WAIT)
        return max((wanted - state.remaining) * self.seconds / self.amount, LEAST_WAIT)

    def take(self, cost: int) -> None:
        """Count ``cost``, and what is owed, as used."""
        wanted = self._wanted(cost)
        self.owed = max(0, cost + self.owed - wanted)
        self._count(wanted)

    def owe(self, more: int) -> None:
        """Count what has been used beyond what was taken."""
        if more > 0:
            self._count(min(more, self.amount))

    def _wanted(self, cost: int) -> int:
        return min(cost + self.owed, self.amount)

    def _count(self, cost: int) -> None:
        if not self._limiter.hit(self._item, self._what, cost=cost):
            self.owed += cost


@dataclass(slots=True, kw_only=True)
class Gate:
    """What a call passes before it is made; ``max_wait`` is in seconds, ``told`` names the endpoint."""

    told: str
    at_once: Turns | None = None
    requests: Rate | None = None
    tokens: Rate | None = None
    max_wait: float = 60.0
    waiting: int = 0
    """How many wait at it now."""
    _line: Turns = field(default_factory=lambda: Turns(1))
    _opens_at: float = 0.0
    """When the first in line may pass, as far as that is known."""
    _closed_until: float = 0.0

    @asynccontextmanager
    async def passing(self, tokens: int) -> AsyncIterator[None]:
        """Around one call that will use about so many tokens.

        Raises:
            Fault: ``rate_limited`` with ``retry_after``, at once where its turn is known to come too late, else once it has.
        """
        until = time.monotonic() + self.max_wait
        if self.at_once is None:
            await self._pass(tokens, until)
            yield
            return
        await self._in_line(self.at_once, until)
        try:
            await self._pass(tokens, until)
            yield
        finally:
            self.at_once.leave()

    def close_for(self, seconds: float) -> None:
        """Let nobody pass for so long: the endpoint has asked for it."""
        self._closed_until = max(self._closed_until, time.monotonic() + min(seconds, LONGEST_CLOSED))

    def used(self, tokens: int, *, reserved: int) -> None:
        """Count what a call has used in the end."""
        if self.tokens is not None:
            self.tokens.owe(tokens - reserved)

    async def _pass(self, tokens: int, until: float) -> None:
        """Wait until the rates allow one more call, behind those that came before."""
        if self.requests is None and self.tokens is None and self._closed_until <= time.monotonic():
            return
        await self._in_line(self._line, until)
        try:
            while wait := self._closed_for(tokens):
                self._opens_at = time.monotonic() + wait
                self._give_up_where_late(until)
                await self._rest(wait)
            self._count(tokens)
        finally:
            self._line.leave()

    def _closed_for(self, tokens: int) -> float:
        """The seconds until it may be open for a call; 0 where it is."""
        waits = [self._closed_until - time.monotonic(), 0.0]
        waits += [self.requests.wait(1)] if self.requests is not None else []
        waits += [self.tokens.wait(tokens)] if self.tokens is not None else []
        return max(waits)

    def _count(self, tokens: int) -> None:
        if self.requests is not None:
            self.requests.take(1)
        if self.tokens is not None:
            self.tokens.take(tokens)

    async def _in_line(self, turns: Turns, until: float) -> None:
        self._give_up_where_late(until)
        self.waiting += 1
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await turns.enter()
        except TimeoutError as err:
            raise self._refusal() from err
        finally:
            self.waiting -= 1

    def _give_up_where_late(self, until: float) -> None:
        if self._opens_at > max(until, time.monotonic()):
            raise self._refusal()

    def _refusal(self) -> Fault:
        wait = max(self._opens_at - time.monotonic(), 1.0)
        told = f"{self.told} is at its limit of calls: there is no turn within {self.max_wait:g} s"
        return Fault("rate_limited", told, origin="model", retry_after=round(wait, 3), details={"limit": self.told})

    async def _rest(self, seconds: float) -> None:
        self.waiting += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self.waiting -= 1


def gate(told: str, *, at_once: int | None, requests: int | None, tokens: int | None, max_wait: float) -> Gate:
    """The gate with these limits, of calls at once and by the minute; None sets none."""
    storage = None
    if requests is not None or tokens is not None:
        from limits.storage import MemoryStorage

        storage = MemoryStorage()
    return Gate(
        told=told,
        at_once=Turns(at_once) if at_once is not None else None,
        requests=Rate(requests, storage=storage) if requests is not None else None,
        tokens=Rate(tokens, exact=False, storage=storage) if tokens is not None else None,
        max_wait=max_wait,
    )
