"""Circuit breakers: closed, open, half-open and closed again, with one call at a time as the probe."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogwork.breaker import Breaker, Breakers
from state.errors import FAULT_CLASSES, TRANSIENT, Fault

pytestmark = [pytest.mark.req("X12")]


class Clock:
    """Seconds that go on when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def breaker(clock: Clock, **more: Any) -> Breaker:
    return Breaker(service="model:x", threshold=3, cooldown=10, clock=clock, **more)


async def call(guard: Breaker, fault: Fault | None = None) -> str:
    """What one guarded call comes to."""
    try:
        async with guard.guarding("model"):
            if fault is not None:
                raise fault
    except Fault as raised:
        return raised.fault_class if raised is fault else "left alone"
    return "answered"


DOWN = Fault("unavailable", "down", origin="model")


async def test_it_opens_after_so_many_failures_in_a_row_and_then_calls_nobody() -> None:
    clock = Clock()
    guard = breaker(clock)
    assert [await call(guard, DOWN) for _ in range(2)] == ["unavailable"] * 2
    assert (await call(guard), guard.failures) == ("answered", 0)
    assert [await call(guard, DOWN) for _ in range(3)] == ["unavailable"] * 3
    assert (guard.state, await call(guard), guard.rejected) == ("open", "left alone", 1)


async def test_a_refused_call_says_when_to_try_again_and_why() -> None:
    clock = Clock()
    guard = breaker(clock)
    for _ in range(3):
        await call(guard, DOWN)
    clock.now = 4.0
    with pytest.raises(
        Fault, match=r"model:x is left alone after 3 failures in a row \(unavailable: down\)"
    ) as refused:
        async with guard.guarding("model"):
            pass
    assert (refused.value.retry_after, refused.value.transient) == (6.0, True)


async def test_after_the_cooldown_one_call_probes_while_others_are_refused_and_its_success_closes() -> None:
    clock = Clock()
    guard = breaker(clock)
    for _ in range(3):
        await call(guard, DOWN)
    clock.now = 10.0
    assert guard.state == "half_open"
    guard.enter("model")
    assert await call(guard) == "left alone"
    guard.succeeded()
    assert (guard.state, await call(guard)) == ("closed", "answered")


async def test_a_probe_that_fails_opens_it_for_another_cooldown() -> None:
    clock = Clock()
    guard = breaker(clock)
    for _ in range(3):
        await call(guard, DOWN)
    clock.now = 10.0
    assert await call(guard, DOWN) == "unavailable"
    assert (guard.state, guard.retry_after, guard.opened) == ("open", 10.0, 2)
    clock.now = 20.0
    assert (await call(guard), guard.state) == ("answered", "closed")


async def test_a_probe_that_is_cancelled_leaves_the_probe_to_the_next_call() -> None:
    clock = Clock()
    guard = breaker(clock)
    for _ in range(3):
        await call(guard, DOWN)
    clock.now = 10.0

    async def stuck() -> None:
        async with guard.guarding("model"):
            await asyncio.Event().wait()

    probe = asyncio.create_task(stuck())
    await asyncio.sleep(0)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert await call(guard) == "answered"


async def test_it_stays_open_as_long_as_the_service_asks_for() -> None:
    clock = Clock()
    guard = breaker(clock)
    for _ in range(3):
        await call(guard, Fault("rate_limited", "slow down", origin="model", retry_after=60))
    assert guard.retry_after == 60


@pytest.mark.parametrize("fault_class", FAULT_CLASSES)
async def test_only_faults_that_speak_of_the_service_count(fault_class: Any) -> None:
    guard = breaker(Clock())
    for _ in range(5):
        await call(guard, Fault(fault_class, "x"))
    assert guard.state == ("open" if fault_class in TRANSIENT else "closed")


def test_each_service_has_a_breaker_of_its_own_and_health_tells_of_all() -> None:
    breakers = Breakers(threshold=1, clock=Clock())
    breakers.of("mcp:files").failed(DOWN)
    assert breakers.of("model:openai").state == "closed"
    assert [(each["service"], each["state"]) for each in breakers.health()] == [
        ("mcp:files", "open"),
        ("model:openai", "closed"),
    ]


@given(st.lists(st.sampled_from(["ok", "down", "wait", "probe"]), max_size=40))
def test_whatever_happens_it_is_open_exactly_while_there_is_something_to_wait_for(events: list[str]) -> None:
    clock = Clock()
    guard = breaker(clock)
    for event in events:
        if event == "wait":
            clock.now += 4
        elif event == "probe":
            guard.abandoned()
        else:
            asyncio.run(call(guard, DOWN if event == "down" else None))
        assert (guard.state == "open") == (guard.retry_after > 0)
        assert guard.failures >= guard.threshold or guard.state == "closed"
