"""A worker: takes segments from the queue and runs them, notices workers that have died, and hands on its work when it ends.

DBOS has one instance per process, so a process has one worker. What open-source DBOS lacks is here: a worker that dies is
noticed by the others through the lock that every worker holds where the checkpoints are kept (``Owners``), and its segments
are put back into the queue by DBOS's own atomic step. A zombie is refused where it writes: at the checkpoints by their
owner's token, in the records by the execution's, in the queue by DBOS's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import sqlalchemy as sa

from cogwork.engine.dispatch import Dispatch
from cogwork.engine.queue import APPLICATION, DEFAULT, SEGMENT, VERSION, Queues, migrated, system_engine
from cogwork.engine.segments import Segments
from cogwork.errors import EngineError
from cogwork.executions.store import Executions
from cogwork.records.tables.workers import WORKERS
from state.durable import Owners
from state.errors import CogworkError
from state.values import Json

log = logging.getLogger(__name__)
DRAIN_SECONDS: Final = 25.0
"""How long a worker that ends waits for writes in flight."""
TICK_SECONDS: Final = 1.0
"""Between two looks for workers that have died."""
_current: Worker | None = None


class Owning(Protocol):
    """Where the locks of workers are: with the checkpoints."""

    @property
    def owners(self) -> Owners:
        """Who holds what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chore:
    """What a worker does beside running segments, every so many ``seconds``; all workers do it, and must bear each other."""

    name: str
    seconds: float
    do: Callable[[], Awaitable[object]]


