"""The durable queue: DBOS Transact on SQLite or PostgreSQL, of which this is the only file that enqueues.

An execution is a LangGraph thread; each stretch of it between two rests, a segment, is one workflow of DBOS with the id
``execution.number``, so that asking twice is asking once. What a segment is to do stands in the records, not in the queue.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from cogwork.errors import EngineError
from cogwork.records.database import BUSY_SECONDS
from cogwork.records.grouped import database_error

APPLICATION: Final = "cogwork"
VERSION: Final = "1"
"""The same for every version of the code: DBOS runs a row only where this is equal, and a new one would strand what is queued."""
SEGMENT: Final = "cogwork.segment"
"""The name of the workflow that runs a segment."""
DEFAULT: Final = "cogwork"
"""The queue of executions that name none."""
POOL: Final = 5
MIGRATIONS: Final = 5
"""How often the queue's tables are tried to be made."""
KEPT: Final = timedelta(days=1)
OVER: Final = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
WAITING: Final = ("ENQUEUED", "DELAYED")
_LOCK: Final = 0x0C09_0002


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """What a queue allows at once and in time.

    ``concurrency`` counts over all workers, ``per_worker`` within each; ``per`` (``tenant`` or ``workflow``) splits the queue,
    and ``per_concurrency`` counts within each part. ``rate`` is (starts, seconds).
    """

    concurrency: int | None = None
    per_worker: int | None = None
    per: str | None = None
    per_concurrency: int | None = None
    rate: tuple[int, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    """Where the queue is kept, and the queues that there are beside the default one."""

    path: Path
    url: SecretStr | None = None
    schema: str = "cogwork_queue"
    limits: Mapping[str, QueueLimits] = field(default_factory=dict)
    patterns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The workflows that wait in each, where an execution names none."""

    def partition(self, queue: str, tenant: str, workflow: str) -> str | None:
        """The part of the queue that an execution waits in; None where it has no parts."""
        limits = self.limits.get(queue)
        if limits is None or limits.per is None:
            return None
        return (tenant or "-") if limits.per == "tenant" else workflow

    def known(self, queue: str | None, workflow: str = "") -> str:
        """The queue of that name, or the one in which the workflow waits.

        Raises:
            EngineError: ``invalid_input``; the settings have none of that name.
        """
        if queue is None:
            meant = (name for name, each in self.patterns.items() if any(fnmatchcase(workflow, p) for p in each))
            return next(meant, DEFAULT)
        if queue == DEFAULT:
            return DEFAULT
        if queue not in self.limits:
            names = ", ".join([DEFAULT, *self.limits])
            raise EngineError("invalid_input", f"There is no queue {queue!r}: the settings have {names}", queue=queue)
        return str(queue)


def system_engine(queues: Queues) -> sa.Engine:
    """The connections of DBOS."""
    if queues.url is not None:
        return _postgres_engine(queues.url.get_secret_value())
    queues.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not queues.path.exists():
        os.close(os.open(queues.path, os.O_CREAT | os.O_RDWR, 0o600))
    return _sqlite_engine(queues.path)


def _postgres_engine(url: str) -> sa.Engine:
    import psycopg

    from cogwork.store.postgres_database import DEFAULTS

    defaults: dict[str, Any] = dict(DEFAULTS)

    def connect() -> Any:
        return psycopg.connect(url, **{**defaults, "application_name": "cogwork queue"})

    return sa.create_engine(
        "postgresql+psycopg://", creator=connect, pool_size=POOL, max_overflow=5, pool_timeout=30, pool_pre_ping=True
    )


def _sqlite_engine(path: Path) -> sa.Engine:
    """DBOS would leave the write-ahead log off, which costs most of the speed, and count time in seconds on Python 3.11."""

    def connect() -> sqlite3.Connection:
        made = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level="IMMEDIATE", check_same_thread=False)
        made.execute("PRAGMA foreign_keys=ON")
        made.execute("PRAGMA journal_mode=WAL")
        made.execute("PRAGMA synchronous=NORMAL")
        made.create_function("unixepoch", -1, lambda *_: time.time())
        made.create_function("strftime", -1, _seconds)
        return made

    return sa.create_engine(
        "sqlite://", creator=connect, poolclass=sa.QueuePool, pool_size=POOL, max_overflow=15, pool_timeout=60
    )


def _seconds(form: str, *rest: str) -> float:
    """SQLite's ``strftime('%s', 'now')``, the only form that DBOS uses, with the fraction of the second."""
    if (form, rest) != ("%s", ("now",)):
        raise ValueError(f"strftime({form!r}) is not asked for by DBOS")
    return time.time()


def migrated(queues: Queues, engine: sa.Engine) -> None:
    """Bring the queue's tables to what this DBOS needs.

    Raises:
        EngineError: ``database_error``.
    """
    from dbos._serialization import DBOSPortableJSONSerializer
    from dbos._sys_db import SystemDatabase

    try:
        made = SystemDatabase.create(
            system_database_url="sqlite:///given" if engine.dialect.name == "sqlite" else "postgresql://given/given",
            engine_kwargs={},
            engine=engine,
            schema=queues.schema,
            serializer=DBOSPortableJSONSerializer(),
            executor_id=None,
            use_listen_notify=False,
            app_name=APPLICATION,
        )
        with _alone(engine):
            for left in reversed(range(MIGRATIONS)):
                try:
                    return made.run_migrations()
                except DBAPIError as err:
                    if not left or not _collided(err):
                        raise
                _drop_unfinished(engine, queues.schema)
    except SQLAlchemyError as err:
        raise database_error("the queue", err) from err


def _collided(error: DBAPIError) -> bool:
    """Whether it was ended because of another transaction: making an index beside others' work may deadlock with it."""
    from cogwork.store.postgres_database import COLLIDED

    return isinstance(error.orig, COLLIDED)


def _drop_unfinished(engine: sa.Engine, schema: str) -> None:
    """Drop the indexes that were being made when it was ended: they stay behind, invalid, and would count as made."""
    query = sa.text(
        "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n"
        " ON n.oid = c.relnamespace WHERE NOT i.indisvalid AND n.nspname = :schema"
    )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for name in connection.execute(query, {"schema": schema}).scalars().all():
            connection.exec_driver_sql(f'DROP INDEX IF EXISTS "{schema}"."{name}"')


@contextmanager
def _alone(engine: sa.Engine) -> Iterator[None]:
    """One process at a time: on PostgreSQL DBOS's own migrations deadlock where two begin at once.

    The lock is tried again and again, as one that is waited for would hold up their ``CREATE INDEX CONCURRENTLY``.
    """
    if engine.dialect.name == "sqlite":
        yield
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({_LOCK})").scalar():
            time.sleep(0.1)
        try:
            yield
        finally:
            connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_LOCK})")


