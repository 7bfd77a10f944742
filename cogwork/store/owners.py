"""Which runs a living process works on: an OS lock per thread, gone with the process however it ends."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import time
from pathlib import Path
from typing import Final

from state.durable import PATIENCE, PATIENCE_ROUNDS
from state.errors import Owned

PAUSE: Final = PATIENCE / PATIENCE_ROUNDS


class Owners:
    """A folder of lock files, one per thread that a process of this machine works on.

    Two tasks or threads of one process exclude each other as two processes do.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def held(self, thread: str) -> Held:
        """Own the thread's run until the block ends or the process dies; for ``async with``, and for ``with``.

        Waits a moment for an owner that is about to let go.

        Raises:
            Owned: somebody else works on it.
        """
        return Held(self, thread)

    def alive(self, thread: str) -> bool:
        """Whether a process works on the thread's run."""
        if not self._path(thread).exists():
            return False
        handle = self.lock(thread)
        if handle is None:
            return True
        self.unlock(thread, handle)
        return False

    def lock(self, thread: str) -> int | None:
        """The locked file; None where another has it. A file that its owner has just removed does not count."""
        path = self._path(thread)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                return None
            if _is(handle, path):
                return handle
            os.close(handle)

    def unlock(self, thread: str, handle: int) -> None:
        """Let go; the file is removed before another can have it."""
        self._path(thread).unlink(missing_ok=True)
        os.close(handle)

    def _path(self, thread: str) -> Path:
        return self.folder / f"{hashlib.sha256(thread.encode()).hexdigest()[:32]}.lock"


class Held:
    """The block in which a thread's run is owned."""

    def __init__(self, owners: Owners, thread: str) -> None:
        self._owners, self._thread = owners, thread
        self._handle: int | None = None

    async def __aenter__(self) -> None:
        for _ in range(PATIENCE_ROUNDS):
            taking = asyncio.ensure_future(asyncio.to_thread(self._taken))
            try:
                if await asyncio.shield(taking):
                    return
            except asyncio.CancelledError:
                taking.add_done_callback(lambda _: self._let_go())
                raise
            await asyncio.sleep(PAUSE)
        raise Owned(self._thread)

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.shield(asyncio.ensure_future(asyncio.to_thread(self._let_go)))

    def __enter__(self) -> None:
        for _ in range(PATIENCE_ROUNDS):
            if self._taken():
                return
            time.sleep(PAUSE)
        raise Owned(self._thread)

    def __exit__(self, *exc: object) -> None:
        self._let_go()

    def _taken(self) -> bool:
        self._handle = self._owners.lock(self._thread)
        return self._handle is not None

    def _let_go(self) -> None:
        if self._handle is not None:
            self._owners.unlock(self._thread, self._handle)
            self._handle = None


def _is(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
