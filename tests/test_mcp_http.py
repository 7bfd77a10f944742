"""Servers over HTTP: every way in which an answer may go wrong is a typed fault of the one call that it befell."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from tests.mcp_stage import opened, until
from tests.peers.servers import free_port, house_at, listening
from tests.served_mcp.web import web

pytestmark = [pytest.mark.req("X8", "X12")]

WAYS: list[tuple[str, str, str, float | None]] = [
    ("401", "permission_denied", "HTTP 401", None),
    ("403", "permission_denied", "HTTP 403", None),
    ("429", "rate_limited", "HTTP 429", 7.0),
    ("429-silent", "rate_limited", "HTTP 429", None),
    ("500", "connection", "HTTP 500", None),
    ("502", "connection", "HTTP 502", None),
    ("503", "unavailable", "HTTP 503", 3.0),
    ("504", "timeout", "HTTP 504", None),
    ("400", "invalid_input", "HTTP 400", None),
    ("html", "invalid_output", "its answer is text/html", None),
    ("no-json", "invalid_output", "parse", None),
    ("stalls", "timeout", "did not answer in time", None),
    ("stalls-midway", "timeout", "did not answer in time", None),
    ("resets", "connection", "the connection was lost", None),
    ("cut", "connection", "the connection was lost", None),
    ("cut-events", "connection", "", None),
    ("ends-events", "connection", "ended without a response", None),
    ("bomb", "invalid_output", "compressed", None),
    ("huge", "invalid_output", "larger than", None),
    ("huge-event", "invalid_output", "too large", None),
    ("away", "unavailable", "not followed", None),
    ("accepted", "connection", "does not say what came of it", None),
]


@pytest.mark.parametrize(("way", "fault_class", "says", "after"), WAYS, ids=[each[0] for each in WAYS])
async def test_an_answer_that_goes_wrong_is_a_typed_fault_and_the_next_call_works(
    way: str, fault_class: str, says: str, after: float | None
) -> None:
    with web("ok") as server, opened(web={"url": server.url, "read_timeout": 1.0}) as stage:
        assert await stage.call("web.act") == "done"
        server.way = way
        fault = await stage.fault("web.act")
        server.way = "ok"
        server.released.set()
        again = await stage.call("web.act")

    assert (fault.fault_class, fault.retry_after) == (fault_class, after), fault
    assert says in fault.message
    assert again == "done"


async def test_one_call_that_fails_leaves_those_beside_it_alone() -> None:
    with web("stalls") as server, opened(web={"url": server.url, "read_timeout": 30.0}) as stage:
        waiting = asyncio.create_task(stage.call("web.act"))
        await until(lambda: [m for m, _ in server.seen].count("tools/call") == 1, "the first call")
        for way in ("resets", "500", "cut"):
            server.way = way
            assert (await stage.fault("web.act")).fault_class == "connection"
        waiting.cancel()
        server.way = "ok"
        assert await stage.call("web.act") == "done"
        assert [method for method, _ in server.seen].count("initialize") == 1


@pytest.mark.parametrize("way", ["unknown-session", "unknown-session-400"])
async def test_a_server_that_has_forgotten_the_session_is_greeted_anew_and_called_again(way: str) -> None:
    with web(way) as server, opened(web={"url": server.url}) as stage:
        assert await stage.call("web.act") == "done"
        assert [method for method, _ in server.seen].count("initialize") == 2


async def test_events_and_plain_answers_are_read_alike() -> None:
    with web("events") as server, opened(web={"url": server.url}) as stage:
        assert await stage.call("web.act") == "done"


async def test_headers_are_sent_and_the_environment_adds_none() -> None:
    headers = {"Authorization": "Bearer of-the-test"}
    with web("ok") as server, opened(web={"url": server.url, "headers": headers}) as stage:
        await stage.call("web.act")

    assert {sent.get("authorization") for _, sent in _lower(server.seen)} == {"Bearer of-the-test"}
    assert {sent.get("accept-encoding") for _, sent in _lower(server.seen)} == {"identity"}
    assert server.seen[-1][0] == "DELETE"


def _lower(seen: list[tuple[str, dict[str, str]]]) -> list[tuple[str, dict[str, str]]]:
    return [(method, {k.lower(): v for k, v in headers.items()}) for method, headers in seen]


async def test_a_server_that_refuses_us_says_so_before_any_call() -> None:
    with web("locked") as server, opened(web={"url": server.url}) as stage:
        assert stage.box.find("web.act") is None
        assert "HTTP 401" in (stage.box.problem("web.act") or "")


async def test_an_address_where_nobody_listens_is_unavailable() -> None:
    with opened(web={"url": f"http://127.0.0.1:{free_port()}/mcp"}) as stage:
        assert stage.box.find("web.act") is None
        assert "cannot be reached" in (stage.box.problem("web.act") or "")


@pytest.fixture
def house_web() -> Any:
    """Our server that behaves, over HTTP: its address, and its process."""
    port = free_port()
    with listening(house_at(port), port) as process:
        yield f"http://127.0.0.1:{port}/mcp", process, port


async def test_a_server_made_with_the_sdk_works_over_http(house_web: Any) -> None:
    url, _, _ = house_web
    told: list[str] = []
    with opened(house={"url": url}) as stage:
        assert await stage.call("house.add", {"a": 1, "b": 2}) == {"result": 3}
        assert (await stage.call("house.once"))["result"] == "did it for run:step:0"
        await stage.call("house.walk", {"steps": 3}, progress=lambda done, total, message: told.append(message))
        await stage.call("house.grow", {"name": "baby"})
        await until(lambda: stage.box.find("house.baby"), "the new tool")
        assert await stage.call("house.baby") == {"result": "I am baby"}
        await stage.call("house.shrink", {"name": "baby"})
        await until(lambda: stage.box.find("house.baby") is None, "the end of the tool")

    assert told == ["step 1", "step 2", "step 3"]
    assert stage.box.problem("house.baby") == "MCP server house no longer offers baby"


async def test_a_server_that_dies_and_comes_back_is_called_again(house_web: Any) -> None:
    url, process, port = house_web
    with opened(house={"url": url}) as stage:
        await stage.call("house.add", {"a": 1, "b": 2})
        os.kill(process.pid, 9)
        process.wait()
        fault = await stage.fault("house.add", {"a": 1, "b": 2})
        with listening(house_at(port), port):
            assert await stage.call("house.add", {"a": 1, "b": 2}) == {"result": 3}

    assert (fault.fault_class, fault.transient) == ("unavailable", True)
