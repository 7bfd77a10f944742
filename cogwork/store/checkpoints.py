"""Checkpoints in one SQLite file: LangGraph's saver, made small, and safe for untrusted bytes, busy files and any event loop."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.utils import search_where

from cogwork.sealing.keys import Ring
from cogwork.sealing.standing import of_sqlite
from cogwork.store import maintenance
from cogwork.store.calls import SqliteCalls
from cogwork.store.clock import not_before
from cogwork.store.covered import covered, fits, split, uncovered
from cogwork.store.database import Database, removals, unusable
from cogwork.store.errors import StoreError, Torn
from cogwork.store.folding import Folding
from cogwork.store.grouping import Grouping
from cogwork.store.kept import kept_of, only_wakes
from cogwork.store.off_loop import OffLoop
from cogwork.store.outlines import Folded, SealingSerializer, Within, strict_serde
from cogwork.store.owners import Owners
from cogwork.store.pieces import Reader
from cogwork.store.requests import SqliteRequests
from cogwork.store.unfolding import unfolded_tuple

__all__ = ["SqliteCheckpoints", "StoreError", "strict_serde"]

T = TypeVar("T")

AT_ONCE: Final = 16
"""How many checkpoints of a history are read in one go off the event loop."""
PRUNING: Final = ("keep_latest", "delete", "delete_all")


class SqliteCheckpoints(OffLoop, SqliteSaver):
    """LangGraph's ``SqliteSaver`` on a file of mode 0600, usable from any thread and event loop.

    The async methods run the sync ones on one thread of its own, so that no event loop is blocked or bound. Types that are
    not plain data are never revived from the file. A checkpoint takes the room of what is new in it: what it shares with
    others of its thread is kept once. Beside the checkpoints stand the calls of runs and the requests to them; who works on
    which thread is told by locks in the folder ``<file>.owners``.

    Args:
        path: the database file; created, with its folder, if it is not there.
        synchronous: SQLite's ``FULL`` survives a power cut; ``NORMAL`` may lose the last commits to one, not to a crash.
        ring: the keys under which what is kept is sealed; nothing is without.

    Raises:
        StoreError: the file cannot be opened, or is no SQLite database, or is sealed with another key.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        ring: Ring | None = None,
    ) -> None:
        self.path = Path(path)
        self._database = Database(self.path, synchronous)
        serde = strict_serde()
        try:
            self.seals = of_sqlite(self._database.connection, ring or Ring(), f"the checkpoint file {self.path}")
            self._sealing = SealingSerializer(self.seals)
            super().__init__(self._database.connection, serde=self._sealing)
            self.lock = self._database.lock
            self.setup()
        except sqlite3.DatabaseError as err:
            self._database.connection.close()
            raise unusable(self.path, err) from err
        except StoreError:
            self._database.connection.close()
            raise
        self._database.prepare()
        self._folding = Folding(serde, self.seals)
        self._database.on_failure = self._folding.forget
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cogwork-checkpoints")
        self._grouping = Grouping(self._thread, self._database.transaction)
        self.calls = SqliteCalls(self._database, self._grouping, self._folding, serde, self._sealing)
        self.requests = SqliteRequests(self._database, self._grouping, self.seals)
        self.owners = Owners(self.path.with_name(f"{self.path.name}.owners"))

    @property
    def _within(self) -> Within:
        """What unfolds; LangGraph gives copies of this saver a serialiser that revives more types."""
        serde = self.serde
        return serde.within if isinstance(serde, SealingSerializer) else self._sealing.within

    @property
    def where(self) -> str:
        """The file, for messages."""
        return str(self.path)

    def close(self) -> None:
        """Finish what is being written and close the file."""
        self.requests.shutdown()
        self._thread.shutdown(wait=True)
        self._database.close()

    def __enter__(self) -> SqliteCheckpoints:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextmanager
    def cursor(self, transaction: bool = True) -> Iterator[sqlite3.Cursor]:
        """A cursor in a transaction, which is that of the group or block around it if there is one."""
        with self._database.transaction() if transaction else self._database.reading() as cursor:
            yield cursor

    # -- reading -----------------------------------------------------------------------------------------------------------

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """``SqliteSaver``'s, unfolded; checkpoints that are made after it are later than all of the thread.

        Raises:
            StoreError: a part of it is missing or was altered, or SQLite failed.
        """
        return self._found(config, self._reader(str(config["configurable"]["thread_id"])))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """``SqliteSaver``'s, unfolded; the caller may call the saver meanwhile.

        Raises:
            StoreError: a part of one is missing or was altered, or SQLite failed.
        """
        readers: dict[str, Reader] = {}
        shown, hidden = split(self.seals, filter)
        left = -1 if limit is None else limit
        for key in self._keys(config, shown, before, None if hidden else limit):
            for found in self._several([key], readers):
                if left and fits(found.metadata, hidden):
                    left -= 1
                    yield found

    # What LangGraph does with SQL of its own would miss what is folded.
    get_delta_channel_history = BaseCheckpointSaver.get_delta_channel_history

    def _reader(self, thread: str) -> Reader:
        return Reader(self._within, partial(self._database.pieces, thread), self.seals)

    def _found(self, config: RunnableConfig, reader: Reader) -> CheckpointTuple | None:
        thread = str(config["configurable"]["thread_id"])
        with self._database.naming(thread), self._database.reading() as cursor:
            with self._sealing.about(thread):
                found = super().get_tuple(config)
            if found is None:
                return None
            found = found._replace(metadata=uncovered(self.seals, thread, found.metadata))  # type: ignore[arg-type]
            latest = "SELECT MAX(checkpoint_id) FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ?"
            cursor.execute(latest, (thread, config["configurable"].get("checkpoint_ns", "")))
            not_before(cursor.fetchone()[0])
            whole = unfolded_tuple(self._within, found, reader)
            if whole.checkpoint.get("id") != whole.config["configurable"]["checkpoint_id"] and self.seals.on:
                raise Torn("it is another checkpoint of the thread")
            return whole

    def _keys(
        self,
        config: RunnableConfig | None,
        filter: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> Sequence[tuple[str, str, str]]:
        where, values = search_where(config, filter, before)
        query = f"SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints {where} ORDER BY checkpoint_id DESC"
        with self._database.reading() as cursor:
            return cursor.execute(f"{query} LIMIT ?", (*values, -1 if limit is None else limit)).fetchall()

    def _several(self, keys: Sequence[tuple[str, str, str]], readers: dict[str, Reader]) -> Sequence[CheckpointTuple]:
        """The checkpoints, but for those that have been removed since."""
        found = []
        for thread, namespace, checkpoint in keys:
            where = {"thread_id": thread, "checkpoint_ns": namespace, "checkpoint_id": checkpoint}
            reader = readers.setdefault(thread, self._reader(thread))
            found.append(self._found({"configurable": where}, reader))
        return [each for each in found if each is not None]

    # -- writing -----------------------------------------------------------------------------------------------------------

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """``SqliteSaver``'s, folded, with nothing in the metadata that the caller configured for other purposes.

        Raises:
            StoreError: SQLite failed.
        """
        kept = kept_of(config["configurable"])
        thread, namespace = str(kept["thread_id"]), kept.setdefault("checkpoint_ns", "")
        with self._database.transaction() as cursor:
            self._folding.renew(removals(cursor))
            data, pieces = self._folding.checkpoint(thread, namespace, checkpoint)
            self._database.keep_pieces(thread, pieces)
            outline: Any = Folded(data, id=checkpoint["id"])
            told: Any = {**config, "configurable": kept}
            if self.seals.on:
                metadata = covered(self.seals, thread, get_checkpoint_metadata(told, metadata))  # type: ignore[assignment]
                told = {"configurable": kept}
            with self._sealing.about(thread):
                return super().put(told, outline, metadata, new_versions)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """``SqliteSaver``'s, with large values folded.

        Raises:
            StoreError: SQLite failed.
        """
        thread, namespace = str(config["configurable"]["thread_id"]), config["configurable"].get("checkpoint_ns", "")
        with self._database.transaction() as cursor:
            self._folding.renew(removals(cursor))
            small = [(channel, self._small(thread, namespace, value)) for channel, value in writes]
            with self._sealing.about(thread):
                super().put_writes(config, small, task_id, task_path)

    def _small(self, thread: str, namespace: str, value: Any) -> Any:
        folded = self._folding.value(thread, namespace, value)
        if folded is None:
            return value
        self._database.keep_pieces(thread, folded[1])
        return Folded(folded[0])

    # -- maintenance -------------------------------------------------------------------------------------------------------

    def delete_thread(self, thread_id: str) -> None:
        """Remove all that the file holds of the thread: checkpoints, calls and requests."""
        with self._database.transaction() as cursor:
            maintenance.delete_thread(cursor, str(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Forget all that these runs of LangGraph's server wrote; what their threads held before stays."""
        with self._database.transaction() as cursor:
            for thread in maintenance.delete_runs(cursor, map(str, run_ids)):
                maintenance.sweep(cursor, self._reader(thread), thread, self._sealing)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Give the target all checkpoints and calls of the source."""
        with self._database.transaction() as cursor:
            maintenance.copy_thread(cursor, str(source_thread_id), str(target_thread_id), self._sealing)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Remove all of the threads (``delete``), or all but the latest checkpoint of each namespace (``keep_latest``).

        Raises:
            ValueError: there is no such strategy.
            NotImplementedError: ``keep_latest`` of a thread that uses LangGraph's ``DeltaChannel``; nothing is removed.
        """
        if isinstance(thread_ids, str):
            raise TypeError("thread_ids is a sequence of thread ids, not one of them")
        if strategy not in PRUNING:
            raise ValueError(f"There is no strategy {strategy!r} to prune by: use keep_latest or delete")
        with self._database.transaction() as cursor:
            for thread in map(str, thread_ids):
                if strategy == "keep_latest":
                    self._keep_latest(cursor, thread)
                else:
                    maintenance.delete_thread(cursor, thread)

    def _keep_latest(self, cursor: sqlite3.Cursor, thread: str) -> None:
        maintenance.keep_latest(cursor, thread)
        found = self._found({"configurable": {"thread_id": thread, "checkpoint_ns": ""}}, self._reader(thread))
        run = found.checkpoint["channel_values"].get("run") if found is not None else None
        if isinstance(run, dict) and isinstance(run.get("id"), str):
            maintenance.delete_calls(cursor, thread, but=run["id"])
        maintenance.sweep(cursor, self._reader(thread), thread, self._sealing)

    def threads(self) -> Iterator[str]:
        """The ids of all threads, the latest first."""
        with self._database.reading() as cursor:
            return iter(maintenance.threads(cursor))

    # -- the same, off the event loop --------------------------------------------------------------------------------------

    async def _apart(self, call: Callable[[], T]) -> T:
        return await self._grouping.apart(call)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """``list``, off the event loop."""
        shown, hidden = split(self.seals, filter)
        keys = await self._grouping.apart(lambda: self._keys(config, shown, before, None if hidden else limit))
        readers: dict[str, Reader] = {}
        left = -1 if limit is None else limit
        for start in range(0, len(keys), AT_ONCE):
            for found in await self._grouping.apart(partial(self._several, keys[start : start + AT_ONCE], readers)):
                if left and fits(found.metadata, hidden):
                    left -= 1
                    yield found

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """``put``, off the event loop."""
        return await self._grouping.run(lambda: self.put(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """``put_writes``, off the event loop; what only wakes nodes is not kept, as a task that is repeated wakes the same."""
        if not only_wakes(writes):
            await self._grouping.run(lambda: self.put_writes(config, writes, task_id, task_path))
