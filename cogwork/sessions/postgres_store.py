"""LangGraph's PostgreSQL store over a pool whose connections may break, its tables made by one process at a time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import psycopg
from langgraph.store.base import Op, Result
from langgraph.store.postgres.base import PostgresIndexConfig, PostgresStore
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from cogwork.errors import EngineError
from cogwork.sessions.store import EMBEDDED, Ahead, changed, name_of
from cogwork.store.postgres_database import COLLIDED, DEFAULTS, PAUSE_SECONDS, _where, away

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

T = TypeVar("T")
CONNECTIONS: Final = 4
PATIENCE_SECONDS: Final = 30.0
_LOCK: Final = 0x0C09_0002
_FACTS: Final = "cogwork_memory_facts"


class PostgresMemoryStore(PostgresStore):
    """The store in the database at ``url``. Calls are repeated while the server is away, for half a minute.

    Without the extension ``vector`` in the database, entries are found by words alone, and ``trouble`` says so.

    Raises:
        EngineError: ``database_error``; the address is none, or the database cannot be used.
    """

    def __init__(self, url: SecretStr, *, embeddings: Embeddings | None = None) -> None:
        self.where, options = _address(url)
        self._closing = threading.Event()
        self.trouble = ""
        self.meaning = False
        self._ahead = Ahead(embeddings) if embeddings is not None else None
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
            with Connection.connect(url.get_secret_value(), **options) as connection:
                index = self._index(cast("Connection[DictRow]", connection), embeddings)
                PostgresStore(cast("Connection[DictRow]", connection), index=index).setup()
                if embeddings is not None and index is not None:
                    self._compare(cast("Connection[DictRow]", connection), name_of(embeddings))
                connection.execute("select pg_advisory_unlock(%s)", (_LOCK,))
        except psycopg.Error as err:
            raise self._failed(err) from err
        self.pool.open()
        super().__init__(self.pool, index=index)
        self._workers = ThreadPoolExecutor(max_workers=CONNECTIONS, thread_name_prefix="cogwork-memory")

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do them all in one transaction, or none of them.

        Raises:
            EngineError: ``database_error``.
        """
        given = list(ops)
        with self._ahead.of(given) if self._ahead is not None and self.meaning else nullcontext():
            return self._surviving(lambda: super(PostgresMemoryStore, self).batch(given))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """``batch``, on a thread of the store."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, self.batch, list(ops))

    def reindex(self) -> int:
        """Refused: the vectors of PostgreSQL have one length for good.

        Raises:
            EngineError: ``invalid_input``.
        """
        raise EngineError(
            "invalid_input",
            "On PostgreSQL vectors are not made anew: drop the tables store_vectors, vector_migrations and "
            f"{_FACTS}, and add the memories again",
        )

    def close(self) -> None:
        """Close the connections; calls that wait for the server give up."""
        self._closing.set()
        self._workers.shutdown(wait=True)
        self.pool.close()

    def _index(self, connection: Connection[DictRow], embeddings: Embeddings | None) -> PostgresIndexConfig | None:
        """What to embed with, where the database has vectors; takes the lock under which tables are made.

        Two processes that wait for the lock within a statement would hold up the index that a third one makes.
        """
        end = time.monotonic() + PATIENCE_SECONDS
        while not _one(connection, f"select pg_try_advisory_lock({_LOCK}) as got")["got"]:
            if time.monotonic() > end:
                raise EngineError("database_error", f"Another process has been preparing {self.where} for too long")
            self._closing.wait(PAUSE_SECONDS)
        if embeddings is None or self._ahead is None:
            return None
        has = _one(connection, "select count(*) as n from pg_available_extensions where name = 'vector'")
        if not has["n"]:
            self.trouble = f"{self.where} has no extension vector (pgvector)"
            return None
        self.meaning = True
        dims = len(embeddings.embed_query("How long is a vector?"))
        return PostgresIndexConfig(dims=dims, embed=self._ahead, fields=[EMBEDDED])

    def _compare(self, connection: Connection[DictRow], name: str) -> None:
        connection.execute(f"create table if not exists {_FACTS} (name text primary key, value text not null)")
        connection.execute(f"insert into {_FACTS} values ('embeddings', %s) on conflict do nothing", (name,))
        known = _one(connection, f"select value from {_FACTS} where name = 'embeddings'")["value"]
        if known != name:
            self.meaning, self.trouble = False, changed(str(known), name)

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
    return _where(given), {**own, **defaults, "application_name": "cogwork memory"}


def _one(connection: Connection[DictRow], query: str) -> DictRow:
    row = connection.execute(query).fetchone()  # type: ignore[call-overload, unused-ignore]
    assert row is not None, "an aggregate always gives a row"
    return row
