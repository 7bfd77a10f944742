"""Events over HTTP: pages and streams, for many listeners, for those that come again, and for those that take nothing."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cogwork.executions.history import Entry, insert
from state.events import Event
from tests.apis import ASKING, DOUBLE, Door, listening
from tests.threads import until

pytestmark = [pytest.mark.req("M10", "X3")]
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """A server that runs executions."""
    with listening(tmp_path, worker=True, limits={"stall_seconds": 1.0, "listeners": 210}) as made:
        yield made


@pytest.fixture
async def client(door: Door) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of it."""
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(
        base_url=f"{door.address}/api/v1", trust_env=False, timeout=60, limits=limits
    ) as made:
        for spec in (DOUBLE, ASKING):
            assert (await made.post("/workflows", json={"source": spec})).status_code == 201
        yield made


async def _started(client: httpx2.AsyncClient, workflow: str, **body: Any) -> str:
    answer = await client.post("/executions", json={"workflow": workflow, "wait": 30, **body})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["execution_id"])


async def _heard(client: httpx2.AsyncClient, execution: str, last: int = 0) -> list[tuple[str, Any]]:
    """Everything that a listener is sent, by name."""
    headers = {**STREAM, **({"Last-Event-ID": str(last)} if last else {})}
    found, name = list[tuple[str, Any]](), ""
    async with client.stream("GET", f"/executions/{execution}/events", headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                found.append((name, json.loads(line.removeprefix("data: "))))
    return found


async def test_two_hundred_listeners_at_once_hear_every_event_in_order(client: httpx2.AsyncClient) -> None:
    execution = await _started(client, "asking")
    listeners = [asyncio.create_task(_heard(client, execution)) for _ in range(200)]
    page = (await client.get(f"/executions/{execution}/events")).json()
    assert page["more"] is False and [each["seq"] for each in page["events"]] == list(range(1, page["after"] + 1))
    assert (await client.post(f"/executions/{execution}/resume", json={"answers": {"yes": True}})).status_code == 202
    async with asyncio.timeout(60):
        heard = await asyncio.gather(*listeners)
    whole = (await client.get(f"/executions/{execution}/events?limit=200")).json()["events"]
    assert whole[-1]["event"] == "run.completed"
    for each in heard:
        assert [event for _, event in each[:-1]] == whole
        assert each[-1] == ("end", {"status": "completed"})


async def test_a_listener_that_comes_again_hears_the_rest_and_then_is_told_not_to(client: httpx2.AsyncClient) -> None:
    execution = await _started(client, "double", input={"n": 4})
    whole = [event for _, event in (await _heard(client, execution))[:-1]]
    for last in range(1, len(whole)):
        assert [event for _, event in (await _heard(client, execution, last))[:-1]] == whole[last:]
    over = await client.get(f"/executions/{execution}/events", headers={**STREAM, "Last-Event-ID": str(len(whole))})
    assert (over.status_code, over.content) == (204, b"")
    paged, after = list[Any](), 0
    while True:
        page = (await client.get(f"/executions/{execution}/events?limit=1&after={after}")).json()
        paged, after = [*paged, *page["events"]], page["after"]
        if not page["more"]:
            break
    assert paged == whole


async def test_more_listeners_than_may_be_are_refused_until_one_goes(door: Door, client: httpx2.AsyncClient) -> None:
    execution = await _started(client, "asking")
    assert door.application is not None
    feeds = door.application.api.state.doors.feeds
    streams = [client.stream("GET", f"/executions/{execution}/events", headers=STREAM) for _ in range(210)]
    answers = await asyncio.gather(*(stream.__aenter__() for stream in streams))
    await until(lambda: feeds.listening == 210)
    refused = await client.get(f"/executions/{execution}/events", headers=STREAM)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
    assert refused.headers["retry-after"] == "5"
    await asyncio.gather(*(answer.aclose() for answer in answers))
    await until(lambda: feeds.listening == 0)
    async with client.stream("GET", f"/executions/{execution}/events", headers=STREAM) as answer:
        assert answer.status_code == 200


async def test_a_listener_that_takes_nothing_is_ended_and_the_others_hear_all(
    door: Door, client: httpx2.AsyncClient
) -> None:
    execution = await _started(client, "asking", input={"n": 3})
    assert door.application is not None
    doors = door.application.api.state.doors
    host, port = door.address.removeprefix("http://").split(":")
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect((host, int(port)))
    deaf.sendall(
        f"GET /api/v1/executions/{execution}/events HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n".encode()
    )
    await until(lambda: doors.feeds.listening == 1)
    others = [asyncio.create_task(_heard(client, execution)) for _ in range(5)]
    await until(lambda: doors.feeds.listening == 6)
    first = (await client.get(f"/executions/{execution}/events?limit=200")).json()["after"]
    told = {"text": "x" * 400_000}
    events = [
        Entry(execution, "", first + n, Event(kind="step.token", run="r", at="2026-11-28T00:00:00+00:00", data=told))
        for n in range(1, 41)
    ]
    await doors.engine.parts.records.writing(lambda connection: insert(connection, events))
    await until(lambda: doors.feeds.listening == 5)
    deaf.close()
    await client.post(f"/executions/{execution}/cancel", json={})
    async with asyncio.timeout(60):
        heard = await asyncio.gather(*others)
    for each in heard:
        assert [event["seq"] for _, event in each[:-1]] == list(range(1, len(each)))
        assert len(each) > first + 40
