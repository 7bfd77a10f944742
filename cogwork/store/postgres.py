"""Checkpoints in PostgreSQL: LangGraph's saver with owners, on connections that may break, for any event loop."""

from __future__ import annotations

import asyncio
import builtins
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg import Connection, Cursor
from psycopg.rows import DictRow
from pydantic import SecretStr

from cogwork.sealing.keys import Ring
from cogwork.sealing.standing import of_postgres
from cogwork.store import postgres_maintenance as maintenance
from cogwork.store.clock import not_before
from cogwork.store.covered import covered, fits, split, uncovered
from cogwork.store.errors import StoreError, Torn
from cogwork.store.kept import kept_of, only_wakes
from cogwork.store.off_loop import OffLoop
from cogwork.store.outlines import SealingSerializer, strict_serde
from cogwork.store.postgres_calls import PostgresCalls, PostgresRequests
from cogwork.store.postgres_database import CONNECTIONS, Database
from cogwork.store.postgres_owners import PostgresOwners, Proof
from cogwork.store.postgres_pieces import PostgresPieces, united
from cogwork.store.postgres_sealing import Boxed, boxed
from cogwork.store.postgres_tables import prepare
from state.errors import Owned
from state.values import normalise

T = TypeVar("T")

TTL_SECONDS: Final = 10.0
PATIENCE_SECONDS: Final = 30.0


