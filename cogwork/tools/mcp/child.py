"""A server as a process of its own: JSON-RPC over its standard streams, all that it may do to us bounded.

The SDK's own transport for processes holds a line of any length, logs what it cannot read with its content, and takes a
server for alive whose children keep its output open; this one does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client._transport import TransportStreams
from mcp.shared.message import SessionMessage
from mcp_types import (
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    jsonrpc_message_adapter,
)
from pydantic_core import from_json

from cogwork.tools.mcp.faults import TOO_LARGE
from cogwork.tools.mcp.lines import Flood, Lines, Overlong, answered

CHUNK: Final = 64 * 1024
GRACE: Final = 1.0
"""Seconds that a server has to go by itself once its input is closed, and again once it is told to."""
WATCH: Final = 0.1
"""How often it is looked whether the process lives, for those whose children keep the output open."""
MAX_GARBAGE: Final = 1_000
"""Lines in a row that are no message."""
MAX_UNASKED: Final = 20_000
"""Messages in a row that answer nothing."""
WORDS: Final = 500
"""How much of a line of the error stream is kept, in characters."""
ENDED_BY_US: Final = "it was closed"

_Incoming = MemoryObjectSendStream[SessionMessage | Exception]


@dataclass(slots=True, kw_only=True)
class Life:
    """What is known of how a connection goes, and in the end why it ended."""

    over: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    reason: str = ""
    pid: int | None = None
    garbage: int = 0
    """Lines that were no message."""
    words: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    """What the server has written to its error stream last."""

    def end(self, reason: str) -> None:
        """It is over; the first reason counts."""
        if not self.over.done():
            self.reason = reason
            self.over.set_result(None)


@dataclass(slots=True, kw_only=True)
class Child:
    """A server to be started; ``limit`` is the longest line, in bytes, that is read from it."""

    command: Sequence[str]
    env: Mapping[str, str]
    cwd: Path | None
    limit: int
    life: Life

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[TransportStreams]:
        """The process, started, and the two streams to it; stopped in the end, with all of its own children.

        Raises:
            OSError: it cannot be started.
        """
        process = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(self.env),
            cwd=self.cwd,
            start_new_session=True,
            limit=CHUNK,
        )
        self.life.pid = process.pid
        to_session, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        outgoing, from_session = anyio.create_memory_object_stream[SessionMessage](0)
        async with anyio.create_task_group() as group:
            for work in (self._read(process, to_session), self._hear(process), self._watch(process, to_session)):
                group.start_soon(_awaited, work)
            group.start_soon(_awaited, self._write(process, from_session, to_session))
            try:
                yield incoming, outgoing
            finally:
                with anyio.CancelScope(shield=True):
                    await self._ended(process, otherwise=ENDED_BY_US)
                    await _stopped(process)
                group.cancel_scope.cancel()
                for stream in (to_session, incoming, outgoing, from_session):
                    stream.close()

    async def _read(self, process: asyncio.subprocess.Process, to_session: _Incoming) -> None:
        assert process.stdout is not None
        lines, unasked, garbage = Lines(self.limit), 0, 0
        async with to_session:
            with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                try:
                    while chunk := await process.stdout.read(CHUNK):
                        for line in lines.fed(chunk):
                            message = self._message(line)
                            garbage = garbage + 1 if message is None else 0
                            unasked = unasked + 1 if message is not None and _is_unasked(message) else 0
                            if garbage > MAX_GARBAGE or unasked > MAX_UNASKED:
                                raise Flood("lines that are no messages" if garbage else "messages nobody asked for")
                            if message is not None:
                                await to_session.send(message)
                except Flood as flood:
                    self.life.end(f"it writes {flood} without end")
                else:
                    await self._ended(process, otherwise="it closed its output")

    def _message(self, line: bytes | Overlong) -> SessionMessage | None:
        if isinstance(line, Overlong):
            if line.answers is None:
                self.life.garbage += 1
                return None
            told = f"its answer of {line.size} bytes is larger than {self.limit}"
            return SessionMessage(_refusal(line.answers, told))
        if not line.strip():
            return None
        try:
            return SessionMessage(jsonrpc_message_adapter.validate_python(_json(line), by_name=False))
        except (ValueError, RecursionError):
            self.life.garbage += 1
            id = answered(line, line)
            return None if id is None else SessionMessage(_refusal(id, "its answer cannot be read", PARSE_ERROR))

    async def _write(
        self,
        process: asyncio.subprocess.Process,
        from_session: MemoryObjectReceiveStream[SessionMessage],
        to_session: _Incoming,
    ) -> None:
        assert process.stdin is not None
        try:
            async for item in from_session:
                text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                process.stdin.write(text.encode() + b"\n")
                await process.stdin.drain()
        except (OSError, ValueError, RuntimeError):
            to_session.close()

    async def _hear(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        lines = Lines(4 * WORDS)
        with contextlib.suppress(Flood, OSError):
            while chunk := await process.stderr.read(CHUNK):
                for line in lines.fed(chunk):
                    said = line if isinstance(line, bytes) else line.head
                    if text := said.decode(errors="replace").strip():
                        self.life.words.append(text[:WORDS])
        while await process.stderr.read(CHUNK):
            pass

    async def _watch(self, process: asyncio.subprocess.Process, to_session: _Incoming) -> None:
        while not await _gone(process, 60, every=WATCH):
            pass
        await asyncio.sleep(WATCH)
        self.life.end(_how(process.returncode))
        to_session.close()

    async def _ended(self, process: asyncio.subprocess.Process, *, otherwise: str) -> None:
        """Something is at an end: say how the process died, or ``otherwise`` where it lives."""
        if not self.life.over.done():
            dead = await _gone(process, WATCH * 2)
            self.life.end(_how(process.returncode) if dead else otherwise)


async def _awaited(work: Any) -> None:
    await work


def _is_unasked(message: SessionMessage) -> bool:
    return isinstance(message.message, JSONRPCNotification | JSONRPCRequest)


def _refusal(request: int, told: str, code: int = TOO_LARGE) -> JSONRPCError:
    return JSONRPCError(jsonrpc="2.0", id=request, error=ErrorData(code=code, message=told))


def _json(line: bytes) -> Any:
    """What the line holds; the fast reader knows neither halves of letters nor deep nesting."""
    try:
        return from_json(line)
    except ValueError:
        return json.loads(line)


def _how(code: int | None) -> str:
    if code is None or code >= 0:
        return f"it exited with code {code}"
    try:
        return f"it was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was ended by signal {-code}"


async def _gone(process: asyncio.subprocess.Process, seconds: float, *, every: float = 0.01) -> bool:
    """Whether the process ends in time; ``process.wait`` would also wait for whoever keeps its output open."""
    for _ in range(int(seconds / every)):
        if process.returncode is not None:
            return True
        await asyncio.sleep(every)
    return process.returncode is not None


async def _stopped(process: asyncio.subprocess.Process) -> None:
    """Close its input, tell it to go, make it go; and sweep up what it has started."""
    assert process.stdin is not None
    with contextlib.suppress(OSError, RuntimeError):
        process.stdin.close()
    if not await _gone(process, GRACE):
        _signalled(process.pid, signal.SIGTERM)
        await _gone(process, GRACE)
    _signalled(process.pid, signal.SIGKILL)
    await _gone(process, GRACE)
    transport: Any = getattr(process, "_transport", None)
    with contextlib.suppress(OSError, AttributeError):
        transport.close()


def _signalled(group: int, what: signal.Signals) -> None:
    """To all of the group, which keeps its number for as long as anybody is in it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, what)
