"""An endpoint at work: every call of its models passes its limits and its breaker, has a deadline, and fails with a fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from cogwork.breaker import Breaker
from cogwork.models.gate import Gate, gate
from cogwork.models.provider import Provider
from nodes.model_faults import fault_of
from state.errors import Fault
from state.values import Json

if TYPE_CHECKING:
    from cogwork.models.transport import LoopTransport

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Endpoint:
    """One provider with its limits, its breaker and its connections; serves any thread and event loop."""

    name: str
    provider: Provider
    gate: Gate
    breaker: Breaker
    transport: LoopTransport | None = None
    """Its connections, once a model of it has been made."""
    calls: int = 0
    under_way: int = 0

    @asynccontextmanager
    async def calling(self, tokens: int) -> AsyncIterator[Call]:
        """Around one call that will use about so many tokens.

        Raises:
            Fault: ``unavailable`` while its breaker is open, ``rate_limited`` where there is no turn; else the call's own.
        """
        self.breaker.look("model")
        async with self.gate.passing(max(tokens, 1)), self.breaker.guarding("model"):
            call = Call(end=asyncio.get_running_loop().time() + self.provider.deadline_s, provider=self.provider)
            self.calls += 1
            self.under_way += 1
            try:
                yield call
            except Exception as error:
                raise self._learned(fault_of(error)) from error
            finally:
                self.under_way -= 1
                self.gate.used(call.tokens, reserved=tokens)

    def _learned(self, fault: Fault) -> Fault:
        """The fault, once the gate knows when the endpoint wants to be asked again."""
        if fault.fault_class == "rate_limited" and fault.retry_after:
            self.gate.close_for(fault.retry_after)
        return fault

    def connections(self) -> LoopTransport:
        """What its models send their requests through."""
        if self.transport is None:
            from cogwork.models.transport import LoopTransport

            self.transport = LoopTransport(self.provider)
        return self.transport

    async def release(self) -> None:
        """Close its connections; the next call opens new ones."""
        if self.transport is not None:
            await self.transport.aclose()

    def health(self) -> dict[str, Json]:
        """How it stands, as plain JSON."""
        return {
            "endpoint": self.name,
            "address": self.provider.address,
            "calls": self.calls,
            "under_way": self.under_way,
            "waiting": self.gate.waiting,
            "breaker": self.breaker.health(),
        }


@dataclass(slots=True, kw_only=True)
class Call:
    """One call within its deadline, which is a time of the running loop; ``tokens`` is what it has used in the end."""

    end: float
    provider: Provider
    tokens: int = field(default=0)

    async def result(self, work: Awaitable[T]) -> T:
        """What the work gives, within the deadline."""
        try:
            async with asyncio.timeout_at(self.end):
                return await work
        except TimeoutError as err:
            raise self._late(err) from err

    async def pieces(self, stream: AsyncIterator[T]) -> AsyncGenerator[T]:
        """The pieces of a stream, as long as they come within the deadline."""
        async with aclosing(stream) as source:  # type: ignore[type-var]
            while True:
                try:
                    async with asyncio.timeout_at(self.end):
                        piece = await anext(source)
                except StopAsyncIteration:
                    return
                except TimeoutError as err:
                    raise self._late(err) from err
                yield piece

    def _late(self, error: TimeoutError) -> Fault:
        """The fault for the deadline, or for the client's own limit on silence, which is also a timeout."""
        seconds = self.provider.deadline_s
        if asyncio.get_running_loop().time() < self.end:
            return fault_of(error)
        told = f"The model's answer was not complete within its deadline of {seconds:g} s"
        return Fault("timeout", told, origin="model", details={"limit": "deadline_s", "seconds": seconds})


def endpoint(name: str, provider: Provider, breaker: Breaker) -> Endpoint:
    """The endpoint with the limits that its provider's settings give."""
    limits = gate(
        f"The endpoint {name!r}",
        at_once=provider.max_concurrency,
        requests=provider.requests_per_minute,
        tokens=provider.tokens_per_minute,
        max_wait=provider.max_wait_s,
    )
    return Endpoint(name=name, provider=provider, gate=limits, breaker=breaker)