class PostgresCheckpoints(OffLoop, PostgresSaver):
    """LangGraph's ``PostgresSaver`` on a pool, usable from any thread and event loop; each write proves who owns the thread.

    Every call is repeated while the server is away, for ``patience`` seconds, as each may be: writes replace what stands
    under their keys. Types that are not plain data are never revived. Close it when done.

    LangGraph keeps a copy of a channel per version; the channels that grow with a run are folded into pieces that versions
    share. Versions, and what was seen of them, stay in the checkpoint, as LangGraph's own queries read them there.

    Args:
        url: ``postgresql://user:password@host:port/database``; a pooler in between must keep sessions.
        ttl: seconds without a sign of life after which an owner counts as frozen and loses its run.
        patience: seconds that a call goes on trying while the server is away.
        proof: what shows that this process may write to a thread, else ``owners``.
        ring: the keys under which what is kept is sealed; nothing is without.

    Raises:
        StoreError: the address is none, or the database cannot be used, or is sealed with another key.
    """

    def __init__(
        self,
        url: str | SecretStr,
        *,
        ttl: float = TTL_SECONDS,
        patience: float = PATIENCE_SECONDS,
        proof: Proof | None = None,
        ring: Ring | None = None,
    ) -> None:
        secret = url if isinstance(url, SecretStr) else SecretStr(url)
        holder = f"cogwork {uuid.uuid4().hex}"
        self._database = Database(secret, application=holder, patience=patience, idle=ttl)
        self._database.open(lambda connection: self._prepare(connection, ring or Ring()))
        super().__init__(self._database.pool, serde=self._sealing)
        self._inside = threading.local()
        self._pieces = PostgresPieces(strict_serde(), self._sealing)
        self._threads = ThreadPoolExecutor(max_workers=CONNECTIONS, thread_name_prefix="cogwork-checkpoints")
        self.owners = PostgresOwners(self._database, holder=holder, ttl=ttl)
        self._proof: Proof = proof or self.owners
        self.calls = PostgresCalls(self._database, self._threads, self._proof, self.seals)
        self.requests = PostgresRequests(self._database, self._threads, self.seals)

    def _prepare(self, connection: Connection[DictRow], ring: Ring) -> None:
        prepare(connection)
        self.seals = of_postgres(connection, ring, self._database.where)
        self._sealing = SealingSerializer(self.seals)

    @property
    def where(self) -> str:
        """Host and database, for messages; never the password."""
        return self._database.where

    def close(self) -> None:
        """Let go of what is owned, finish what is being written and close the connections."""
        self.owners.close()
        self._threads.shutdown(wait=True)
        self._database.close()

    def __enter__(self) -> PostgresCheckpoints:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- transactions --------------------------------------------------------------------------------------

    @contextmanager
    def _cursor(self, *, pipeline: bool = False) -> Iterator[Cursor[DictRow]]:
        """LangGraph's door to the database; within a write of ours its statements belong to that transaction."""
        if (cursor := getattr(self._inside, "cursor", None)) is not None:
            yield cursor
            return
        with self._database.writing() if pipeline else self._database.reading() as cursor:
            yield cursor

    def _written(self, threads: Sequence[str], write: Callable[[], T]) -> T:
        """What ``write`` returns, once it is committed together with the proof that the threads are ours to write."""

        def proven() -> T:
            with self._database.writing() as cursor:
                for thread in threads:
                    self._proof.prove(cursor, thread)
                with self._using(cursor):
                    return write()

        return self._database.surviving(proven)

    def _found(self, read: Callable[[], T]) -> T:
        """What ``read`` returns, all of it read on one connection."""

        def whole() -> T:
            with self._database.reading() as cursor, self._using(cursor):
                return read()

        return self._database.surviving(whole)

    @contextmanager
    def _using(self, cursor: Cursor[DictRow]) -> Iterator[None]:
        self._inside.cursor = cursor
        try:
            yield
        finally:
            self._inside.cursor = None

    async def _apart(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    # -- writing -------------------------------------------------------------------------------------------

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """``PostgresSaver``'s, with nothing in the metadata that JSONB refuses or the caller configured for other purposes.

        Raises:
            Owned: somebody else works on the thread, or has taken it over.
        """
        kept = kept_of(config["configurable"])
        plain = {**config, "configurable": kept, "metadata": _plain(config.get("metadata") or {})}
        put, told = super().put, normalise(dict(metadata))
        if self.seals.on:
            whole = get_checkpoint_metadata(plain, told)  # type: ignore[arg-type]
            told = covered(self.seals, kept["thread_id"], {k: v for k, v in whole.items() if k != "writes"})
            plain = {"configurable": kept}
            checkpoint, new_versions = boxed(checkpoint, new_versions)
        return self._written([kept["thread_id"]], lambda: put(plain, checkpoint, told, new_versions))  # type: ignore[arg-type]

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """``PostgresSaver``'s.

        Raises:
            Owned: somebody else works on the thread, or has taken it over.
        """
        put = super().put_writes
        self._written([config["configurable"]["thread_id"]], lambda: put(config, writes, task_id, task_path))

    def _dump_blobs(
        self, thread_id: str, checkpoint_ns: str, values: dict[str, Any], versions: ChannelVersions
    ) -> builtins.list[tuple[str, str, str, str, str, bytes | None]]:
        found = {name: value.value if isinstance(value, Boxed) else value for name, value in values.items()}
        folded = {channel: self._pieces.folded_blob(thread_id, channel, found[channel]) for channel in versions}
        self._pieces.keep(self._inside.cursor, thread_id, united(pieces for _, pieces in folded.values()))
        return [
            (thread_id, checkpoint_ns, channel, str(version), *folded[channel][0])
            for channel, version in versions.items()
        ]

    def _dump_writes(
        self,
        thread_id: str,
        checkpoint_ns: str,
        checkpoint_id: str,
        task_id: str,
        task_path: str,
        writes: Sequence[tuple[str, Any]],
    ) -> builtins.list[tuple[str, str, str, str, str, int, str, str, bytes]]:
        folded = [self._pieces.folded_write(thread_id, channel, value) for channel, value in writes]
        self._pieces.keep(self._inside.cursor, thread_id, united(pieces for _, pieces in folded))
        key = (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path)
        return [
            (*key, WRITES_IDX_MAP.get(channel, index), channel, *folded[index][0])
            for index, (channel, _) in enumerate(writes)
        ]

    def delete_thread(self, thread_id: str) -> None:
        """Forget all of a thread, its calls and requests too.

        Raises:
            Owned: somebody else works on it.
        """
        self._written([str(thread_id)], lambda: self._delete_all((str(thread_id),)))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """``PostgresSaver``'s; ``delete`` is ``delete_thread`` for each.

        Raises:
            Owned: ``delete``, and somebody else works on one of them: then none is deleted.
        """
        prune, threads = super().prune, tuple(map(str, thread_ids))
        if strategy == "delete" and not isinstance(thread_ids, str):
            self._written(sorted(threads), lambda: self._delete_all(threads))
        else:
            self._database.surviving(lambda: prune(thread_ids, strategy=strategy))
            for thread in threads:
                with suppress(Owned):  # Whoever works on it may be about to use a piece; the next prune collects it.
                    self._written([thread], lambda thread=thread: self._pieces.collect(self._inside.cursor, thread))  # type: ignore[misc]

    def _delete_all(self, threads: Sequence[str]) -> None:
        with self._cursor() as cursor:
            maintenance.delete_threads(cursor, threads)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy the checkpoints and writes of a thread to another; calls are the business of the run that made them.

        Raises:
            Owned: somebody else works on the target.
        """
        source, target = str(source_thread_id), str(target_thread_id)
        self._written([target], lambda: maintenance.copy_thread(self._inside.cursor, source, target, self._sealing))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Forget all that these runs of LangGraph's server wrote; what their threads held before stays."""
        runs = [str(run_id) for run_id in run_ids]
        self._written([], lambda: maintenance.delete_runs(self._inside.cursor, runs))

    # -- reading -------------------------------------------------------------------------------------------

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """``PostgresSaver``'s, repeated while the server is away."""
        get = super().get_tuple
        return self._found(lambda: get(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """``PostgresSaver``'s, read whole before the first is given."""
        find = super().list
        shown, hidden = split(self.seals, filter)
        most = None if hidden else limit
        found = self._found(lambda: [*find(config, filter=shown, before=before, limit=most)])
        return iter([each for each in found if fits(each.metadata, hidden)][:limit])

    def _load_checkpoint_tuple(self, value: DictRow) -> CheckpointTuple:
        thread = value["thread_id"]
        try:
            with self._sealing.about(thread):
                found = super()._load_checkpoint_tuple(self._pieces.unfolded(self._inside.cursor, value))
            found = found._replace(metadata=uncovered(self.seals, thread, found.metadata))  # type: ignore[arg-type]
        except Torn as err:
            raise StoreError(
                f"The checkpoint of thread {thread!r} in {self.where} cannot be used: {err}. "
                "Restore the database from a backup, or delete the thread"
            ) from err
        not_before(found.checkpoint["id"])
        return found

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """``PostgresSaver``'s, repeated while the server is away."""
        get = super().get_delta_channel_history

        def found() -> Mapping[str, DeltaChannelHistory]:
            with self._sealing.about(str(config["configurable"]["thread_id"])):
                return get(config=config, channels=channels)

        return self._database.surviving(found)

    def threads(self) -> Iterator[str]:
        """The ids of all threads, the latest first."""
        return iter(self._found(lambda: maintenance.threads(self._inside.cursor)))

    # -- the same, off the event loop ----------------------------------------------------------------------

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """``list``, off the event loop."""
        for found in await self._apart(lambda: self.list(config, filter=filter, before=before, limit=limit)):
            yield found

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """``put``, off the event loop."""
        return await self._apart(lambda: self.put(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """``put_writes``, off the event loop; what only wakes nodes is not kept, as a task that is repeated wakes the same."""
        if not only_wakes(writes):
            await self._apart(lambda: self.put_writes(config, writes, task_id, task_path))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """``get_delta_channel_history``, off the event loop."""
        return await self._apart(lambda: self.get_delta_channel_history(config=config, channels=channels))


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What LangGraph keeps of the caller's metadata, as JSONB takes it."""
    return {key: normalise(value) for key, value in metadata.items() if isinstance(value, str | int | float | bool)}
