"""Attempts: waits, limits on their time, what is tried again, and what a run gains by it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, cycle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogwork.tools.function import FunctionTool
from cogwork.tools.toolbox import Toolbox
from nodes.base import Retry
from nodes.calls import checked_call
from state.errors import Fault, WorkflowFailed
from state.services import CallContext
from state.values import Json
from tests.conftest import Stage, do
from tests.fakes import FakeTool, fake_services
from tests.works import Work, node

pytestmark = [pytest.mark.req("T4", "X12", "E5")]


def work(*results: Any, **spec: Json) -> Work:
    """The work of a step that calls a read with these results."""
    return Work(
        node=node(type="tool", tool="t", **spec), services=fake_services({"t": FakeTool(results=list(results))})
    )


def failing(times: int = 9, **about: Any) -> list[Fault]:
    """So many transient faults."""
    return [Fault("unavailable", "down", origin="tool", **about) for _ in range(times)]


async def test_waits_grow_by_the_multiplier_up_to_their_maximum() -> None:
    retry = {"max_attempts": 6, "backoff": "1ms", "multiplier": 3, "max_backoff": "10ms", "jitter": False}
    tried = work(*failing(5), "ok", retry=retry)
    await tried.run()
    assert [round(wait, 6) for _, wait, _ in tried.retried] == [0.001, 0.003, 0.009, 0.01, 0.01]


@given(
    st.floats(0.001, 5), st.floats(1, 10), st.floats(0.001, 20), st.booleans(), st.integers(1, 30), st.integers(0, 9)
)
@settings(deadline=None)
def test_a_wait_lies_between_nothing_and_the_larger_of_its_maximum_and_what_the_service_asks(
    backoff: float, multiplier: float, maximum: float, jitter: bool, attempt: int, before: int
) -> None:
    from tenacity import AsyncRetrying, Future, RetryCallState

    from graphs.runtime.attempts import _Wait

    policy = Retry(backoff=backoff, multiplier=multiplier, max_backoff=maximum, jitter=jitter)
    state = RetryCallState(AsyncRetrying(), None, (), {})
    state.attempt_number, state.outcome = attempt, Future(attempt)
    state.outcome.set_exception(Fault("rate_limited", "wait", retry_after=7.0))
    wait = _Wait(policy, before)(state)
    assert 7.0 <= wait <= max(7.0, maximum)


async def test_a_wait_that_the_total_timeout_has_no_room_for_fails_at_once_with_the_reason() -> None:
    asked = Fault("rate_limited", "slow down", origin="tool", retry_after=3600)
    fault = await work(asked, "ok", retry={"max_attempts": 3, "backoff": "1ms"}, total_timeout="1m").fault()
    assert (fault.fault_class, fault.retry_after, fault.origin) == ("rate_limited", 3600, "tool")
    assert "total_timeout of 60 s leaves no time, and it asks to wait 3600 s" in fault.message
    assert fault.record(node="a")["details"] == {"limit": "total_timeout", "seconds": 60.0}


async def test_all_attempts_together_end_with_the_total_timeout() -> None:
    async def slow() -> None:
        await asyncio.Event().wait()

    tried = Work(
        node=node(type="tool", tool="t", total_timeout="20ms", timeout="1h"),
        services=fake_services({"t": FakeTool(fn=slow)}),
    )
    fault = await tried.fault()
    assert (fault.fault_class, fault.details) == ("timeout", {"limit": "total_timeout", "seconds": 0.02})


@pytest.mark.req("T1")
async def test_the_timeout_of_one_attempt_is_named_as_such_and_tried_again() -> None:
    calls = count()

    async def slow_once() -> int:
        if next(calls) == 0:
            await asyncio.Event().wait()
        return 7

    tool = FakeTool(fn=slow_once)
    tried = Work(
        node=node(type="tool", tool="t", timeout="20ms", retry={"backoff": "1ms"}, total_timeout="1m"),
        services=fake_services({"t": tool}),
    )
    assert (await tried.run()).value == 7
    assert [fault for *_, fault in tried.retried] == ["timeout"]


async def test_within_a_graph_the_total_timeout_fails_the_step(stage: Stage) -> None:
    spec = do(hold="for ever")
    with pytest.raises(WorkflowFailed) as failed:
        await stage.run({"nodes": {"a": {**spec, "total_timeout": "5ms"}}})
    assert (failed.value.error["class"], failed.value.error["details"]["limit"]) == ("timeout", "total_timeout")


async def test_a_call_cancelled_from_within_is_a_fault_and_not_the_end_of_the_run() -> None:
    fault = await work(asyncio.CancelledError()).fault()
    assert (fault.fault_class, fault.severity, fault.transient) == ("cancelled", "warning", False)


async def test_tokens_of_attempts_that_failed_are_counted() -> None:
    spent = Fault("unavailable", "down", details={"usage": {"total_tokens": 5}})
    tried = work(spent, spent, "ok", retry={"backoff": "1ms"})
    assert (await tried.run()).usage == {"total_tokens": 10, "calls": [{"total_tokens": 5}, {"total_tokens": 5}]}
    lost = await work(spent, spent, retry={"max_attempts": 2, "backoff": "1ms"}).fault()
    assert lost.details["usage"]["total_tokens"] == 10


def _named(name: str, base: type[Exception] = Exception) -> Exception:
    made: type[Exception] = type(name, (base,), {"__module__": "httpx"})
    return made("from a client")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionRefusedError("refused"), "unavailable"),
        (ConnectionResetError("reset"), "connection"),
        (_named("ConnectTimeout"), "unavailable"),
        (_named("ConnectError"), "unavailable"),
        (_named("ReadTimeout"), "timeout"),
        (_named("ReadError"), "connection"),
        (_named("RemoteProtocolError"), "connection"),
        (_named("HTTPStatusError"), "tool_error"),
        (ValueError("mine"), "tool_error"),
    ],
)
async def test_what_a_client_raises_gets_the_class_that_says_whether_anything_was_done(
    error: Exception, expected: str
) -> None:
    with pytest.raises(Fault) as raised:
        await checked_call(FakeTool(results=[error]), {}, CallContext(run="r", step="s", idempotency_key="k"))
    assert raised.value.fault_class == expected


# -- what it gains -----------------------------------------------------------------------------------------------------

TRANSIENT = ("timeout", "connection", "unavailable", "rate_limited")


@pytest.mark.req("X14")
@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(TRANSIENT)), min_size=1))
@settings(max_examples=8, deadline=None)
def test_with_one_transient_fault_in_every_ten_calls_every_run_completes(faults: list[tuple[int, Any]]) -> None:
    places = cycle(faults)

    def plan() -> Iterator[Any]:
        for place, fault in places:
            yield from (fault if at == place else None for at in range(10))

    assert asyncio.run(_share(plan(), runs=40)) == 1


@pytest.mark.req("X14")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_with_every_tenth_call_failing_by_chance_nearly_every_run_completes(seed: int) -> None:
    chance = random.Random(seed)
    plan = (chance.choice(TRANSIENT) if chance.random() < 0.1 else None for _ in count())
    assert asyncio.run(_share(plan, runs=200)) >= 0.99


async def _share(plan: Iterator[Any], runs: int) -> float:
    """The share of runs of three steps, with the default policy but for its waits, that complete."""

    async def flaky() -> int:
        if (fault := next(plan)) is not None:
            raise Fault(fault, "now and then")
        return 1

    stage = Stage()
    tool = FunctionTool.from_function(flaky, name="flaky", description="Sometimes.", effect="read")
    stage.services = replace(stage.services, tools=Toolbox([tool]))
    step = {"type": "tool", "tool": "flaky", "retry": {"backoff": 0.000001, "jitter": False}}
    graph = stage.graph({"nodes": {f"s{n}": dict(step) for n in range(3)}})
    return sum([await _completes(graph) for _ in range(runs)]) / runs


async def _completes(graph: Any) -> bool:
    try:
        return bool((await graph.ainvoke({}))["run"]["status"] == "completed")
    except WorkflowFailed:
        return False
