"""The checkpoints, calls, requests and owners of an isolated execution, kept by its worker under the execution's own thread."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any, Final, NoReturn

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_metadata,
)

from cogwork.isolation.faults import Beyond
from cogwork.isolation.line import Line
from cogwork.store.clock import not_before
from cogwork.store.kept import kept_of, only_wakes
from cogwork.store.outlines import strict_serde
from state.durable import RecordedCall, Request

AT_ONCE: Final = 16


class FarSaver(BaseCheckpointSaver[str]):
    """A LangGraph saver of one thread, and ``Durable``.

    Whatever names another thread, or removes anything, is refused here and, since this code is not trusted, by the worker.
    """

    def __init__(self, line: Line, thread: str) -> None:
        super().__init__(serde=strict_serde())
        self._line, self._thread = line, thread
        self.calls = FarCalls(line, thread)
        self.requests = FarRequests(line, thread)
        self.owners = FarOwners(line)

    def get_next_version(self, current: str | int | float | None, channel: None = None) -> str:
        """The version after ``current``, in the form of LangGraph's own savers."""
        count = int(str(current).split(".")[0]) if current is not None else 0
        return f"{count + 1:032}.{random.random():016}"

    # -- reading -------------------------------------------------------------------------------------------

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that the config names, or the newest."""
        namespace, checkpoint = self._where(config)
        told = await self._line.request("get_tuple", namespace=namespace, checkpoint=checkpoint)
        return self._read(told)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """``aget_tuple`` for callers without an event loop."""
        namespace, checkpoint = self._where(config)
        return self._read(self._line.ask("get_tuple", namespace=namespace, checkpoint=checkpoint))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """The checkpoints of the thread, newest first."""
        if config is None:
            raise Beyond("An isolated execution sees the checkpoints of its own thread only")
        namespace = config["configurable"].get("checkpoint_ns")
        self._where(config)
        last = None if before is None else self._where(before)[1]
        left = limit if limit is not None else 1 << 30
        while left > 0:
            most = min(AT_ONCE, left)
            asked = {"namespace": namespace, "before": last, "limit": most, "filter": filter}
            found = await self._line.request("list_tuples", **asked)
            for told in found:
                read = self._read(told)
                assert read is not None, "a listed checkpoint is there"
                last = read.checkpoint["id"]
                yield read
            if len(found) < most:
                return
            left -= len(found)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Refused: use ``alist``."""
        self._refuse("list checkpoints without an event loop")

    def _read(self, told: Mapping[str, Any] | None) -> CheckpointTuple | None:
        if told is None:
            return None
        not_before(told["latest"])
        writes = [(task, channel, self._loaded(value)) for task, channel, value in told["writes"]]
        return CheckpointTuple(
            config=self._config(told["namespace"], told["id"]),
            checkpoint=self._loaded(told["checkpoint"]),
            metadata=self._loaded(told["metadata"]),
            parent_config=self._config(told["namespace"], told["parent"]) if told["parent"] else None,
            pending_writes=writes,
        )

    def _loaded(self, value: Sequence[Any]) -> Any:
        return self.serde.loads_typed((value[0], value[1]))

    def _config(self, namespace: str, checkpoint: str) -> RunnableConfig:
        where = {"thread_id": self._thread, "checkpoint_ns": namespace, "checkpoint_id": checkpoint}
        return {"configurable": where}

    # -- writing -------------------------------------------------------------------------------------------

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Keep a checkpoint."""
        await self._line.request("put", **self._kept(config, checkpoint, metadata, new_versions))
        return self._config(self._where(config)[0], checkpoint["id"])

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """``aput`` for callers without an event loop."""
        self._line.ask("put", **self._kept(config, checkpoint, metadata, new_versions))
        return self._config(self._where(config)[0], checkpoint["id"])

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Keep what a task wrote; what only wakes nodes is not, as a task that is repeated wakes the same."""
        if not only_wakes(writes):
            await self._line.request("put_writes", **self._written(config, writes, task_id, task_path))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """``aput_writes`` for callers without an event loop."""
        if not only_wakes(writes):
            self._line.ask("put_writes", **self._written(config, writes, task_id, task_path))

    def _kept(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, versions: ChannelVersions
    ) -> dict[str, Any]:
        namespace, parent = self._where(config)
        shown: RunnableConfig = {**config, "configurable": kept_of(config["configurable"])}
        return {
            "namespace": namespace,
            "parent": parent,
            "checkpoint": self._dumped(checkpoint),
            "metadata": self._dumped(get_checkpoint_metadata(shown, metadata)),
            "versions": dict(versions),
        }

    def _written(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> dict[str, Any]:
        namespace, checkpoint = self._where(config)
        return {
            "namespace": namespace,
            "checkpoint": checkpoint,
            "writes": [[channel, self._dumped(value)] for channel, value in writes],
            "task": task_id,
            "task_path": task_path,
        }

    def _dumped(self, value: Any) -> tuple[str, bytes]:
        return self.serde.dumps_typed(value)

    def _where(self, config: RunnableConfig) -> tuple[str, str | None]:
        """The namespace and checkpoint that the config names.

        Raises:
            Beyond: it names another thread.
        """
        configurable = config["configurable"]
        if str(configurable.get("thread_id", self._thread)) != self._thread:
            self._refuse(f"touch the thread {configurable['thread_id']!r}")
        return str(configurable.get("checkpoint_ns") or ""), configurable.get("checkpoint_id")

    # -- what is left to others ----------------------------------------------------------------------------

    def delete_thread(self, thread_id: str) -> None:
        """Refused."""
        self._refuse("delete a thread")

    async def adelete_thread(self, thread_id: str) -> None:
        """Refused."""
        self._refuse("delete a thread")

    def _refuse(self, what: str) -> NoReturn:
        raise Beyond(f"An isolated execution cannot {what}: it has the checkpoints of {self._thread!r} and no others")


class FarCalls:
    """The record of calls, kept by the worker."""

    def __init__(self, line: Line, thread: str) -> None:
        self._line, self._thread = line, thread

    async def of_run(self, thread: str, run: str) -> Mapping[str, RecordedCall]:
        """The calls of a run, by key."""
        told = await self._line.request("calls_of", run=run)
        return {each["key"]: RecordedCall(**each) for each in told}

    async def keep(self, thread: str, call: RecordedCall) -> None:
        """Write the call."""
        await self._line.request("keep_call", **_by_name(call))

    async def forget(self, thread: str, key: str) -> None:
        """Remove the call."""
        await self._line.request("forget_call", key=key)


class FarRequests:
    """The requests to the execution, kept by the worker."""

    def __init__(self, line: Line, thread: str) -> None:
        self._line, self._thread = line, thread

    async def make(self, thread: str, request: Request) -> None:
        """Refused: the engine's verbs pause and cancel."""
        raise Beyond("An isolated execution cannot ask a run to pause or end")

    async def open(self, thread: str) -> Request | None:
        """The open request."""
        told = await self._line.request("open_request")
        return None if told is None else Request(**told)

    async def close(self, thread: str, request: Request) -> None:
        """The request is fulfilled."""
        await self._line.request("close_request", request=request.id)


class FarOwners:
    """Who works on the thread: the worker, for as long as the block lasts and the execution lives."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def held(self, thread: str) -> AbstractAsyncContextManager[None]:
        """Own the thread's run within the block."""
        return self._holding(thread)

    @asynccontextmanager
    async def _holding(self, thread: str) -> AsyncIterator[None]:
        await self._line.request("own", name=thread)
        try:
            yield
        finally:
            with suppress(asyncio.CancelledError):
                await asyncio.shield(self._line.request("disown", name=thread))

    def alive(self, thread: str) -> bool:
        """Whether somebody works on the thread's run."""
        return bool(self._line.ask("alive", name=thread))


def _by_name(call: RecordedCall) -> dict[str, Any]:
    told = asdict(call)
    return {**told, "error": dict(call.error) if call.error is not None else None}