class QueueClient:
    """The queue for those who put something into it; nothing runs here."""

    def __init__(self, queues: Queues) -> None:
        from dbos import DBOSClient, DBOSPortableJSONSerializer

        self.queues = queues
        self._engine = system_engine(queues)
        migrated(queues, self._engine)
        self._client = DBOSClient(
            system_database_engine=self._engine,
            dbos_system_schema=queues.schema,
            serializer=DBOSPortableJSONSerializer(),
            application_name=APPLICATION,
        )
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="cogwork-queue")

    async def enqueue(
        self,
        execution: str,
        number: int,
        *,
        priority: int,
        queue: str,
        delay: float = 0.0,
        partition: str | None = None,
    ) -> None:
        """Let a worker run the segment; asked twice, it runs once."""
        options: dict[str, Any] = {
            "workflow_name": SEGMENT,
            "queue_name": queue,
            "workflow_id": segment_id(execution, number),
            "app_version": VERSION,
            "priority": priority,
        }
        if delay > 0:
            options["delay_seconds"] = delay
        if partition is not None:
            options["queue_partition_key"] = partition
        await self._apart(lambda: self._client.enqueue(options, execution, number))  # type: ignore[arg-type]

    async def withdraw(self, execution: str, number: int) -> None:
        """Take a segment that waits out of the queue; one that runs is not touched."""
        await self._apart(lambda: self._withdraw(segment_id(execution, number)))

    def _withdraw(self, name: str) -> None:
        found = self._client.list_workflows(workflow_ids=[name], load_input=False, load_output=False)
        if found and found[0].status in WAITING:
            self._client.cancel_workflow(name)

    async def standing(self, names: list[str]) -> dict[str, str]:
        """The status that DBOS has of these segments, by id; those that it does not know are left out."""
        found = await self._apart(
            lambda: self._client.list_workflows(workflow_ids=names, load_input=False, load_output=False)
        )
        return {each.workflow_id: str(each.status) for each in found}

    async def depth(self) -> dict[str, int]:
        """How many segments wait and run, by DBOS's status."""
        from dbos._schemas.system_database import SystemSchema

        table = SystemSchema.workflow_status
        name = table.name if self._engine.dialect.name == "sqlite" else f'"{self.queues.schema}".{table.name}'
        query = (
            f"SELECT status, count(*) FROM {name} WHERE status IN ('ENQUEUED', 'PENDING', 'DELAYED') GROUP BY status"
        )

        def counted() -> dict[str, int]:
            with self._engine.connect() as connection:
                return {str(row[0]): int(row[1]) for row in connection.exec_driver_sql(query)}

        found: dict[str, int] = await self._apart(counted)
        return found

    async def lengths(self) -> list[tuple[str, int, int, datetime | None]]:
        """Of each queue that is not empty: its name, how many segments wait in it and how many run, and since when the first of
        them has been waiting; one that is to begin later waits from then on."""
        columns = ("queue_name", "status", "created_at", "delay_until_epoch_ms")
        schema = None if self._engine.dialect.name == "sqlite" else self.queues.schema
        table = sa.table("workflow_status", *map(sa.column, columns), schema=schema)
        waits = table.c.status == "ENQUEUED"
        since = sa.func.coalesce(table.c.delay_until_epoch_ms, table.c.created_at)
        query = (
            sa.select(
                table.c.queue_name,
                sa.func.count(sa.case((waits, 1))),
                sa.func.count(sa.case((table.c.status == "PENDING", 1))),
                sa.func.min(sa.case((waits, since))),
            )
            .where(table.c.status.in_(("ENQUEUED", "PENDING")), table.c.queue_name.is_not(None))
            .group_by(table.c.queue_name)
        )

        def counted() -> list[tuple[str, int, int, datetime | None]]:
            with self._engine.connect() as connection:
                rows = connection.execute(query).all()
            return [(str(row[0]), int(row[1]), int(row[2]), _instant(row[3])) for row in rows]

        found: list[tuple[str, int, int, datetime | None]] = await self._apart(counted)
        return found

    async def tidy(self, older: timedelta = KEPT, most: int = 10_000) -> int:
        """Remove segments from the queue's tables that have ended so long ago; how many. DBOS itself keeps them for ever."""
        before = (datetime.now(UTC) - older).isoformat()
        return int(await self._apart(lambda: self._tidied(before, most)))

    def _tidied(self, before: str, most: int) -> int:
        count = 0
        while count < most:
            found = self._client.list_workflows(
                status=list(OVER), end_time=before, limit=500, load_input=False, load_output=False
            )
            if not found:
                break
            self._client.delete_workflows([each.workflow_id for each in found])
            count += len(found)
        return count

    async def _apart(self, call: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def close(self) -> None:
        """Close the connections."""
        self._threads.shutdown(wait=True)
        self._client.destroy()
        self._engine.dispose()


def _instant(milliseconds: Any) -> datetime | None:
    return datetime.fromtimestamp(float(milliseconds) / 1000, UTC) if milliseconds is not None else None


def segment_id(execution: str, number: int) -> str:
    """The id of a segment in the queue."""
    return f"{execution}.{number}"
