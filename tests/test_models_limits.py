"""Limits and breakers of endpoints: how many calls get through, in which order, and what becomes of the others."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from cogwork.breaker import Breakers
from cogwork.models.chat import ChatModels, Provider
from cogwork.models.gate import Gate, Rate, Turns
from nodes.structured import ask
from state.errors import Fault
from tests.misbehaving import DONE, HELLO, Mode, endpoint, event, refusing, replying

PATIENCE = 20.0
USED = {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000}
ANSWER = replying(HELLO + event(finish="stop") + event(choices=[], usage=USED) + DONE)


class Door:
    """An endpoint that answers once its door is open, and counts who is inside."""

    def __init__(self) -> None:
        self.open, self.entered = asyncio.Event(), asyncio.Event()
        self.inside = self.most = self.calls = 0

    async def __call__(self, writer: asyncio.StreamWriter) -> None:
        self.inside, self.calls = self.inside + 1, self.calls + 1
        self.most = max(self.most, self.inside)
        self.entered.set()
        await self.open.wait()
        self.inside -= 1
        await ANSWER(writer)


def counting(mode: Mode) -> tuple[Mode, list[int]]:
    """An endpoint that notes each call."""
    seen: list[int] = []

    async def noted(writer: asyncio.StreamWriter) -> None:
        seen.append(len(seen))
        await mode(writer)

    return noted, seen


def models(address: str, **settings: Any) -> ChatModels:
    """Models of that endpoint."""
    return ChatModels(default="own:tiny", providers={"own": Provider(base_url=address, **settings)})


async def asked(known: ChatModels, told: str = "Hello?") -> str:
    """The answer to one question."""
    async with asyncio.timeout(PATIENCE):
        return (await ask(known.find(None), [HumanMessage(told)])).text


async def refused(work: Awaitable[Any]) -> Fault:
    """The fault that the work ends with."""
    with pytest.raises(Fault) as caught:
        await work
    return caught.value


# -- turns -------------------------------------------------------------------------------------------------------


async def test_turns_are_had_in_the_order_in_which_they_were_asked_for() -> None:
    turns, had = Turns(1), list[int]()
    await turns.enter()

    async def have(number: int) -> None:
        await turns.enter()
        had.append(number)
        turns.leave()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(have(number)) for number in range(20)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        turns.leave()
    assert had == [number for number in range(20) if number != 3]


async def test_a_turn_that_is_called_and_given_up_at_once_goes_to_the_next() -> None:
    turns = Turns(1)
    await turns.enter()
    first, second = asyncio.create_task(turns.enter()), asyncio.create_task(turns.enter())
    await asyncio.sleep(0)
    turns.leave()
    first.cancel()
    async with asyncio.timeout(PATIENCE):
        await second
    assert first.cancelled()


def test_turns_are_shared_by_the_event_loops_of_several_threads() -> None:
    turns, inside, most = Turns(2), itertools.count(), list[int]()
    now: set[int] = set()
    lock = threading.Lock()

    async def have() -> None:
        await turns.enter()
        with lock:
            number = next(inside)
            now.add(number)
            most.append(len(now))
        await asyncio.sleep(0)
        with lock:
            now.remove(number)
        turns.leave()

    async def many() -> None:
        await asyncio.gather(*(have() for _ in range(50)))

    threads = [threading.Thread(target=asyncio.run, args=(many(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert (len(most), max(most)) == (200, 2)


def test_a_waiter_whose_event_loop_has_ended_keeps_nobody_back() -> None:
    turns = Turns(1)

    async def leave_one_waiting() -> None:
        await turns.enter()
        waiting.append(asyncio.ensure_future(turns.enter()))
        await asyncio.sleep(0)

    waiting: list[Any] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave_one_waiting())
    loop.close()
    turns.leave()
    asyncio.run(asyncio.wait_for(turns.enter(), PATIENCE))
    waiting[0].get_coro().close()


# -- rates -------------------------------------------------------------------------------------------------------


def test_a_rate_says_how_long_to_wait_for_the_next() -> None:
    rate = Rate(2)
    for _ in range(2):
        assert rate.wait(1) == 0
        rate.take(1)
    assert 55 < rate.wait(1) <= 60


def test_what_was_used_beyond_the_estimate_is_waited_for() -> None:
    rate = Rate(1000, exact=False)
    rate.take(100)
    rate.owe(1_900)
    assert rate.wait(1) > 0
    assert rate.owed > 0


def test_a_cost_that_there_can_never_be_counts_as_all_there_is() -> None:
    rate = Rate(10, exact=False)
    assert rate.wait(50) == 0
    rate.take(50)
    assert rate.wait(1) > 0


async def test_a_gate_lets_the_next_one_pass_when_its_rate_allows_it() -> None:
    gate, passed = Gate(told="x", requests=Rate(1, seconds=1), max_wait=PATIENCE), list[str]()

    async def go(name: str) -> None:
        async with gate.passing(1):
            passed.append(name)

    await asyncio.gather(*map(go, "abc"))
    assert passed == ["a", "b", "c"]


# -- endpoints ---------------------------------------------------------------------------------------------------


@pytest.mark.req("X6", "X13")
async def test_an_endpoint_gets_no_more_calls_at_once_than_it_may_have() -> None:
    door = Door()
    async with endpoint(door) as address:
        known = models(address, max_concurrency=3)
        tasks = [asyncio.create_task(asked(known)) for _ in range(12)]
        await asyncio.wait_for(door.entered.wait(), PATIENCE)
        door.open.set()
        assert await asyncio.gather(*tasks) == ["hello"] * 12
    assert (door.most <= 3, door.calls) == (True, 12)


async def test_a_call_that_is_given_up_while_it_waits_is_never_made() -> None:
    door = Door()
    async with endpoint(door) as address:
        known = models(address, max_concurrency=1)
        first = asyncio.create_task(asked(known))
        await asyncio.wait_for(door.entered.wait(), PATIENCE)
        second = asyncio.create_task(asked(known))
        while not known.health()[0]["waiting"]:
            await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        door.open.set()
        await first
        assert await asked(known) == "hello"
    assert door.calls == 2


@pytest.mark.req("X6", "X13")
async def test_beyond_its_requests_a_minute_a_call_is_refused_at_once_with_the_time_to_wait() -> None:
    mode, seen = counting(ANSWER)
    async with endpoint(mode) as address:
        known = models(address, requests_per_minute=2, max_wait_s=5.0)
        assert [await asked(known), await asked(known)] == ["hello", "hello"]
        fault = await refused(asked(known))
    assert (fault.fault_class, fault.origin, len(seen)) == ("rate_limited", "model", 2)
    assert fault.retry_after is not None and 30 < fault.retry_after <= 60
    assert known.health()[0]["breaker"]["failures"] == 0


@pytest.mark.req("X6", "X13")
async def test_the_tokens_of_an_answer_count_against_the_tokens_a_minute() -> None:
    mode, seen = counting(ANSWER)
    async with endpoint(mode) as address:
        known = models(address, tokens_per_minute=1_000, max_wait_s=0.0)
        assert await asked(known) == "hello"
        fault = await refused(asked(known, "Hello? " * 50))
    assert (fault.fault_class, len(seen)) == ("rate_limited", 1)


@pytest.mark.req("X12")
async def test_after_an_endpoint_asked_to_wait_no_other_call_is_made_until_then() -> None:
    mode, seen = counting(refusing(429, retry_after="30"))
    async with endpoint(mode) as address:
        known = models(address, max_wait_s=5.0)
        first, second = await refused(asked(known)), await refused(asked(known))
    assert (first.retry_after, len(seen)) == (30.0, 1)
    assert second.fault_class == "rate_limited"
    assert second.retry_after is not None and 25 < second.retry_after <= 30


def test_no_word_of_an_endpoint_closes_its_gate_for_a_day() -> None:
    gate = Gate(told="x")
    gate.close_for(86_400)
    assert 0 < gate._closed_for(1) <= 900


# -- the breaker -------------------------------------------------------------------------------------------------


@pytest.mark.req("X12")
async def test_an_endpoint_that_dies_is_left_alone_probed_and_taken_back_when_it_returns() -> None:
    now, mode = [0.0], [refusing(500)]
    noted, seen = counting(lambda writer: mode[0](writer))
    async with endpoint(noted) as address:
        provider = Provider(base_url=address, breaker_threshold=3, breaker_cooldown_s=10.0)
        known = ChatModels(default="own:tiny", providers={"own": provider}, breakers=Breakers(clock=lambda: now[0]))
        assert {(await refused(asked(known))).fault_class for _ in range(3)} == {"unavailable"}
        assert known.info("own:tiny").breaker == "open"
        left_alone = await refused(asked(known))
        assert (left_alone.retry_after, len(seen)) == (10.0, 3)
        now[0] = 11.0
        assert known.info("own:tiny").breaker == "half_open"
        await refused(asked(known))
        assert (known.info("own:tiny").breaker, len(seen)) == ("open", 4)
        now[0], mode[0] = 22.0, ANSWER
        assert await asked(known) == "hello"
        assert known.info("own:tiny").breaker == "closed"


@pytest.mark.parametrize("mode", [replying(HELLO), replying(b"<html>busy</html>", kind="text/html")])
async def test_a_cut_stream_and_a_page_instead_of_an_answer_speak_against_the_endpoint(mode: Mode) -> None:
    async with endpoint(mode) as address:
        known = models(address, breaker_threshold=1)
        await refused(asked(known))
    assert known.info("own:tiny").breaker == "open"


async def test_a_refused_key_does_not_speak_against_the_endpoint() -> None:
    async with endpoint(refusing(401)) as address:
        known = models(address, breaker_threshold=1)
        await refused(asked(known))
    assert known.info("own:tiny").breaker == "closed"


async def test_a_dead_endpoint_does_not_harm_another() -> None:
    async with endpoint(refusing(500)) as dead, endpoint(ANSWER) as alive:
        providers = {"dead": Provider(base_url=dead, breaker_threshold=1), "alive": Provider(base_url=alive)}
        known = ChatModels(providers=providers)
        question: Callable[[str], Any] = lambda name: ask(known.find(name), [HumanMessage("Hello?")])  # noqa: E731
        await refused(question("dead:m"))
        assert (await question("alive:m")).text == "hello"
    assert [each["breaker"]["state"] for each in known.health()] == ["closed", "open"]
