"""The database of the records: opened, brought to the schema of this code, and called from any thread or event loop."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

from cogwork.errors import EngineError
from cogwork.records.grouped import Grouped, database_error
from cogwork.sealing.keys import Ring
from cogwork.sealing.seals import Seals

T = TypeVar("T")
Dialect = Literal["sqlite", "postgresql"]

BUSY_SECONDS: Final = 30.0
"""How long a write waits for another process that holds the SQLite file."""
READERS: Final = 4
PAUSE_SECONDS: Final = 0.1
PATIENCE_SECONDS: Final = 30.0
_WRITES: Final = "cogwork_writes"


class Records:
    """The database of the records, on SQLite or PostgreSQL; open it with ``opened``, close it when done.

    ``reading`` and ``writing`` are the doors for coroutines, ``read`` and ``write`` for everybody else. A write is one
    transaction. Both are repeated while a server is away, for ``patience`` seconds, so what they are given must bear it.
    """

    def __init__(
        self, engine: sa.Engine, where: str, *, patience: float = PATIENCE_SECONDS, created: bool = False
    ) -> None:
        self.engine, self.where, self.created = engine, where, created
        self._patience = patience
        # On PostgreSQL every statement sees what is committed by then anyway; BEGIN and ROLLBACK would be two more ways.
        alone = {"isolation_level": "AUTOCOMMIT"} if self.dialect == "postgresql" else {}
        self._reading = engine.execution_options(**alone)
        self._closing = threading.Event()
        writers = 1 if self.dialect == "sqlite" else READERS
        self._writers = ThreadPoolExecutor(max_workers=writers, thread_name_prefix="cogwork-records-write")
        self._grouped = Grouped(self) if self.dialect == "sqlite" else None
        self._readers = ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="cogwork-records-read")

    @property
    def seals(self) -> Seals:
        """What is kept is sealed with."""
        from cogwork.records.columns import seals_of

        return seals_of(self.engine.dialect)

    @property
    def dialect(self) -> Dialect:
        """Which database it is."""
        return "sqlite" if self.engine.dialect.name == "sqlite" else "postgresql"

    # -- transactions ----------------------------------------------------------------------------------------

    def read(self, call: Callable[[Connection], T], *, whole: bool = False) -> T:
        """What ``call`` finds; with ``whole`` its statements stand in one transaction on PostgreSQL too.

        Raises:
            EngineError: ``database_error``.
        """

        def attempt() -> T:
            with (self.engine if whole else self._reading).connect() as connection:
                return call(connection)

        return self._surviving(attempt)

    def write(self, call: Callable[[Connection], T]) -> T:
        """What ``call`` returns, once all it wrote is committed.

        Raises:
            EngineError: ``database_error``; nothing was written.
        """

        def attempt() -> T:
            with self.engine.connect().execution_options(**{_WRITES: True}) as connection, connection.begin():
                return call(connection)

        return self._surviving(attempt)

    async def reading(self, call: Callable[[Connection], T], *, whole: bool = False) -> T:
        """``read``, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, partial(self.read, call, whole=whole))

    async def writing(self, call: Callable[[Connection], T]) -> T:
        """``write``, off the event loop; on SQLite those that wait beside each other share a transaction and its fsync."""
        if self._grouped is not None:
            return await asyncio.wrap_future(self._grouped.put(call, self._writers))
        return await asyncio.get_running_loop().run_in_executor(self._writers, self.write, call)

    def _surviving(self, attempt: Callable[[], T]) -> T:
        end = time.monotonic() + self._patience
        while True:
            try:
                return attempt()
            except SQLAlchemyError as err:
                if isinstance(err, StatementError) and isinstance(err.orig, EngineError):
                    raise err.orig from None
                if not _away(err) or time.monotonic() > end or self._closing.is_set():
                    raise database_error(self.where, err) from err
            self._closing.wait(PAUSE_SECONDS)

    def close(self) -> None:
        """Finish what is being written and close the connections."""
        self._closing.set()
        self._writers.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        self.engine.dispose()

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def opened(
    path: str | os.PathLike[str],
    url: str | SecretStr | None = None,
    *,
    synchronous: Literal["FULL", "NORMAL"] = "FULL",
    connections: int = 8,
    patience: float = PATIENCE_SECONDS,
    compression_above: int | None = None,
    max_payload_bytes: int | None = None,
    ring: Ring | None = None,
) -> Records:
    """The records in the PostgreSQL database at ``url``, or without one in the SQLite file at ``path``, with the schema of
    this code: a database that is missing or old is brought to it. What it holds is sealed with the keys of the ring.

    Raises:
        EngineError: ``database_error``; it cannot be reached, is full or foreign, was made by a newer cogwork, or is sealed with
            a key that the ring does not have.
    """
    from cogwork.records.columns import seal_with
    from cogwork.records.fitting import hold_to_columns
    from cogwork.records.payloads import COMPRESSION, LIMIT
    from cogwork.records.schema import bring_up
    from cogwork.records.sealing import seals_of_records

    if url is not None:
        secret = url.get_secret_value() if isinstance(url, SecretStr) else url
        engine, where = _postgres(secret, connections)
    else:
        engine, where = _sqlite(Path(path), synchronous), str(path)
    hold_to_columns(engine)
    bounds = {COMPRESSION: compression_above, LIMIT: max_payload_bytes}
    engine.update_execution_options(**{name: bound for name, bound in bounds.items() if bound is not None})
    try:
        created = bring_up(engine, where)
        seal_with(engine.dialect, seals_of_records(engine, where, ring or Ring()))
    except BaseException:
        engine.dispose()
        raise
    return Records(engine, where, patience=patience, created=created)