@dataclass(slots=True, kw_only=True)
class Worker:
    """One worker; ``serve`` it until ``stop`` is set.

    ``concurrency`` is how many segments it runs at once, ``poll`` how often (seconds) it looks into each queue.
    """

    executions: Executions
    segments: Segments
    dispatch: Dispatch
    saver: Owning
    queues: Queues
    chores: Sequence[Chore] = ()
    concurrency: int = 100
    poll: float = 0.1
    labels: Mapping[str, Json] = field(default_factory=dict)
    drain: float = DRAIN_SECONDS
    id: str = field(default_factory=lambda: f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    _running: set[str] = field(default_factory=set)

    async def serve(self, stop: asyncio.Event, ready: Callable[[], None] = lambda: None) -> None:
        """Work until ``stop`` is set; then let everything rest, and hand it on.

        Raises:
            EngineError: ``conflict`` where this process has a worker already; ``database_error``.
        """
        global _current
        if _current is not None:
            raise EngineError("conflict", "This process has a worker already: start another one with `cogwork worker`")
        _current = self
        try:
            async with self.saver.owners.held(_lock(self.id)), self._put_down(), self._launched() as dbos:
                async with self._chores():
                    await asyncio.to_thread(_memory_given_back)
                    ready()
                    await stop.wait()
                await self._drained(dbos)
        finally:
            _current = None

    # -- segments --------------------------------------------------------------------------------------------

    async def run(self, execution: str, number: int) -> str:
        """Run a segment, and queue the next one where this worker has to let go of the run."""
        self.segments.worker = self.id
        self._running.add(execution)
        try:
            outcome = await self.segments.run(execution, number)
            if outcome == "pending":
                await self.dispatch.hand_on(execution, number)
            return outcome
        finally:
            self._running.discard(execution)

    async def _drained(self, dbos: Any) -> None:
        """Take nothing more, and let what runs come to rest."""
        await self.executions.records.writing(
            lambda c: c.execute(sa.update(WORKERS).where(WORKERS.c.id == self.id).values(status="draining"))
        )
        for event in dbos.background_thread_stop_events:
            event.set()
        end = asyncio.get_running_loop().time() + self.drain
        while self._running and asyncio.get_running_loop().time() < end:
            await self.segments.hand_on()
            await asyncio.sleep(0.1)
        if self._running:
            log.warning(
                "%s runs did not come to rest within %s s; other workers take them over", len(self._running), self.drain
            )

    @asynccontextmanager
    async def _launched(self) -> AsyncIterator[Any]:
        """DBOS, taking from the queues within the block."""
        from dbos import DBOS, DBOSPortableJSONSerializer

        _registered()
        engine = await asyncio.to_thread(system_engine, self.queues)
        await asyncio.to_thread(migrated, self.queues, engine)
        dbos = DBOS(
            config={
                "name": APPLICATION,
                "system_database_engine": engine,
                "dbos_system_schema": self.queues.schema,
                "application_version": VERSION,
                "executor_id": self.id,
                "serializer": DBOSPortableJSONSerializer(),
                "use_listen_notify": False,
                "run_migrations": False,
                "log_level": "ERROR",
                "notification_listener_polling_interval_sec": 2.0,
                "scheduler_polling_interval_sec": 3600.0,
            }
        )
        # Its queues stand in the database; a worker listens to those that its settings name.
        DBOS.listen_queues([DEFAULT, *self.queues.limits])
        try:
            DBOS.launch()
            for name in (DEFAULT, *self.queues.limits):
                await self._registered_queue(DBOS, name)
            yield dbos
        finally:
            await asyncio.to_thread(DBOS.destroy)
            # DBOS has made its own threads those of the loop, and they have ended with it.
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(thread_name_prefix="cogwork"))
            engine.dispose()

    async def _registered_queue(self, dbos: Any, name: str) -> None:
        limits = self.queues.limits.get(name)
        options: dict[str, Any] = {"worker_concurrency": self.concurrency}
        if limits is not None:
            options = {
                "worker_concurrency": limits.per_worker or self.concurrency,
                "global_concurrency": limits.concurrency,
                "partition_concurrency": (limits.per_concurrency or 1) if limits.per else None,
                "limiter": {"limit": limits.rate[0], "period": limits.rate[1]} if limits.rate else None,
            }
        await dbos.register_queue_async(name, polling_interval_sec=self.poll, on_conflict="always_update", **options)

    # -- beside the segments ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def _chores(self) -> AsyncIterator[None]:
        own = [
            Chore(name="beat", seconds=5.0, do=self._beat),
            Chore(name="reap", seconds=TICK_SECONDS, do=self.reap),
            Chore(name="requeue", seconds=5.0, do=self.dispatch.requeue),
        ]
        tasks = [asyncio.create_task(_repeated(chore), name=f"cogwork-{chore.name}") for chore in (*own, *self.chores)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def reap(self) -> int:
        """Put the segments of workers that have died back into the queue; how many workers those were."""
        from dbos._dbos import _get_dbos_instance

        sys_db = _get_dbos_instance()._sys_db
        table = sys_db.tables.workflow_status
        query = sa.select(table.c.executor_id).where(table.c.status == "PENDING").distinct()

        def known() -> list[str]:
            with sys_db.engine.connect() as connection:
                return [str(row[0]) for row in connection.execute(query) if row[0]]

        others = [name for name in await asyncio.to_thread(known) if name != self.id]
        dead = [name for name in others if not await asyncio.to_thread(self.saver.owners.alive, _lock(name))]
        if dead:
            log.warning("Workers have died, and their runs are taken over: %s", ", ".join(dead))
            await asyncio.to_thread(_recovered, dead)
            await self.executions.records.writing(lambda c: c.execute(sa.delete(WORKERS).where(WORKERS.c.id.in_(dead))))
        return len(dead)

    async def _beat(self) -> None:
        now = self.executions.now()
        await self.executions.records.writing(
            lambda c: c.execute(sa.update(WORKERS).where(WORKERS.c.id == self.id).values(beat_at=now))
        )

    @asynccontextmanager
    async def _put_down(self) -> AsyncIterator[None]:
        """Stand among the workers within the block."""
        from importlib.metadata import version

        now = self.executions.now()
        row = {
            "id": self.id,
            "host": platform.node(),
            "pid": os.getpid(),
            "status": "running",
            "concurrency": self.concurrency,
            "version": version("cogwork"),
            "labels": dict(self.labels),
            "started_at": now,
            "beat_at": now,
        }
        await self.executions.records.writing(lambda c: c.execute(sa.insert(WORKERS).values(**row)))
        try:
            yield
        finally:
            with suppress(EngineError):
                await self.executions.records.writing(
                    lambda c: c.execute(sa.delete(WORKERS).where(WORKERS.c.id == self.id))
                )


def _memory_given_back() -> None:
    """Hand what reading the code has left free back to the system: some 10 MB, where the C library can."""
    import ctypes

    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


async def _repeated(chore: Chore) -> None:
    """Do it again and again; what goes wrong is said, and tried again."""
    while True:
        try:
            await chore.do()
        except (CogworkError, OSError, sa.exc.SQLAlchemyError) as err:
            log.warning("%s failed and is tried again: %s", chore.name, err)
        await asyncio.sleep(chore.seconds)


def _recovered(dead: list[str]) -> None:
    from dbos import DBOS

    DBOS._recover_pending_workflows(dead)


def _lock(worker: str) -> str:
    """The name of what a worker holds while it lives."""
    return f"worker:{worker}"


_known = False


def _registered() -> None:
    """Tell DBOS of the one workflow that there is, once per process."""
    global _known
    if _known:
        return
    _known = True
    from dbos import DBOS

    @DBOS.workflow(name=SEGMENT, max_recovery_attempts=1_000_000)
    async def segment(execution: str, number: int) -> str:
        worker = _current
        if worker is None:
            raise RuntimeError("DBOS runs a segment in a process without a worker")
        try:
            return await worker.run(execution, number)
        except Exception as err:  # DBOS keeps what is raised here, and it may hold what the run works with.
            raise RuntimeError(f"The segment broke off: {type(err).__name__}") from None
