"""Models of an OpenAI-compatible endpoint, against a small server on the loopback that misbehaves on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from pydantic import SecretStr

from cogwork.models.chat import ChatModels, Provider
from nodes.structured import ask
from state.errors import Fault

ASKED = [SystemMessage("Be brief."), HumanMessage("Where is the harbour?")]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "ships": {"type": "integer"}},
    "required": ["city", "ships"],
    "additionalProperties": False,
}


@dataclass
class Reply:
    """One reply of the server; ``cut`` closes the connection after it, before the stream's end."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


@dataclass
class Endpoint:
    """The server: its replies in order, and the requests it got."""

    replies: list[Reply]
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    port: int = 0

    def models(self, **provider: Any) -> ChatModels:
        settings = {"base_url": f"http://127.0.0.1:{self.port}/v1", "api_key": SecretStr("sk-canary"), "timeout_s": 5.0}
        return ChatModels(default="local:tiny", providers={"local": Provider(**{**settings, **provider})})

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")
        )
        self.requests.append(json.loads(await reader.readexactly(length)))
        self.headers.append(head)
        reply = self.replies.pop(0)
        about = {"content-type": "text/event-stream" if reply.body.startswith(b"data:") else "application/json"}
        lines = [f"{name}: {value}" for name, value in {**about, **reply.headers}.items()]
        chunked = "transfer-encoding: chunked"
        writer.write("\r\n".join([f"HTTP/1.1 {reply.status} X", *lines, chunked, "connection: close", "", ""]).encode())
        writer.write(f"{len(reply.body):x}\r\n".encode() + reply.body + b"\r\n")
        if not reply.cut:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def endpoint(*replies: Reply) -> AsyncIterator[Endpoint]:
    """A server that gives these replies and fails the test when some are left."""
    this = Endpoint(list(replies))
    server = await asyncio.start_server(this.serve, "127.0.0.1", 0)
    this.port = server.sockets[0].getsockname()[1]
    async with server:
        yield this
    assert not this.replies, "replies that nobody asked for"


def _event(**choice: Any) -> bytes:
    chunk = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "tiny-1",
        "choices": [{"index": 0, **choice}],
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def stream(*pieces: str, finish: str | None = "stop", done: bool = True, cut: bool = False) -> Reply:
    """A streamed answer in pieces."""
    body = b"".join(_event(delta={"role": "assistant", "content": piece}, finish_reason=None) for piece in pieces)
    if finish:
        body += _event(delta={}, finish_reason=finish)
    if done:
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        tail = {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "tiny-1",
            "choices": [],
            "usage": usage,
        }
        body += b"data: " + json.dumps(tail).encode() + b"\n\n" + b"data: [DONE]\n\n"
    return Reply(body, cut=cut)


