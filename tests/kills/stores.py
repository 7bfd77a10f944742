"""Stores that kill their process: before and after every write of a checkpoint, and of the record of calls."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cogwork.store.checkpoints import SqliteCheckpoints
from tests.kills.ledger import Ledger


class Fuse:
    """Kills the process when it has been passed ``left`` times, or ``times`` times at that ``place``; never where both are 0.

    Places are ``intent``, ``result``, ``forget`` (of the record of calls), ``call``, ``checkpoint`` and ``writes``, each with
    ``before`` or ``after``, and ``checkpoint committed``.
    """

    def __init__(self, left: int = 0, place: str = "", times: int = 1) -> None:
        self.left, self.place, self.times = left, place, times

    def __call__(self, place: str) -> None:
        self.left -= 1
        self.times -= place == self.place
        if self.left == 0 or (place == self.place and self.times == 0):
            os.kill(os.getpid(), signal.SIGKILL)

    @property
    def passed(self) -> int:
        return -self.left


class KilledCalls:
    """A record of calls with a fuse; with ``recording`` off it keeps and knows nothing."""

    def __init__(self, calls: Any, fuse: Fuse, ledger: Ledger, recording: bool) -> None:
        self.calls, self.fuse, self.ledger, self.recording = calls, fuse, ledger, recording

    async def of_run(self, thread: str, run: str) -> Mapping[str, Any]:
        return await self.calls.of_run(thread, run) if self.recording else {}

    async def keep(self, thread: str, call: Any) -> None:
        if not self.recording:
            return
        place = "intent" if call.status == "begun" else "result"
        self.fuse(f"{place} before")
        await self.calls.keep(thread, call)
        if call.status == "done":
            self.ledger.tell("finished", names=[call.key])
        self.fuse(f"{place} after")

    async def forget(self, thread: str, key: str) -> None:
        if not self.recording:
            return
        self.fuse("forget before")
        await self.calls.forget(thread, key)
        self.fuse("forget after")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.calls, name)


def killed(base: type[Any]) -> Callable[..., Any]:
    """A store of that class, made to kill: ``open(*args, fuse, ledger, recording, **options)``."""

    class Killed(base):
        def put(self, *args: Any, **kwargs: Any) -> Any:
            self.fuse("checkpoint before")
            done = super().put(*args, **kwargs)
            self.fuse("checkpoint after")
            return done

        def put_writes(self, *args: Any, **kwargs: Any) -> None:
            self.fuse("writes before")
            super().put_writes(*args, **kwargs)
            self.fuse("writes after")

        async def aput(self, *args: Any, **kwargs: Any) -> Any:
            done = await super().aput(*args, **kwargs)
            self.fuse("checkpoint committed")
            return done

    def opened(*args: Any, fuse: Fuse, ledger: Ledger, recording: bool, **options: Any) -> Any:
        store = Killed(*args, **options)
        store.fuse = fuse  # type: ignore[attr-defined]
        if hasattr(store, "calls"):
            calls = KilledCalls(store.calls, fuse, ledger, recording)
            Killed.calls = property(lambda self: calls, lambda self, value: None)  # type: ignore[attr-defined]
        return store

    return opened


def opener(kind: str, folder: Path, url: str) -> Callable[..., Any]:
    """What opens the store of a run: the SQLite file of its folder, or a database."""
    if kind == "sqlite":
        return lambda **options: killed(SqliteCheckpoints)(
            folder / "checkpoints.sqlite", synchronous="NORMAL", **options
        )
    from cogwork.store.postgres import PostgresCheckpoints

    return lambda **options: killed(PostgresCheckpoints)(url, ttl=TTL, **options)


TTL = 2.0
"""Seconds after which PostgreSQL's owner counts as dead; its connection breaks at once when it is killed."""
