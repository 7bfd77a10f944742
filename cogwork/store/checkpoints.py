"""Checkpoints in one SQLite file: LangGraph's saver, made safe for untrusted bytes, busy files and any event loop."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from cogwork.store.grouping import Grouping
from state.errors import CogworkError

T = TypeVar("T")
NO_WRITES, WAKING = "__no_writes__", "branch:to:"
"""LangGraph's channels of a task that wrote nothing, and of the nodes to call next."""
BUSY_SECONDS = 30.0
"""How long a write waits for another process that holds the file."""
KEPT_OF_CONFIG = frozenset({"thread_id", "checkpoint_ns", "checkpoint_id", "run_id", "assistant_id", "graph_id"})
"""What of a caller's ``configurable`` may stand in the file; LangGraph would write all of it, keys and passwords too."""
COLUMNS = ("thread_id", "checkpoint_ns", "checkpoint_id", "parent_checkpoint_id", "type", "checkpoint", "metadata")
"""What LangGraph keeps of a checkpoint; a table of that name without them is somebody else's."""


class StoreError(CogworkError):
    """The checkpoint file cannot be used: what happened to which file, and what to do."""


class SqliteCheckpoints(SqliteSaver):
    """LangGraph's ``SqliteSaver`` on a file of mode 0600, usable from any thread and event loop.

    The async methods run the sync ones on one thread of its own, so that no event loop is blocked or bound. Types that are
    not plain data are never revived from the file.

    Args:
        path: the database file; created, with its folder, if it is not there.
        synchronous: SQLite's ``FULL`` survives a power cut; ``NORMAL`` may lose the last commits to one, not to a crash.

    Raises:
        StoreError: the file cannot be opened, or is no SQLite database.
    """

    def __init__(self, path: str | os.PathLike[str], *, synchronous: Literal["FULL", "NORMAL"] = "FULL") -> None:
        self.path = Path(path)
        super().__init__(_connected(self.path, synchronous), serde=strict_serde())
        try:
            self.setup()
            self.conn.execute(f"SELECT {', '.join(COLUMNS)} FROM checkpoints LIMIT 0")
        except sqlite3.DatabaseError as err:
            self.conn.close()
            raise _unusable(self.path, err) from err
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cogwork-checkpoints")
        self._grouping = Grouping(self._thread, super().cursor)

    @property
    def where(self) -> str:
        """The file, for messages."""
        return str(self.path)

    def close(self) -> None:
        """Finish what is being written and close the file."""
        self._thread.shutdown(wait=True)
        with self.lock:
            self.conn.close()

    def __enter__(self) -> SqliteCheckpoints:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextmanager
    def cursor(self, transaction: bool = True) -> Iterator[sqlite3.Cursor]:
        """A cursor; within a group of writes its transaction is the group's."""
        if not self._grouping.open:
            with super().cursor(transaction) as cursor:
                yield cursor
            return
        with closing(self.conn.cursor()) as cursor:
            yield cursor

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """``SqliteSaver``'s, with nothing in the metadata that the caller configured for other purposes."""
        kept = {key: value for key, value in config["configurable"].items() if key in KEPT_OF_CONFIG}
        return super().put({**config, "configurable": kept}, checkpoint, metadata, new_versions)

    async def _off_loop(self, call: Callable[[], T]) -> T:
        with self._naming():
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Say of which file a failure of SQLite speaks, and what to do."""
        try:
            yield
        except sqlite3.Error as err:
            raise StoreError(
                f"The checkpoint file {self.path} failed: {err}. What it holds is not lost: mend that, then resume the run"
            ) from err

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """``get_tuple``, off the event loop."""
        return await self._off_loop(lambda: self.get_tuple(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """``list``, off the event loop; read whole before the first is given, so that the caller may call the saver."""
        found = await self._off_loop(lambda: list(self.list(config, filter=filter, before=before, limit=limit)))
        for checkpoint in found:
            yield checkpoint

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """``put``, off the event loop."""
        with self._naming():
            return await self._grouping.run(lambda: self.put(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """``put_writes``, off the event loop; what only wakes nodes is not kept, as a task that is repeated wakes the same."""
        if all(channel == NO_WRITES or channel.startswith(WAKING) for channel, _ in writes):
            return
        with self._naming():
            await self._grouping.run(lambda: self.put_writes(config, writes, task_id, task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        """``delete_thread``, off the event loop."""
        await self._off_loop(lambda: self.delete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Forget all that these runs of LangGraph's server wrote; what their threads held before stays."""
        wanted = "SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints WHERE json_extract(metadata, '$.run_id') = ?"
        with self.cursor() as cursor:
            for run_id in map(str, run_ids):
                cursor.execute(
                    f"DELETE FROM writes WHERE (thread_id, checkpoint_ns, checkpoint_id) IN ({wanted})", (run_id,)
                )
                cursor.execute("DELETE FROM checkpoints WHERE json_extract(metadata, '$.run_id') = ?", (run_id,))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """``delete_for_runs``, off the event loop."""
        await self._off_loop(lambda: self.delete_for_runs(run_ids))

    def threads(self) -> Iterator[str]:
        """The ids of all threads, the latest first."""
        with self.cursor(transaction=False) as cursor:
            cursor.execute(
                "SELECT thread_id FROM checkpoints WHERE checkpoint_ns = '' GROUP BY thread_id ORDER BY MAX(checkpoint_id) DESC"
            )
            found = [row[0] for row in cursor.fetchall()]
        return iter(found)


def strict_serde() -> JsonPlusSerializer:
    """A serialiser that revives plain data and LangChain's messages, and nothing else."""
    return JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=None, allowed_json_modules=None)


def _connected(path: Path, synchronous: str) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        os.chmod(path, 0o600)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except (sqlite3.DatabaseError, OSError) as err:
        raise _unusable(path, err) from err
    return connection


def _unusable(path: Path, error: Exception) -> StoreError:
    return StoreError(f"The checkpoint file {path} cannot be used: {error}. Name another one, or move it away.")
