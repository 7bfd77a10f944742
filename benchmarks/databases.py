"""The databases that benchmarks run on: SQLite in a folder, and a schema of its own on a PostgreSQL server of this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.clusters import schema
from tests.fleet import drop

DATABASES: Final = ("sqlite", "postgresql")


@contextmanager
def database(name: str) -> Iterator[tuple[Path, str]]:
    """An empty folder and the address of the database; the address of SQLite, which is in the folder, is empty.

    Raises:
        LookupError: no server answers.
    """
    with tempfile.TemporaryDirectory() as folder:
        if name == "sqlite":
            yield Path(folder), ""
            return
        with server() as url:
            try:
                yield Path(folder), url
            finally:
                drop(url)


@contextmanager
def server() -> Iterator[str]:
    """A schema on a server of this machine.

    Raises:
        LookupError: none answers.
    """
    import pytest

    made = schema()
    try:
        url = made.__enter__()
    except pytest.skip.Exception as err:
        raise LookupError(f"postgresql was skipped: {err}") from None
    try:
        yield url
    finally:
        made.__exit__(None, None, None)
