"""What another instance answers is not trusted: it is checked and bounded, and leads nowhere else."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cogwork.breaker import Breaker
from cogwork.remote.answers import event_of
from cogwork.remote.instance import Instance, Refused
from cogwork.remote.sections import InstanceSection
from cogwork.remote.server_events import Message, messages
from cogwork.settings import Settings
from state.errors import Fault
from tests.instances import engine_of

pytestmark = [pytest.mark.req("M5"), pytest.mark.req("M9")]
TOKEN = "a-token-of-the-tests"
GOOD = {"execution_id": "x-1", "status": "running", "segment": 1}
Reply = Callable[[str], bytes]


def http(body: Any, status: str = "200 OK", kind: str = "application/json", more: str = "") -> bytes:
    """An answer of a server."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(raw)}\r\n{more}\r\n".encode() + raw


@asynccontextmanager
async def answering(reply: Reply, **section: Any) -> AsyncIterator[tuple[Instance, list[str]]]:
    """An instance whose server answers each request with what ``reply`` gives for its head; and their first lines."""
    lines: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines.append(head.partition("\r\n")[0])
        writer.write(reply(head))
        with suppress(ConnectionError):  # who asked has heard enough
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    made = InstanceSection(url=f"http://127.0.0.1:{port}", token=TOKEN, timeout=5, **section)
    async with server:
        yield Instance(name="evil", section=made, breaker=Breaker(service="evil"), environment={}), lines


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (http(b"<html>"), "not understood"),
        (http([1, 2]), "not understood"),
        (http({**GOOD, "status": "exploded"}), "status"),
        (http({**GOOD, "segment": -1}), "segment"),
        (http({**GOOD, "segment": 10**30}), "segment"),
        (http({**GOOD, "execution_id": "x\u0007"}), "execution_id"),
        (http({**GOOD, "execution_id": "another"}), "another execution"),
        (http({**GOOD, "questions": [{"at": "a"}] * 101}), "questions"),
        (http({**GOOD, "questions": [{"at": 7}]}), "questions.0.at"),
        (http(b"[" * 100_000), "not understood"),
        (http(b"x" * (1024 * 1024 + 1)), "larger than"),
        (http(b'{"execution_id": "\\ud8"}'), "not understood"),
    ],
)
async def test_an_answer_that_is_none_is_a_fault_that_says_why(reply: bytes, said: str) -> None:
    async with answering(lambda _: reply) as (instance, _lines):
        with pytest.raises(Fault, match=said) as caught:
            await instance.status("x-1")
    assert caught.value.fault_class == "invalid_output"


async def test_nobody_is_followed_elsewhere() -> None:
    elsewhere = "Location: http://169.254.169.254/latest/meta-data\r\n"
    async with answering(lambda _: http({}, "302 Found", more=elsewhere)) as (instance, lines):
        with pytest.raises(Refused, match="it sends elsewhere"):
            await instance.status("x-1")
    assert lines == ["GET /api/v1/executions/x-1 HTTP/1.1"]


@pytest.mark.parametrize("name", ["../../admin", "a/b?c=d#e", "x y", "%2e%2e", "a\\b", "ü"])
async def test_an_id_is_one_segment_of_the_path_whatever_it_holds(name: str) -> None:
    async with answering(lambda _: http({**GOOD, "execution_id": name})) as (instance, lines):
        assert (await instance.status(name)).execution_id == name
    path = lines[0].split(" ")[1]
    assert path.startswith("/api/v1/executions/")
    assert path.count("/") == 4
    assert "?" not in path


@pytest.mark.parametrize("name", [".", "..", ""])
async def test_an_id_that_no_encoding_keeps_in_its_place_is_refused(name: str) -> None:
    async with answering(lambda _: http(GOOD)) as (instance, lines):
        with pytest.raises(Fault, match="is no id"):
            await instance.move(name, "cancel", {})
    assert lines == []


async def test_a_token_that_is_repeated_is_taken_out() -> None:
    body = {"error": {"code": "unauthenticated", "message": f"{TOKEN} is not valid"}}
    async with answering(lambda _: http(body, "401 Unauthorized")) as (instance, _lines):
        with pytest.raises(Refused) as caught:
            await instance.status("x-1")
    assert "[token] is not valid" in str(caught.value)
    assert TOKEN not in str(caught.value)


async def test_an_instance_that_fails_again_and_again_is_left_alone() -> None:
    async with answering(lambda _: http({}, "500 Oh")) as (instance, lines):
        for _ in range(7):
            with pytest.raises(Fault):
                await instance.status("x-1")
    assert (instance.breaker.state, len(lines)) == ("open", 5)


