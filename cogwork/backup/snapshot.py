"""SQLite files copied as of one instant, while others write to them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from cogwork.backup.errors import BackupError

PATIENCE_SECONDS: Final = 60.0
BUSY_SECONDS: Final = 5.0
"""How long one file is waited for before all are let go, so that nobody who holds one waits for us for ever."""
PAUSE_SECONDS: Final = 0.05


def copied(files: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Copies of the files in the folder, all of them as they were at one instant; by the file.

    For the moment in which the instant is fixed nobody writes to any of them; while they are copied, everybody may.

    Raises:
        BackupError: one cannot be read, or is written to without a pause.
    """
    made: dict[Path, Path] = {}
    with _instant(files) as readers:
        for number, (file, reader) in enumerate(readers.items()):
            made[file] = folder / f"{number}.sqlite"
            try:
                with closing(sqlite3.connect(made[file])) as target:
                    reader.backup(target)
                    target.execute("PRAGMA journal_mode=DELETE")
            except sqlite3.Error as err:
                raise BackupError(f"{file} cannot be copied: {err}") from err
            sound(made[file], str(file))
    return made


def sound(path: Path, name: str) -> None:
    """See whether SQLite finds a file in order.

    Raises:
        BackupError: it does not.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            said = file.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as err:
        said = str(err)
    if said != "ok":
        raise BackupError(f"{name} is damaged: {said}")


@contextmanager
def _instant(files: Sequence[Path]) -> Iterator[dict[Path, sqlite3.Connection]]:
    """Connections that see the files as they were at one instant."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        with ExitStack() as stack:
            try:
                readers = _read(files, stack)
            except sqlite3.OperationalError as err:
                if "locked" not in str(err) or time.monotonic() > end:
                    raise BackupError(f"The files in {files[0].parent} cannot be read: {err}; try again") from err
            except sqlite3.Error as err:
                raise BackupError(f"The files in {files[0].parent} cannot be read: {err}") from err
            else:
                yield readers
                return
        time.sleep(PAUSE_SECONDS)


def _read(files: Sequence[Path], stack: ExitStack) -> dict[Path, sqlite3.Connection]:
    """With the right to write to all of them in hand, begin to read each: what is read from then on is of that instant."""
    with ExitStack() as holding:
        for file in files:
            holding.enter_context(closing(_connected(file))).execute("BEGIN IMMEDIATE")
        readers: dict[Path, sqlite3.Connection] = {}
        for file in files:
            readers[file] = stack.enter_context(closing(_connected(file)))
            readers[file].execute("BEGIN")
            readers[file].execute("SELECT count(*) FROM sqlite_master").fetchone()
        return readers


def _connected(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
