"""LangGraph's PostgreSQL store over a pool whose connections may break, a batch as one transaction, its tables made once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any, Final, LiteralString, TypeVar, cast

import psycopg
from langgraph.store.base import Op, Result
from langgraph.store.postgres.base import PostgresStore
from psycopg import Connection, Cursor
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from cogwork.errors import EngineError
from cogwork.sealing.errors import SealError
from cogwork.sealing.keys import Ring
from cogwork.sealing.standing import of_postgres
from cogwork.sessions.covering import covered, uncovered
from cogwork.store.postgres_database import COLLIDED, DEFAULTS, PAUSE_SECONDS, away, where_of

T = TypeVar("T")
CONNECTIONS: Final = 4
PATIENCE_SECONDS: Final = 30.0
_LOCK: Final = 0x0C09_0002


class PostgresMemoryStore(PostgresStore):
    """The store in the database at ``url``. Calls are repeated while the server is away, for half a minute.

    Raises:
        EngineError: ``database_error``; the address is none, or the database cannot be used.
    """

    def __init__(self, url: SecretStr, *, ring: Ring | None = None) -> None:
        self.where, options = _address(url)
        self._closing = threading.Event()
        self.pool: ConnectionPool[Connection[DictRow]] = ConnectionPool(
            url.get_secret_value(),
            kwargs=options,
            min_size=1,
            max_size=CONNECTIONS,
            open=False,
            check=ConnectionPool.check_connection,
            timeout=5.0,
            name="cogwork-memory",
        )
        try:
            with Connection.connect(url.get_secret_value(), **options) as made:
                self._prepare(cast("Connection[DictRow]", made))
                self.seals = of_postgres(made, ring or Ring(), self.where)
        except psycopg.Error as err:
            raise self._failed(err) from err
        except SealError as err:
            raise EngineError("database_error", str(err), database=self.where) from err
        self.pool.open()
        super().__init__(self.pool)
        self._workers = ThreadPoolExecutor(max_workers=CONNECTIONS, thread_name_prefix="cogwork-memory")

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do them all in one transaction, or none of them.

        Raises:
            EngineError: ``database_error``.
        """
        given = covered(self.seals, ops)
        found = self._surviving(lambda: super(PostgresMemoryStore, self).batch(given))
        return uncovered(self.seals, found)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """``batch``, on a thread of the store."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, self.batch, list(ops))

    def close(self) -> None:
        """Close the connections; calls that wait for the server give up."""
        self._closing.set()
        self._workers.shutdown(wait=True)
        self.pool.close()

    def _prepare(self, connection: Connection[DictRow]) -> None:
        """Make LangGraph's tables, one process at a time.

        Two processes that wait for the lock within a statement would hold up the index that a third one makes.
        """
        end = time.monotonic() + PATIENCE_SECONDS
        while not _one(connection, "select pg_try_advisory_lock(%s) as got", _LOCK)["got"]:
            if time.monotonic() > end:
                raise EngineError("database_error", f"Another process has been preparing {self.where} for too long")
            self._closing.wait(PAUSE_SECONDS)
        PostgresStore(connection).setup()
        connection.execute("select pg_advisory_unlock(%s)", (_LOCK,))

    @contextmanager
    def _cursor(self, *, pipeline: bool = False) -> Iterator[Cursor[DictRow]]:
        """A cursor within one transaction; LangGraph's own commits what came before a failure."""
        with (
            self.pool.connection() as connection,
            connection.pipeline() if self.supports_pipeline else nullcontext(),
            connection.transaction(),
            connection.cursor(binary=True, row_factory=dict_row) as cursor,
        ):
            yield cursor

    def _surviving(self, call: Callable[[], T]) -> T:
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return call()
            except psycopg.Error as err:
                again = isinstance(err, COLLIDED) or away(err)
                if not again or time.monotonic() > end or self._closing.is_set():
                    raise self._failed(err) from err
            self._closing.wait(PAUSE_SECONDS)

    def _failed(self, error: psycopg.Error) -> EngineError:
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        return EngineError("database_error", f"The memory in {self.where} cannot be used: {said}", database=self.where)


def _address(url: SecretStr) -> tuple[str, dict[str, Any]]:
    try:
        given = conninfo_to_dict(url.get_secret_value())
    except psycopg.Error:
        raise EngineError(
            "database_error",
            "The setting database_url is no address of PostgreSQL: write postgresql://user:password@host:5432/database",
        ) from None
    defaults = {key: value for key, value in DEFAULTS.items() if key not in given}
    own: dict[str, Any] = {"autocommit": True, "prepare_threshold": None, "row_factory": dict_row}
    return where_of(given), {**own, **defaults, "application_name": "cogwork memory"}


def _one(connection: Connection[DictRow], query: LiteralString, value: int) -> DictRow:
    row = connection.execute(query, (value,)).fetchone()
    assert row is not None, "a function always gives a row"
    return row
