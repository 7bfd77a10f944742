"""What every store keeps beside its checkpoints: one suite for the record of calls, the requests and the owners."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cogwork.store.checkpoints import SqliteCheckpoints
from state.durable import Durable, InMemory, RecordedCall, Request
from state.errors import Owned
from tests import clusters

Opened = Callable[[], contextlib.AbstractContextManager[Any]]
"""Opens the store; a second time what a second process would open."""


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    if request.param == "memory":
        only = InMemory()
        yield lambda: contextlib.nullcontext(only)
    elif request.param == "sqlite":
        yield lambda: SqliteCheckpoints(tmp_path / "c.sqlite")
    else:
        postgres = pytest.importorskip("cogwork.store.postgres")
        with clusters.schema() as url:
            yield lambda: postgres.PostgresCheckpoints(url)


@pytest.fixture
def store(opened: Opened) -> Iterator[Durable]:
    with opened() as made:
        yield made


def call(key: str = "r:a:0", **more: Any) -> RecordedCall:
    given: dict[str, Any] = {"run": "r", "step": "a", "target": "tool.x", "effect": "write", "repeatable": False}
    return RecordedCall(key=key, **{**given, **more})


NASTY: Any = {
    "z": 1,
    "a": [None, True, 1.5, -(2**63), "", "\U0001f600 ü \ufffd"],
    "nested": {"0": {}},
    "big": "x" * 200_000,
}


def test_every_store_is_durable(store: Durable) -> None:
    assert isinstance(store, Durable)


# -- the record of calls -----------------------------------------------------------------------------------------------


@pytest.mark.req("D4", "X5")
async def test_a_call_is_read_back_as_it_was_kept(store: Durable) -> None:
    kept = call(
        args=NASTY,
        result=NASTY,
        status="done",
        attempt=3,
        error={"class": "timeout"},
        begun_at="2026-01-01",
        ended_at="2026",
    )
    await store.calls.keep("t", kept)
    found = await store.calls.of_run("t", "r")
    assert dict(found) == {"r:a:0": kept}
    assert list(found["r:a:0"].args) == list(NASTY)


@pytest.mark.req("D4", "X5")
async def test_a_call_is_kept_in_place_of_what_stood_under_its_key(store: Durable) -> None:
    await store.calls.keep("t", call())
    await store.calls.keep("t", call(status="done", result=1))
    await store.calls.keep("t", call("r:b:0"))
    found = await store.calls.of_run("t", "r")
    assert {key: (each.status, each.result) for key, each in found.items()} == {
        "r:a:0": ("done", 1),
        "r:b:0": ("begun", None),
    }


@pytest.mark.req("D4", "X5")
async def test_a_forgotten_call_is_gone_and_others_stay(store: Durable) -> None:
    for key in ("r:a:0", "r:b:0"):
        await store.calls.keep("t", call(key))
    await store.calls.keep("other", call())
    await store.calls.forget("t", "r:a:0")
    await store.calls.forget("t", "r:never:0")
    assert set(await store.calls.of_run("t", "r")) == {"r:b:0"}
    assert set(await store.calls.of_run("other", "r")) == {"r:a:0"}
    assert not await store.calls.of_run("t", "another run")


@pytest.mark.req("D4", "X5")
async def test_what_was_kept_is_there_when_the_store_is_opened_again(opened: Opened) -> None:
    with opened() as store:
        await store.calls.keep("t", call(result=[1]))
        await store.requests.make("t", Request(id="1", kind="pause"))
    with opened() as store:
        assert (await store.calls.of_run("t", "r"))["r:a:0"].result == [1]
        assert await store.requests.open("t") == Request(id="1", kind="pause")


# -- requests ----------------------------------------------------------------------------------------------------------

PAUSE, CANCEL = (
    Request(id="p", kind="pause", reason="lunch"),
    Request(id="c", kind="cancel", undo=True, at="2026-01-01"),
)


async def test_a_request_is_open_until_it_is_closed(store: Durable) -> None:
    assert await store.requests.open("t") is None
    await store.requests.make("t", PAUSE)
    assert await store.requests.open("t") == PAUSE
    assert await store.requests.open("another") is None
    await store.requests.close("t", PAUSE)
    assert await store.requests.open("t") is None


async def test_cancel_replaces_pause_but_not_the_other_way_round(store: Durable) -> None:
    await store.requests.make("t", PAUSE)
    await store.requests.make("t", CANCEL)
    assert await store.requests.open("t") == CANCEL
    await store.requests.make("t", PAUSE)
    assert await store.requests.open("t") == CANCEL


async def test_closing_a_request_leaves_the_one_made_since(store: Durable) -> None:
    await store.requests.make("t", PAUSE)
    await store.requests.make("t", CANCEL)
    await store.requests.close("t", PAUSE)
    assert await store.requests.open("t") == CANCEL


# -- owners ------------------------------------------------------------------------------------------------------------


@pytest.mark.req("D4")
async def test_a_thread_has_one_owner_at_a_time(opened: Opened) -> None:
    with opened() as one, opened() as two:
        assert not two.owners.alive("t")
        async with one.owners.held("t"):
            assert one.owners.alive("t")
            assert two.owners.alive("t")
            assert not two.owners.alive("another")
            for store in (one, two):
                with pytest.raises(Owned):
                    async with store.owners.held("t"):
                        raise AssertionError("two owners")
            async with two.owners.held("another"):
                pass
        assert not two.owners.alive("t")
        async with two.owners.held("t"):
            assert one.owners.alive("t")


@pytest.mark.req("D4")
async def test_an_owner_that_is_about_to_let_go_is_waited_for(opened: Opened) -> None:
    with opened() as one, opened() as two:
        async with contextlib.AsyncExitStack() as first:
            await first.enter_async_context(one.owners.held("t"))
            waiting = asyncio.create_task(_held_once(two))
            await asyncio.sleep(0)
            await first.aclose()
            await waiting


async def _held_once(store: Durable) -> None:
    async with store.owners.held("t"):
        pass


@pytest.mark.req("D4")
async def test_a_thread_is_free_again_after_an_exception_and_after_a_cancelled_wait(opened: Opened) -> None:
    with opened() as one, opened() as two:
        with pytest.raises(ZeroDivisionError):
            async with one.owners.held("t"):
                waiting = asyncio.create_task(_held_once(two))
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                raise ZeroDivisionError
        async with two.owners.held("t"):
            pass
        assert not one.owners.alive("t")


@pytest.mark.req("D4")
async def test_many_threads_can_be_held_at_once_and_from_any_event_loop(opened: Opened) -> None:
    with opened() as one:
        async with contextlib.AsyncExitStack() as all_held:
            for n in range(20):
                await all_held.enter_async_context(one.owners.held(f"t{n}"))
            elsewhere = threading.Thread(target=lambda: asyncio.run(_held_once(one)))
            elsewhere.start()
            await asyncio.to_thread(elsewhere.join)
            assert all(one.owners.alive(f"t{n}") for n in range(20))
        assert not any(one.owners.alive(f"t{n}") for n in range(20))
