"""Which runs a living process works on: an OS lock per thread, gone with the process however it ends."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from state.errors import NotResumable


class Owners:
    """A folder of lock files, one per thread that a process of this machine works on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def held(self, thread: str) -> Iterator[None]:
        """Own the thread's run until the block ends or the process dies.

        Raises:
            NotResumable: another process owns it.
        """
        handle = self._lock(thread)
        if handle is None:
            raise NotResumable(
                f"Another process works on {thread!r} right now: wait for it to end or rest, or stop it first"
            )
        try:
            yield
        finally:
            self._path(thread).unlink(missing_ok=True)
            os.close(handle)

    def alive(self, thread: str) -> bool:
        """Whether a process works on the thread's run."""
        if not self._path(thread).exists():
            return False
        handle = self._lock(thread)
        if handle is None:
            return True
        self._path(thread).unlink(missing_ok=True)
        os.close(handle)
        return False

    def _lock(self, thread: str) -> int | None:
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
            if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                return handle
            os.close(handle)

    def _path(self, thread: str) -> Path:
        return self.folder / f"{hashlib.sha256(thread.encode()).hexdigest()[:32]}.lock"
