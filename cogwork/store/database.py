"""One SQLite file and the connection that all threads of the process share."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from cogwork.store.errors import StoreError, Torn

BUSY_SECONDS: Final = 30.0
"""How long a write waits for another process that holds the file."""
ASKED_AT_ONCE: Final = 500
TABLES: Final = {
    "blobs": "thread_id TEXT NOT NULL, hash BLOB NOT NULL, data BLOB NOT NULL, PRIMARY KEY (thread_id, hash)",
    "calls": "thread_id TEXT NOT NULL, key TEXT NOT NULL, run TEXT NOT NULL, record BLOB NOT NULL,"
    " PRIMARY KEY (thread_id, key)",
    "requests": "thread_id TEXT PRIMARY KEY, id TEXT NOT NULL, kind TEXT NOT NULL, record TEXT NOT NULL",
}
"""What stands in the file beside LangGraph's own tables."""
COLUMNS: Final = {
    "checkpoints": "thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata",
    "writes": "thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, value",
    "blobs": "thread_id, hash, data",
    "calls": "thread_id, key, run, record",
    "requests": "thread_id, id, kind, record",
}
"""Tables of these names without these columns are somebody else's."""


class Database:
    """The connection, and its transactions: those within another on the same thread belong to it.

    Args:
        path: the file, of mode 0600; created, with its folder, if it is not there.
        synchronous: SQLite's setting of this name.

    Raises:
        StoreError: the file cannot be opened, or is no SQLite database.
    """

    def __init__(self, path: Path, synchronous: str) -> None:
        self.path = path
        self.connection = connected(path, synchronous)
        self.lock = threading.Lock()
        self.on_failure: Callable[[], None] = lambda: None
        """What to do when a transaction was undone."""
        self._inside: int | None = None

    def prepare(self) -> None:
        """Make our tables, and see whether all are ours.

        Raises:
            StoreError: they are not.
        """
        try:
            for table, columns in TABLES.items():
                self.connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
            for table, names in COLUMNS.items():
                self.connection.execute(f"SELECT {names} FROM {table} LIMIT 0")
        except sqlite3.DatabaseError as err:
            self.connection.close()
            raise unusable(self.path, err) from err

    @contextmanager
    def transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Cursor]:
        """A cursor; what it wrote is on disk when the outermost block ends, or none of it when that fails.

        Raises:
            StoreError: SQLite failed.
        """
        if self._inside == threading.get_ident():
            with closing(self.connection.cursor()) as cursor:
                yield cursor
            return
        with self._naming(), self.lock, closing(self.connection.cursor()) as cursor:
            cursor.execute(begin)
            self._inside = threading.get_ident()
            try:
                yield cursor
                self.connection.commit()
            except BaseException:
                self._undo()
                raise
            finally:
                self._inside = None

    def reading(self) -> AbstractContextManager[sqlite3.Cursor]:
        """A cursor that sees one state of the file, whatever others write meanwhile."""
        return self.transaction("BEGIN")

    def pieces(self, thread: str, hashes: Collection[bytes]) -> Mapping[bytes, bytes]:
        """The stored pieces of a thread with these hashes."""
        wanted = list(hashes)
        found: dict[bytes, bytes] = {}
        with self.reading() as cursor:
            for start in range(0, len(wanted), ASKED_AT_ONCE):
                some = wanted[start : start + ASKED_AT_ONCE]
                marks = ",".join("?" * len(some))
                cursor.execute(
                    f"SELECT hash, data FROM blobs WHERE thread_id = ? AND hash IN ({marks})", (thread, *some)
                )
                found.update(cursor.fetchall())
        return found

    def keep_pieces(self, thread: str, pieces: Mapping[bytes, bytes]) -> None:
        """Write the pieces that are not there yet."""
        if pieces:
            rows = [(thread, name, data) for name, data in pieces.items()]
            with self.transaction() as cursor:
                cursor.executemany("INSERT OR IGNORE INTO blobs (thread_id, hash, data) VALUES (?, ?, ?)", rows)

    @contextmanager
    def naming(self, thread: str) -> Iterator[None]:
        """Say of which thread and file a torn piece speaks."""
        try:
            yield
        except Torn as err:
            raise StoreError(
                f"The checkpoint of thread {thread!r} in {self.path} cannot be used: {err}. "
                "Restore the file from a copy, or delete the thread"
            ) from err

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            self.connection.close()

    def _undo(self) -> None:
        with suppress(sqlite3.Error):
            self.connection.rollback()
        self.on_failure()

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as err:
            raise failed(self.path, err) from err


def connected(path: Path, synchronous: str = "FULL") -> sqlite3.Connection:
    """A connection to the file, which is created if it is not there.

    Raises:
        StoreError: the file cannot be opened, or is no SQLite database.
    """
    try:
        _make(path)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except (sqlite3.DatabaseError, OSError) as err:
        raise unusable(path, err) from err
    return connection


def removed(cursor: sqlite3.Cursor) -> None:
    """Tell all who use the file that pieces may be gone: what they remember to have written may not be there."""
    cursor.execute(f"PRAGMA user_version = {(removals(cursor) + 1) % (1 << 31)}")


def removals(cursor: sqlite3.Cursor) -> int:
    """A number that changes whenever pieces may have been removed."""
    return int(cursor.execute("PRAGMA user_version").fetchone()[0])


def _make(path: Path) -> None:
    """Make the file where it is not there, for its owner alone.

    One that is there is never opened here: to close it again would end the locks that other connections of this process
    have on it (POSIX), and another process would take the file for unused, and remove its journal.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    if not os.access(path, os.W_OK):
        raise OSError("it may only be read")
    os.chmod(path, 0o600)


def unusable(path: Path, error: Exception) -> StoreError:
    """The file cannot be opened."""
    return StoreError(f"The checkpoint file {path} cannot be used: {error}. Name another one, or move it away.")


def failed(path: Path, error: Exception) -> StoreError:
    """The file was opened, and fails now."""
    return StoreError(
        f"The checkpoint file {path} failed: {error}. What it holds is not lost: mend that, then resume the run"
    )
