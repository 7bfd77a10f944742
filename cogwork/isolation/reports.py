"""What the keeper of an isolated execution tells its worker: what holds of it, and how it ended."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from typing import Any, Final

LINE: Final = 65_536


class Reports:
    """Reads the reports of one keeper from a pipe, which it closes."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._confined: asyncio.Future[dict[str, Any] | None] = asyncio.get_running_loop().create_future()
        self._ended: asyncio.Future[dict[str, Any] | None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.ReadTransport | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Reports:
        reader = asyncio.StreamReader(limit=LINE)
        pipe = os.fdopen(self._handle, "rb", 0)
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        self._reading = asyncio.create_task(self._read(reader))
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._transport is not None:
            self._transport.close()
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading

    async def confined(self) -> dict[str, Any] | None:
        """What holds of the execution; None where it could not be confined."""
        return await asyncio.shield(self._confined)

    async def ended(self) -> dict[str, Any] | None:
        """How the execution ended, once nothing of it is left; None where its keeper died before it could tell."""
        return await asyncio.shield(self._ended)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                told = json.loads(line)
                if "started" in told and not self._confined.done():
                    self._confined.set_result(told["confined"])
                elif "ended" in told and not self._ended.done():
                    self._ended.set_result(told["ended"])
        finally:
            for each in (self._confined, self._ended):
                if not each.done():
                    each.set_result(None)