def _sqlite(path: Path, synchronous: str) -> sa.Engine:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as err:
        raise EngineError("database_error", f"Cannot use {path}: {err.strerror or err}", path=str(path)) from err

    def connect() -> sqlite3.Connection:
        made = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _log_ahead(made)
            made.execute(f"PRAGMA synchronous={synchronous}")
            made.execute("PRAGMA temp_store=MEMORY")
        except sqlite3.Error:
            made.close()
            raise
        return made

    engine = sa.create_engine(
        "sqlite://", creator=connect, poolclass=sa.QueuePool, pool_size=READERS + 1, max_overflow=READERS
    )

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads and later writes would fail where another one has written meanwhile.
        if connection.get_execution_options().get(_WRITES):
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:  # This touches nothing yet and cannot fail; past SQLAlchemy it takes a tenth of the time.
            plain: Any = connection.connection.driver_connection
            plain.execute("BEGIN")

    return engine


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Let the file have a write-ahead log; SQLite does not wait where another process does the same to a new file."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as err:
            if err.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.02)


def _postgres(url: str, connections: int) -> tuple[sa.Engine, str]:
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        from cogwork.store.postgres_database import DEFAULTS, where_of
    except ImportError as err:
        message = f"database_url is set, but {err.name or 'psycopg'} is missing: install cogwork[postgres]"
        raise EngineError("database_error", message) from err
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:
        message = (
            "The setting database_url is no address of PostgreSQL: write postgresql://user:password@host:5432/database"
        )
        raise EngineError("database_error", message) from None
    defaults: dict[str, Any] = {key: value for key, value in DEFAULTS.items() if key not in given}

    def connect() -> Any:
        return psycopg.connect(url, **defaults, application_name="cogwork records")

    engine = sa.create_engine(
        "postgresql+psycopg://",
        creator=connect,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=PATIENCE_SECONDS,
    )
    return engine, where_of(given)


def _away(error: SQLAlchemyError) -> bool:
    """Whether the server may be back in a moment."""
    if not isinstance(error, DBAPIError) or isinstance(error.orig, sqlite3.Error):
        return False
    import psycopg

    from cogwork.store.postgres_database import COLLIDED, away

    return isinstance(error.orig, psycopg.Error) and (isinstance(error.orig, COLLIDED) or away(error.orig))
