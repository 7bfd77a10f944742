"""Circuit breakers: a service that keeps failing is left alone for a while, and asked again by one call at a time.

```text
closed ──threshold failures in a row──▶ open ──cooldown over──▶ half_open ──the probe succeeds──▶ closed
                                          ▲                         │
                                          └────the probe fails──────┘
```
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from state.errors import TRANSIENT, Fault, Origin
from state.values import Json

BreakerState: TypeAlias = Literal["closed", "open", "half_open"]
TELLING: Final = TRANSIENT
"""The classes of faults that speak of the service and not of the call; all others are answers, and so count as successes."""
PROBE_SECONDS: Final = 60.0
"""A probe of which nothing is heard for so long no longer keeps the next one back."""


@dataclass(slots=True, kw_only=True)
class Breaker:
    """The breaker of one service, such as ``model:openai`` or ``mcp:files``; may be used from any thread and event loop.

    ``threshold``  failures in a row that open it
    ``cooldown``   seconds that it stays open; longer where the service itself asks for more (``retry_after``)
    ``clock``      seconds that only grow
    """

    service: str
    threshold: int = 5
    cooldown: float = 30.0
    clock: Callable[[], float] = time.monotonic
    failures: int = 0
    """Failures in a row up to now."""
    rejected: int = 0
    """Calls that were refused because it was open."""
    opened: int = 0
    """How often it has opened."""
    last_fault: str = ""
    _until: float | None = None
    _probing: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def state(self) -> BreakerState:
        """How it stands now."""
        if self._until is None:
            return "closed"
        return "open" if self.clock() < self._until else "half_open"

    @property
    def retry_after(self) -> float:
        """Seconds until a call may be tried; 0 where one may now."""
        return max(0.0, self._until - self.clock()) if self._until is not None else 0.0

    def look(self, origin: Origin) -> None:
        """A call would be made, if it need not wait for its turn first: as ``enter``, but it does not become the probe.

        Raises:
            Fault: ``unavailable`` with ``retry_after``; the breaker is open.
        """
        with self._lock:
            if not (wait := self.retry_after):
                return
            self.rejected += 1
        raise self._refusal(origin, wait)

    def enter(self, origin: Origin) -> None:
        """A call is about to be made.

        Raises:
            Fault: ``unavailable`` with ``retry_after``; the breaker is open, or another call is its probe.
        """
        with self._lock:
            if self._until is None:
                return
            wait, now = self.retry_after, self.clock()
            if not wait and (self._probing is None or now - self._probing > PROBE_SECONDS):
                self._probing = now
                return
            self.rejected += 1
        raise self._refusal(origin, wait)

    def _refusal(self, origin: Origin, wait: float) -> Fault:
        told = f"{self.service} is left alone after {self.failures} failures in a row ({self.last_fault})"
        return Fault(
            "unavailable",
            told,
            origin=origin,
            retry_after=round(wait, 3) or 1.0,
            details={"breaker": self.state, "service": self.service},
        )

    def succeeded(self) -> None:
        """A call was answered."""
        with self._lock:
            self.failures, self._until, self._probing = 0, None, None

    def failed(self, fault: Fault) -> None:
        """A call failed because of the service."""
        with self._lock:
            self.failures += 1
            self.last_fault = f"{fault.fault_class}: {fault.message}"[:300]
            if self._probing is not None or self.failures >= self.threshold:
                self.opened += self._until is None or self._probing is not None
                self._until = self.clock() + max(self.cooldown, fault.retry_after or 0.0)
                self._probing = None

    def abandoned(self) -> None:
        """A call was given up by its caller: nothing was learned, and another one may be the probe."""
        with self._lock:
            self._probing = None

    @asynccontextmanager
    async def guarding(self, origin: Origin) -> AsyncIterator[None]:
        """Around one call of the service.

        Raises:
            Fault: ``unavailable`` with ``retry_after`` where it is not to be called now; else the call's own.
        """
        self.enter(origin)
        try:
            yield
        except Fault as fault:
            if fault.fault_class in TELLING:
                self.failed(fault)
            else:
                self.succeeded()
            raise
        except BaseException:
            self.abandoned()
            raise
        self.succeeded()

    def health(self) -> dict[str, Json]:
        """How it stands, as plain JSON, for health and metrics."""
        return {
            "service": self.service,
            "state": self.state,
            "failures": self.failures,
            "opened": self.opened,
            "rejected": self.rejected,
            "retry_after": round(self.retry_after, 3),
            "last_fault": self.last_fault,
        }


@dataclass(slots=True, kw_only=True)
class Breakers:
    """The breakers of all services that were ever called, by name, made where they are first asked for."""

    threshold: int = 5
    cooldown: float = 30.0
    clock: Callable[[], float] = time.monotonic
    _made: dict[str, Breaker] = field(default_factory=dict)

    def of(self, service: str, *, threshold: int | None = None, cooldown: float | None = None) -> Breaker:
        """The breaker of that service, made with these bounds, else with those that all have."""
        return self._made.setdefault(
            service,
            Breaker(
                service=service,
                threshold=threshold or self.threshold,
                cooldown=cooldown or self.cooldown,
                clock=self.clock,
            ),
        )

    def health(self) -> list[dict[str, Json]]:
        """How each of them stands, sorted by service."""
        return [self._made[name].health() for name in sorted(self._made)]
