"""What an isolated execution keeps, at its worker: checkpoints and calls of its own thread, read without trust."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.base.id import uuid6

from cogwork.isolation.asked import CloseRequest, GetTuple, KeepCall, ListTuples, Put, PutWrites
from cogwork.isolation.faults import Beyond
from cogwork.isolation.frames import LARGE, Broken, bounded
from cogwork.store.clock import stamp
from cogwork.store.outlines import strict_serde
from graphs.keeping import kept_by
from state.durable import RecordedCall

AHEAD: Final = 600 * 10_000_000
"""How far after this moment the time in a checkpoint's id may be, in its units: later ones would outrun those of all others."""
OWNED_AT_ONCE: Final = 64
_FORMS: Final = frozenset({"msgpack", "null", "bytes", "bytearray"})
_PARTS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "v": int,
    "id": str,
    "ts": str,
    "channel_values": dict,
    "channel_versions": dict,
    "versions_seen": dict,
}


class NearSaver:
    """One thread of a saver, for one isolated execution."""

    def __init__(self, saver: Any, thread: str) -> None:
        self._saver, self._thread = saver, thread
        self._kept = kept_by(saver)
        self._serde = strict_serde()
        self._owning: dict[str, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self.failed: Exception | None = None
        """What the saver itself failed with first: it is the worker's failure, whatever the execution makes of it."""

    async def aclose(self) -> None:
        """Let go of all that is owned."""
        for name in [*self._owning]:
            await self.disown(name)

    # -- checkpoints ---------------------------------------------------------------------------------------

    async def run_id(self) -> str | None:
        """The id of the thread's run, as its newest checkpoint has it."""
        found = await self._saver.aget_tuple(self._config(""))
        run = found.checkpoint["channel_values"].get("run") if found is not None else None
        return str(run["id"]) if isinstance(run, dict) and "id" in run else None

    async def get_tuple(self, asked: GetTuple) -> dict[str, Any] | None:
        """A checkpoint, as it crosses the line."""
        found = await self._saver.aget_tuple(self._config(asked.namespace, asked.checkpoint))
        return None if found is None else await self._told(found)

    async def list_tuples(self, asked: ListTuples) -> list[dict[str, Any]]:
        """The next checkpoints, newest first."""
        config = self._config(asked.namespace)
        before = None if asked.before is None else self._config(asked.namespace, asked.before)
        options = {"before": before, "limit": asked.limit, "filter": asked.filter}
        return [await self._told(found) async for found in self._saver.alist(config, **options)]

    async def put(self, asked: Put) -> None:
        """Keep a checkpoint.

        Raises:
            Broken: it is none.
        """
        checkpoint, metadata = await self._loaded(asked.checkpoint), await self._loaded(asked.metadata)
        for name, kind in _PARTS.items():
            if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(name), kind):
                raise Broken(f"a checkpoint without its {name}")
        time = stamp(checkpoint["id"])
        if time is None or time > (stamp(str(uuid6())) or 0) + AHEAD:
            raise Broken("a checkpoint whose id is none of LangGraph's, or of another time")
        if not isinstance(metadata, dict):
            raise Broken("a checkpoint without metadata")
        kept = {name: checkpoint[name] for name in (*_PARTS, "updated_channels") if name in checkpoint}
        await self._saver.aput(self._config(asked.namespace, asked.parent), kept, metadata, dict(asked.versions))

    async def put_writes(self, asked: PutWrites) -> None:
        """Keep what a task wrote.

        Raises:
            Broken: it cannot be read.
        """
        writes = [(channel, await self._loaded(value)) for channel, value in asked.writes]
        config = self._config(asked.namespace, asked.checkpoint)
        await self._saver.aput_writes(config, writes, asked.task, asked.task_path)

    async def _told(self, found: CheckpointTuple) -> dict[str, Any]:
        return await asyncio.to_thread(self._dumped, found)

    def _dumped(self, found: CheckpointTuple) -> dict[str, Any]:
        where, parent = found.config["configurable"], (found.parent_config or {}).get("configurable", {})
        writes = found.pending_writes or ()
        return {
            "namespace": where.get("checkpoint_ns", ""),
            "id": found.checkpoint["id"],
            "latest": str(uuid6()),
            "parent": parent.get("checkpoint_id"),
            "checkpoint": [*self._serde.dumps_typed(found.checkpoint)],
            "metadata": [*self._serde.dumps_typed(found.metadata)],
            "writes": [[task, channel, [*self._serde.dumps_typed(value)]] for task, channel, value in writes],
        }

    async def _loaded(self, value: tuple[str, bytes]) -> Any:
        """The value that the execution has packed.

        Raises:
            Broken: it is of a form that is not read from there, or cannot be read.
        """
        form, data = value
        if form not in _FORMS:
            raise Broken(f"a value of the form {form[:40]!r}")
        return self._read(form, data) if len(data) <= LARGE else await asyncio.to_thread(self._read, form, data)

    def _read(self, form: str, data: bytes) -> Any:
        if form == "msgpack":
            bounded(data)
        try:
            return self._serde.loads_typed((form, data))
        except Exception as err:
            raise Broken(f"a value that cannot be read: {type(err).__name__}") from None

    def _config(self, namespace: str | None, checkpoint: str | None = None) -> RunnableConfig:
        where: dict[str, Any] = {"thread_id": self._thread}
        if namespace is not None:
            where["checkpoint_ns"] = namespace
        if checkpoint is not None:
            where["checkpoint_id"] = checkpoint
        return {"configurable": where}

    # -- calls and requests --------------------------------------------------------------------------------

    async def calls_of(self, run: str) -> list[dict[str, Any]]:
        """The calls of a run on the thread."""
        found = await self._kept.calls.of_run(self._thread, run)
        return [{**asdict(call), "error": dict(call.error) if call.error else None} for call in found.values()]

    async def keep_call(self, asked: KeepCall) -> None:
        """Record a call."""
        await self._kept.calls.keep(self._thread, RecordedCall(**asked.model_dump(exclude={"do", "id"})))

    async def forget_call(self, key: str) -> None:
        """Remove a call from the record."""
        await self._kept.calls.forget(self._thread, key)

    async def open_request(self) -> dict[str, Any] | None:
        """What is asked of the execution."""
        found = await self._kept.requests.open(self._thread)
        return None if found is None else asdict(found)

    async def close_request(self, asked: CloseRequest) -> None:
        """The request is fulfilled, if it is the one that is open."""
        found = await self._kept.requests.open(self._thread)
        if found is not None and found.id == asked.request:
            await self._kept.requests.close(self._thread, found)

    # -- owning --------------------------------------------------------------------------------------------

    async def own(self, name: str) -> None:
        """Own the thread, or a part of it, for the execution.

        Raises:
            Owned: somebody else works on it.
            Beyond: it is another thread, or owned already.
        """
        self._mine(name)
        if name in self._owning or len(self._owning) >= OWNED_AT_ONCE:
            raise Beyond(f"The execution owns {name!r} already")
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        over = asyncio.Event()
        task = asyncio.create_task(self._hold(name, taken, over))
        self._owning[name] = (task, over)
        try:
            await asyncio.shield(taken)
        except BaseException:
            await self.disown(name)
            raise

    async def _hold(self, name: str, taken: asyncio.Future[None], over: asyncio.Event) -> None:
        try:
            async with self._kept.owners.held(name):
                taken.set_result(None)
                await over.wait()
        except Exception as err:
            if taken.done():
                raise
            taken.set_exception(err)

    async def disown(self, name: str) -> None:
        """Let go of it."""
        task, over = self._owning.pop(name, (None, None))
        if task is not None and over is not None:
            over.set()
            with suppress(asyncio.CancelledError):
                await asyncio.shield(task)

    async def alive(self, name: str) -> bool:
        """Whether somebody works on it."""
        self._mine(name)
        return await asyncio.to_thread(self._kept.owners.alive, name)

    def _mine(self, name: str) -> None:
        if name != self._thread and not name.startswith(f"{self._thread}|"):
            raise Beyond(f"An isolated execution has the thread {self._thread!r} and no others")
