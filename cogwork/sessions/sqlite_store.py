"""LangGraph's SQLite store in a file that several threads and processes use at once.

LangGraph's own connection waits for nobody, begins transactions that read and then fail to write, commits the half of a batch that
failed, has no async methods, and two processes that make the tables at the same time collide. All of that is mended here; what an
operation means is LangGraph's.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from langgraph.store.base import Op, PutOp, Result
from langgraph.store.sqlite.base import SqliteStore

from cogwork.errors import EngineError
from cogwork.sealing.errors import SealError
from cogwork.sealing.keys import Ring
from cogwork.sealing.standing import of_sqlite
from cogwork.sessions.covering import covered, uncovered

BUSY_SECONDS: Final = 30.0


class SqliteMemoryStore(SqliteStore):
    """The store in the file at ``path``.

    Raises:
        EngineError: ``database_error``; the file cannot be used.
    """

    def __init__(self, path: Path, *, synchronous: str = "FULL", ring: Ring | None = None) -> None:
        self.path = path
        try:
            connection = _connected(path, synchronous)
        except (OSError, sqlite3.Error) as err:
            raise self._failed(err) from err
        super().__init__(connection)
        self._writing = False
        self._gate = threading.RLock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cogwork-memory")
        try:
            self._prepare()
            self.seals = of_sqlite(connection, ring or Ring(), f"the memory {path}")
        except sqlite3.Error as err:
            connection.close()
            raise self._failed(err) from err
        except SealError as err:
            connection.close()
            raise EngineError("database_error", str(err), database=str(path)) from err

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do them all in one transaction, or none of them.

        Raises:
            EngineError: ``database_error``.
        """
        given = covered(self.seals, ops)
        with self._gate:
            self._writing = any(isinstance(op, PutOp) for op in given)
            try:
                return uncovered(self.seals, super().batch(given))
            except sqlite3.Error as err:
                raise self._failed(err) from err

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """``batch``, on the store's own thread."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, self.batch, list(ops))

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
        """Make LangGraph's tables within one transaction; LangGraph's way commits after each statement."""
        self.conn.execute("BEGIN IMMEDIATE")
        try:
            self.conn.execute("CREATE TABLE IF NOT EXISTS store_migrations (v INTEGER PRIMARY KEY)")
            last = self.conn.execute("SELECT max(v) FROM store_migrations").fetchone()[0]
            for version, statement in enumerate(self.MIGRATIONS):
                if last is None or version > last:
                    self.conn.execute(statement)
                    self.conn.execute("INSERT INTO store_migrations (v) VALUES (?)", (version,))
            self.conn.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self.conn.execute("ROLLBACK")
            raise
        self.is_setup = True

    def _failed(self, error: Exception) -> EngineError:
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        return EngineError(
            "database_error", f"The memory in {self.path} cannot be used: {said}", database=str(self.path)
        )


def _connected(path: Path, synchronous: str) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
