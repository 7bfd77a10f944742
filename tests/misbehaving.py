"""An endpoint that speaks OpenAI's protocol over a raw socket and comes to harm in every way; it never goes on by itself."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

Mode: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]
SSE = "text/event-stream"
JSON = "application/json"


def event(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    """One event of a streamed answer."""
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "tiny-1", "choices": choices, **more}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
HELLO = event({"role": "assistant", "content": "hello"})


def head(status: int = 200, kind: str = SSE, length: int | None = None, **headers: str) -> bytes:
    """The head of a reply; without a length its end is that of the connection."""
    lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"content-length: {length}"] if length is not None else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def replying(body: bytes, status: int = 200, kind: str = SSE, **headers: str) -> Mode:
    """A whole reply."""

    async def mode(writer: asyncio.StreamWriter) -> None:
        writer.write(head(status, kind, len(body), **headers) + body)

    return mode


def refusing(status: int, **headers: str) -> Mode:
    """A reply that is an error of the protocol's form."""
    return replying(json.dumps({"error": {"message": "no", "type": "x"}}).encode(), status, JSON, **headers)


def stalling(*before: bytes) -> Mode:
    """Some of a reply, and then nothing for ever."""

    async def mode(writer: asyncio.StreamWriter) -> None:
        for part in before:
            writer.write(part)
        await writer.drain()
        await asyncio.Event().wait()

    return mode


def dripping(part: bytes, seconds: float) -> Mode:
    """A reply that comes byte by byte and never ends."""

    async def mode(writer: asyncio.StreamWriter) -> None:
        writer.write(head())
        while True:
            for byte in part:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(seconds)

    return mode


def resetting(*before: bytes) -> Mode:
    """Some of a reply, and then the connection is thrown away."""

    async def mode(writer: asyncio.StreamWriter) -> None:
        for part in before:
            writer.write(part)
        await writer.drain()
        raw: socket.socket = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return mode


def flooding(part: bytes, kind: str = SSE) -> Mode:
    """A reply without end, as fast as it is taken."""

    async def mode(writer: asyncio.StreamWriter) -> None:
        writer.write(head(kind=kind))
        while True:
            writer.write(part)
            await writer.drain()

    return mode


_CALL = {"index": 0, "id": "1", "type": "function", "function": {"name": "look", "arguments": '{"at": "he'}}
_HTML = b"<html><body>Please log in</body></html>"
_ANSWER = b'{"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": "hel'

MODES: dict[str, Mode] = {
    "unauthorized": refusing(401),
    "forbidden": refusing(403),
    "too many requests": refusing(429),
    "too many requests, come back in 7 s": refusing(429, retry_after="7"),
    "quota spent": replying(b'{"error": {"message": "no", "code": "insufficient_quota"}}', 429, JSON),
    "broken": refusing(500),
    "overloaded, come back in 3 s": refusing(503, retry_after="3"),
    "silent before the answer": stalling(),
    "silent after its head": stalling(head()),
    "silent within the answer": stalling(head(), HELLO),
    "one byte at a time": dripping(HELLO, 0.05),
    "comments without end": dripping(b": wait\n\n", 0.02),
    "reset before the answer": resetting(),
    "reset within the answer": resetting(head(), HELLO),
    "closed without a word": resetting(head(length=900)),
    "cut within its JSON": replying(head()[:0] + HELLO + b'data: {"id": "c", "choi'),
    "cut before its end": replying(HELLO),
    "shorter than it says": stalling(),
    "an HTML page": replying(_HTML, kind="text/html"),
    "an HTML page as a stream": replying(_HTML),
    "an empty body": replying(b""),
    "bytes that are no text": replying(b"data: \xff\xfe\x00\x9f\n\n" + DONE),
    "no choices": replying(event(choices=[]) + DONE),
    "null content": replying(event({"role": "assistant", "content": None}) + event(finish="stop") + DONE),
    "an error within the stream": replying(HELLO + b'data: {"error": {"message": "overloaded", "code": 529}}\n\n'),
    "cut at its token limit": replying(event({"content": '{"city": "Li'}) + event(finish="length") + DONE),
    "tool arguments that are cut": replying(event({"tool_calls": [_CALL]}) + event(finish="length") + DONE),
    "filtered": replying(HELLO + event(finish="content_filter") + DONE),
    "half a character": replying(event({"content": "a\ud83d"}) + event(finish="stop") + DONE),
    "50 MB in one line": flooding(b"x" * 65_536, JSON),
    "events without end": flooding(HELLO * 200),
    "a compressed body": replying(gzip.compress(HELLO + event(finish="stop") + DONE), content_encoding="gzip"),
    "a redirect": refusing(307, location="http://127.0.0.1:9/v1/chat/completions"),
}
"""What the endpoint does, by the words of docs/models.md."""


async def _short(writer: asyncio.StreamWriter) -> None:
    writer.write(head(length=9_000) + HELLO)


MODES["shorter than it says"] = _short


@asynccontextmanager
async def endpoint(mode: Mode, sent: list[dict[str, Any]] | None = None, *, port: int = 0) -> AsyncIterator[str]:
    """The address of an endpoint that answers every request so; ``sent`` gets the bodies of the requests."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
            length = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length:")), 0)
            body = await reader.readexactly(length)
            if sent is not None:
                sent.append(json.loads(body))
            await mode(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    tasks: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", port)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.close()