async def test_events_are_taken_by_their_numbers_and_what_is_none_is_passed_over() -> None:
    def told(number: Any, **event: Any) -> str:
        return f"id: {number}\ndata: {json.dumps(event)}\n\n"

    text = (
        told(1, event="step.started", step="a", at="2026-11-01T00:00:00+00:00")
        + told(
            3, event="step.finished", step="b", at="never", seconds="long", attempts=2, usage={"cost_usd": -1}, evil=1
        )
        + told(3, event="step.started", step="again")
        + told("9" * 40, event="step.started", step="far")
        + "id: 5\ndata: no json\n\n"
        + told(6, event="made.up", step="c")
        + told(7, event="step.failed", step="d" * 5000, error={"class": "nonsense", "message": "m" * 9000})
        + "id: 8\ndata: cut of"
    )
    reply = http(text.encode(), kind="text/event-stream; charset=utf-8")
    async with answering(lambda _: reply) as (instance, lines):
        found = [pair async for pair in instance.events("x-1", run="r", after=0, move=0)]
    assert [number for number, _ in found] == [1, 3, 5, 6, 7]
    assert [event.step[:3] if event else None for _, event in found] == ["a", "b", None, None, "ddd"]
    second, last = found[1][1], found[4][1]
    assert second is not None and last is not None
    assert second.data == {"number": 3, "move": 0, "attempts": 2}
    assert (len(last.step), last.data["error"]["class"], len(last.data["error"]["message"])) == (1024, "internal", 4000)
    assert lines == ["GET /api/v1/executions/x-1/events HTTP/1.1"]


async def test_a_message_without_end_is_cut_off() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"data: " + b"x" * 1000

    with pytest.raises(Fault, match="larger than 5,000 bytes"):
        _ = [each async for each in messages(pieces(), 5_000)]


@given(st.data(), st.sampled_from(["\n", "\r\n", "\r"]))
def test_messages_are_the_same_however_the_stream_is_cut(data: Any, end: str) -> None:
    text = end.join(
        [": hello", "retry: 5", "", "id: 1", "event: a", "data: one", "data: two", "", "data:x", "", "id: 2", ""]
    )
    raw = (text + end).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    parts = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]

    async def pieces() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    async def read() -> list[Message]:
        return [each async for each in messages(pieces(), 1_000)]

    expected = [Message("1", "a", "one\ntwo"), Message("1", "", "x")]
    assert asyncio.run(read()) == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_no_event_breaks_what_reads_it(value: Any) -> None:
    kinds = {"event": "step.finished", "step": value, "at": value, "error": value, "usage": value, "seconds": value}
    found = event_of(json.dumps(kinds), "r", number=1)
    assert found is None or len(found.step) <= 1024


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"url": "http://gpu.example.org:4020"}, "over http a token can be read"),
        ({"url": "ftp://gpu.example.org"}, "must be the address of a server"),
        ({"url": "https://user:word@gpu.example.org"}, "must be the address of a server"),
        ({"url": "https://gpu.example.org/path"}, "must be the address of a server"),
        ({"url": "https://gpu.example.org", "key": "key.pem"}, "belong together"),
        ({"url": "https://gpu.example.org", "labels": ["a b"]}, "pattern"),
        ({"url": "https://gpu.example.org", "verify": False}, "[Ee]xtra"),
    ],
)
def test_an_instance_that_nobody_should_talk_to_is_no_setting(section: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        InstanceSection.model_validate(section)


@pytest.mark.parametrize("name", ["local", "a/b", "http://x", "", "9"])
def test_a_name_that_is_none_is_no_setting(name: str) -> None:
    with pytest.raises(Exception, match="cannot be named"):
        Settings(instances={name: {"url": "https://gpu.example.org"}})


def completing(keys: list[str], *, silent: int) -> Reply:
    """Answers of an instance that completes what it is given; the first ``silent`` starts, whose ``keys`` are kept, get none."""

    def reply(head: str) -> bytes:
        line = head.partition("\r\n")[0]
        if line.startswith("POST /api/v1/executions "):
            keys.extend(re.findall(r"(?im)^idempotency-key: (\S+)\r$", head))
            return b"" if len(keys) <= silent else http({**GOOD, "status": "pending"}, "202 Accepted")
        if line.startswith("GET /api/v1/executions/x-1/events"):
            return http(b"", kind="text/event-stream")
        if line.startswith("GET /api/v1/executions/x-1/result"):
            return http({**GOOD, "status": "completed", "output": {"primary_result": 42}})
        return http({**GOOD, "status": "completed"})

    return reply


async def test_a_start_without_an_answer_is_asked_for_again_under_its_key_and_nowhere_else(tmp_path: Path) -> None:
    first, second = list[str](), list[str]()
    async with (
        answering(completing(first, silent=2)) as (one, _),
        answering(completing(second, silent=0)) as (two, others),
    ):
        given = {"one": one.section, "two": two.section}
        async with engine_of(tmp_path, "home", instances=given) as engine:
            handle = await engine.execute_workflow("writing", {"n": 1}, policy="round_robin")
            result = await handle.wait(60)
    assert (result.execution.status, result.output) == ("completed", 42)
    assert (len(first), len({*first}), second, others) == (3, 1, [], [])


async def test_a_start_that_stays_without_an_answer_is_in_doubt_where_it_may_change_something(tmp_path: Path) -> None:
    keys = list[str]()
    async with answering(completing(keys, silent=1_000)) as (one, _):
        given: Any = {"instances": {"one": one.section, "two": one.section}, "remote": {"lost_after": 0.5, "look": 60}}
        async with engine_of(tmp_path, "home", **given) as engine:
            result = await (await engine.execute_workflow("writing", {"n": 1}, policy="round_robin")).wait(60)
            assert (result.execution.status, result.execution.reason) == ("paused", "in_doubt")
            assert "may have begun it" in result.execution.questions[0]["ask"]
            assert await engine.cancel_execution(result.execution.id, "enough")
            ended = await engine.parts.dispatch.wait(result.execution.id, 60)
            assert ended.status in ("cancelled", "failed")
            assert "may still run there" in (ended.error or {})["message"]
    assert len({*keys}) == 1