def error(status: int, message: str = "no", **headers: str) -> Reply:
    """A refusal of the endpoint."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(json.dumps({"error": {"message": message, "type": "x"}}).encode(), status, named)


async def fault(*replies: Reply, schema: dict[str, Any] | None = None) -> Fault:
    """The fault that a question ends with."""
    async with endpoint(*replies) as server:
        with pytest.raises(Fault) as caught:
            await ask(server.models().find(None), ASKED, schema)
    assert caught.value.origin == "model"
    return caught.value


async def test_text_arrives_token_by_token_with_usage_and_finish_reason() -> None:
    heard: list[str] = []
    async with endpoint(stream("In ", "Lisse", ".")) as server:
        answer = await ask(server.models().find(None), ASKED, on_token=heard.append)
    assert heard == ["In ", "Lisse", "."]
    assert (answer.text, answer.value, answer.finish_reason, answer.model) == (
        "In Lisse.",
        "In Lisse.",
        "stop",
        "tiny-1",
    )
    assert answer.usage == {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    assert [m["role"] for m in server.requests[0]["messages"]] == ["system", "user"]
    assert server.requests[0]["stream_options"] == {"include_usage": True}


async def test_call_settings_reach_the_endpoint() -> None:
    async with endpoint(stream("ok")) as server:
        model = server.models().find("local:other", settings={"temperature": 0.5, "max_tokens": 9, "stop": ["END"]})
        await ask(model, ASKED)
    sent = server.requests[0]
    assert (sent["model"], sent["temperature"], sent["max_completion_tokens"], sent["stop"]) == (
        "other",
        0.5,
        9,
        ["END"],
    )


async def test_an_invoked_model_answers_without_streaming() -> None:
    message = {"role": "assistant", "content": "In Lisse."}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "tiny-1"}
    body |= {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    async with endpoint(Reply(json.dumps(body).encode())) as server:
        said = await server.models().find(None).ainvoke(ASKED)
    assert said.text == "In Lisse."


async def test_a_value_is_asked_for_by_its_schema_and_parsed() -> None:
    async with endpoint(stream('{"city": "Li', 'sse", "ships": 3}')) as server:
        answer = await ask(server.models().find(None), ASKED, SCHEMA)
    assert answer.value == {"city": "Lisse", "ships": 3}
    assert not answer.repaired
    wanted = server.requests[0]["response_format"]
    assert (wanted["type"], wanted["json_schema"]["schema"]) == ("json_schema", SCHEMA)


async def test_a_fenced_value_is_taken_out_of_its_fence() -> None:
    async with endpoint(stream('Here it is:\n```json\n{"city": "Lisse", "ships": 3}\n```')) as server:
        answer = await ask(server.models().find(None), ASKED, SCHEMA)
    assert answer.value == {"city": "Lisse", "ships": 3}


async def test_prose_instead_of_json_is_repaired_once_by_showing_its_faults() -> None:
    async with endpoint(stream("The city is Lisse."), stream('{"city": "Lisse", "ships": 3}')) as server:
        answer = await ask(server.models().find(None), ASKED, SCHEMA)
    assert answer.value == {"city": "Lisse", "ships": 3}
    assert answer.repaired
    assert answer.usage["total_tokens"] == 20
    shown = server.requests[1]["messages"]
    assert shown[-2] == {"role": "assistant", "content": "The city is Lisse."}
    assert "not JSON" in shown[-1]["content"]


async def test_a_value_of_the_wrong_type_is_repaired_by_naming_the_place() -> None:
    async with endpoint(
        stream('{"city": "Lisse", "ships": "three"}'), stream('{"city": "Lisse", "ships": 3}')
    ) as server:
        answer = await ask(server.models().find(None), ASKED, SCHEMA)
    assert answer.repaired
    assert "ships" in server.requests[1]["messages"][-1]["content"]


async def test_prose_twice_is_invalid_output_with_faults_and_answer() -> None:
    found = await fault(stream("Lisse."), stream("I said Lisse."), schema=SCHEMA)
    assert found.fault_class == "invalid_output"
    assert found.details["answer"] == "I said Lisse."
    assert found.details["faults"]


@pytest.mark.parametrize("schema", [None, SCHEMA])
async def test_a_stream_that_ends_without_a_finish_reason_is_unavailable(schema: dict[str, Any] | None) -> None:
    found = await fault(stream('{"city": "Li', finish=None, done=False), schema=schema)
    assert (found.fault_class, found.transient) == ("unavailable", True)


async def test_a_connection_that_breaks_within_the_stream_is_transient() -> None:
    found = await fault(stream("In ", finish=None, done=False, cut=True))
    assert found.transient


async def test_a_text_cut_at_the_token_limit_is_marked() -> None:
    async with endpoint(stream("In Li", finish="length")) as server:
        answer = await ask(server.models().find(None), ASKED)
    assert (answer.text, answer.truncated, answer.finish_reason) == ("In Li", True, "length")


async def test_a_value_cut_at_the_token_limit_is_invalid_output_and_says_what_to_raise() -> None:
    found = await fault(stream('{"city": "Li', finish="length"), schema=SCHEMA)
    assert found.fault_class == "invalid_output"
    assert "max_tokens" in found.message


async def test_an_empty_answer_is_invalid_output() -> None:
    assert (await fault(stream(" "))).fault_class == "invalid_output"


@pytest.mark.parametrize("schema", [None, SCHEMA])
async def test_a_filtered_answer_is_refused(schema: dict[str, Any] | None) -> None:
    assert (await fault(stream("I", finish="content_filter"), schema=schema)).fault_class == "refused"


async def test_a_refusal_in_words_of_its_own_is_refused() -> None:
    body = _event(delta={"role": "assistant", "refusal": "I will not."}, finish_reason=None)
    found = await fault(Reply(body + _event(delta={}, finish_reason="stop") + b"data: [DONE]\n\n"), schema=SCHEMA)
    assert found.fault_class == "refused"
    assert "I will not." in found.message


async def test_too_many_requests_say_when_to_come_back_and_are_not_retried_by_the_client() -> None:
    found = await fault(error(429, retry_after="7"))
    assert (found.fault_class, found.retry_after, found.transient) == ("rate_limited", 7.0, True)


async def test_a_retry_date_counts_from_the_replys_own_clock() -> None:
    dates = {"date": "Sat, 21 Nov 2026 10:00:00 GMT", "retry_after": "Sat, 21 Nov 2026 10:00:30 GMT"}
    assert (await fault(error(429, **dates))).retry_after == 30.0


@pytest.mark.parametrize(
    ("status", "fault_class"),
    [
        (400, "invalid_input"),
        (401, "permission_denied"),
        (403, "permission_denied"),
        (404, "invalid_input"),
        (408, "timeout"),
        (422, "invalid_input"),
        (500, "unavailable"),
        (503, "unavailable"),
    ],
)
async def test_a_status_becomes_its_fault_class(status: int, fault_class: str) -> None:
    assert (await fault(error(status))).fault_class == fault_class


async def test_a_redirect_is_not_followed() -> None:
    found = await fault(error(307, location="http://127.0.0.1:9/v1/chat/completions"))
    assert found.fault_class == "invalid_input"
    assert "redirect" in found.message


@pytest.mark.parametrize("body", [b"<html>busy</html>", b"{}", b"data: {garbage\n\n", b"data: [DONE]\n\n"])
async def test_a_reply_that_is_no_answer_is_transient(body: bytes) -> None:
    assert (await fault(Reply(body))).transient


async def test_a_silent_endpoint_times_out() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server:
        this = Endpoint([], port=server.sockets[0].getsockname()[1])
        with pytest.raises(Fault) as caught:
            await ask(this.models(timeout_s=0.2).find(None), ASKED)
    assert caught.value.fault_class == "timeout"


async def test_an_endpoint_that_is_not_there_is_a_connection_fault() -> None:
    async with endpoint() as server:
        models = server.models()
    with pytest.raises(Fault) as caught:
        await ask(models.find(None), ASKED)
    assert caught.value.fault_class == "connection"


async def test_an_endpoint_that_knows_no_response_format_gets_the_schema_in_words() -> None:
    refusal = error(400, "unknown field response_format")
    async with endpoint(refusal, stream('{"city": "Lisse", "ships": 3}')) as server:
        answer = await ask(server.models().find(None), ASKED, SCHEMA)
    assert answer.value == {"city": "Lisse", "ships": 3}
    assert '"ships"' in server.requests[1]["messages"][-1]["content"]
    assert "response_format" not in server.requests[1]


async def test_no_fault_tells_the_key() -> None:
    found = await fault(error(401, "Incorrect API key provided: sk-canary"))
    other = await fault(error(400, "key sk-canary-12345 is odd"))
    assert "canary" not in str(found) + str(other) + json.dumps([found.details, other.details])


def test_one_model_serves_several_event_loops_one_after_the_other() -> None:
    async def once() -> str:
        nonlocal model
        async with endpoint(stream("ok")) as server:
            model = model or server.models(base_url=f"http://127.0.0.1:{server.port}/v1").find(None)
            model.root_async_client.base_url = f"http://127.0.0.1:{server.port}/v1"
            return (await ask(model, ASKED)).text

    model: Any = None
    assert [asyncio.run(once()), asyncio.run(once())] == ["ok", "ok"]
