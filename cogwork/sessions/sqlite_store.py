"""LangGraph's SQLite store in a file that several threads and processes use at once.

LangGraph's own connection waits for nobody, begins transactions that read and then fail to write, commits the half of a batch that
failed, leaves the vectors of deleted entries behind, has no async methods, and two processes that make the tables at the same
time collide. All of that is mended here; what an operation means is LangGraph's.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlite_vec  # type: ignore[import-untyped]
from langgraph.store.base import Op, PutOp, Result
from langgraph.store.sqlite.base import SqliteIndexConfig, SqliteStore

from cogwork.errors import EngineError
from cogwork.sessions.store import EMBEDDED, Ahead, changed, name_of

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

BUSY_SECONDS: Final = 30.0
_FACTS: Final = "cogwork_memory_facts"


class SqliteMemoryStore(SqliteStore):
    """The store in the file at ``path``.

    Raises:
        EngineError: ``database_error``; the file cannot be used.
    """

    def __init__(self, path: Path, *, embeddings: Embeddings | None = None, synchronous: str = "FULL") -> None:
        self.path, self.trouble = path, ""
        self.meaning = embeddings is not None
        self._name = name_of(embeddings) if embeddings is not None else ""
        try:
            connection = _connected(path, synchronous)
        except (OSError, sqlite3.Error) as err:
            raise self._failed(err) from err
        self._ahead = Ahead(embeddings) if embeddings is not None else None
        index = SqliteIndexConfig(dims=0, embed=self._ahead, fields=[EMBEDDED]) if self._ahead is not None else None
        super().__init__(connection, index=index)
        self._writing = False
        self._gate = threading.RLock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cogwork-memory")
        try:
            self._prepare()
        except sqlite3.Error as err:
            connection.close()
            raise self._failed(err) from err

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do them all in one transaction, or none of them.

        Raises:
            EngineError: ``database_error``.
        """
        given = list(ops)
        with self._ahead.of(given) if self._ahead is not None else nullcontext(), self._gate:
            self._writing = any(isinstance(op, PutOp) for op in given)
            try:
                return super().batch(given)
            except sqlite3.Error as err:
                raise self._failed(err) from err

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """``batch``, on the store's own thread."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, self.batch, list(ops))

    def reindex(self) -> int:
        """Embed every entry anew, by the model of now; how many.

        Raises:
            EngineError: ``invalid_input`` without a model, ``database_error``.
        """
        if self.embeddings is None:
            raise EngineError("invalid_input", "There is no model to embed with: set embeddings in cogwork.toml")
        with self._gate:
            query = f"SELECT prefix, key, json_extract(value, '$.{EMBEDDED}') FROM store"
            rows = [row for row in self.conn.execute(query) if isinstance(row[2], str)]
            vectors = self.embeddings.embed_documents([text for _, _, text in rows]) if rows else []
            made = [
                (prefix, key, EMBEDDED, sqlite_vec.serialize_float32(vector))
                for (prefix, key, _), vector in zip(rows, vectors, strict=True)
            ]
            self._writing = True
            with self._cursor() as cursor:
                cursor.execute("DELETE FROM store_vectors")
                cursor.executemany(
                    "INSERT INTO store_vectors (prefix, key, field_name, embedding) VALUES (?, ?, ?, ?)", made
                )
                cursor.execute(f"INSERT OR REPLACE INTO {_FACTS} VALUES ('embeddings', ?)", (self._name,))
            self.meaning, self.trouble = True, ""
            return len(made)

    def close(self) -> None:
        """Finish what was begun, and close the file."""
        self._worker.shutdown(wait=True)
        with self._gate:
            self.conn.close()

    @contextmanager
    def _cursor(self, *, transaction: bool = True) -> Iterator[sqlite3.Cursor]:
        """A cursor within a transaction, which takes the file at once where it is going to write."""
        with self.lock, closing(self.conn.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE" if self._writing else "BEGIN")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    cursor.execute("ROLLBACK")
                raise

    def setup(self) -> None:
        """Nothing: the tables were made when the store was opened."""

    def _prepare(self) -> None:
        """Make LangGraph's tables, one process at a time, and see whose vectors are there."""
        if self.meaning:
            self.conn.enable_load_extension(True)
            sqlite_vec.load(self.conn)
            self.conn.enable_load_extension(False)
        self.conn.execute("BEGIN IMMEDIATE")
        try:
            _migrated(self.conn, "store_migrations", self.MIGRATIONS)
            _migrated(self.conn, "vector_migrations", self.VECTOR_MIGRATIONS)
            self.conn.execute(f"CREATE TABLE IF NOT EXISTS {_FACTS} (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
            self._compare()
            self.conn.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self.conn.execute("ROLLBACK")
            raise
        self.is_setup = True

    def _compare(self) -> None:
        if not self.meaning:
            return
        known = self.conn.execute(f"SELECT value FROM {_FACTS} WHERE name = 'embeddings'").fetchone()
        kept = self.conn.execute("SELECT count(*) FROM store_vectors").fetchone()[0]
        if known is None or not kept:
            self.conn.execute(f"INSERT OR REPLACE INTO {_FACTS} VALUES ('embeddings', ?)", (self._name,))
        elif known[0] != self._name:
            self.meaning, self.trouble = False, changed(known[0], self._name)

    def _failed(self, error: Exception) -> EngineError:
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        return EngineError(
            "database_error", f"The memory in {self.path} cannot be used: {said}", database=str(self.path)
        )


def _migrated(connection: sqlite3.Connection, table: str, migrations: Iterable[Any]) -> None:
    """Bring the tables up within the caller's transaction; LangGraph's way commits after each statement."""
    connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (v INTEGER PRIMARY KEY)")
    last = connection.execute(f"SELECT max(v) FROM {table}").fetchone()[0]
    for version, statement in enumerate(migrations):
        if last is None or version > last:
            connection.execute(statement)
            connection.execute(f"INSERT INTO {table} (v) VALUES (?)", (version,))


def _connected(path: Path, synchronous: str) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA foreign_keys=ON")  # else the vectors of what was forgotten stay
    except sqlite3.Error:
        connection.close()
        raise
    return connection
