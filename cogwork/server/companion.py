"""A worker in a process of its own beside a server whose event loop must not be held up; it ends with the server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

GRACE_SECONDS: Final = 40.0
"""How long it may take to hand on what it has at work."""


@asynccontextmanager
async def companion() -> AsyncIterator[None]:
    """Let a worker of the environment's settings run within the block.

    It ends in order when its standard input closes, and so also when this process is killed.
    """
    command = [sys.executable, "-m", "cogwork", "worker", "--processes", "1", "--while-stdin"]
    process = await asyncio.to_thread(subprocess.Popen, command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        await asyncio.to_thread(_ended, process)


def _ended(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
