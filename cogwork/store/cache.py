"""The cache of results that workflows may reuse: LangGraph's, in a SQLite file that only its owner may read."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from langgraph.cache.sqlite import SqliteCache

from cogwork.store.errors import StoreError
from cogwork.store.outlines import strict_serde


def opened_cache(path: Path) -> SqliteCache[Any]:
    """The cache in the file, created with its folder where it is not there; plain data only is read from it.

    Raises:
        StoreError: the file cannot be used.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        return SqliteCache(path=str(path), serde=strict_serde())
    except (OSError, sqlite3.Error) as err:
        raise StoreError(f"The cache {path} cannot be used: {err}. Remove it, or name another state_dir") from err
