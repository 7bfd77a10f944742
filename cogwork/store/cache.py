"""The cache of results that workflows may reuse: LangGraph's, in a SQLite file that only its owner may read, and sealed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langgraph.cache.base import FullKey
from langgraph.cache.sqlite import SqliteCache

from cogwork.sealing.keys import Ring
from cogwork.sealing.seals import Seals
from cogwork.sealing.standing import of_sqlite
from cogwork.store.errors import StoreError
from cogwork.store.outlines import SealingSerializer


class SealedCache(SqliteCache[Any]):
    """LangGraph's cache with sealed values, under keys that only its holder can compute from what was asked."""

    def __init__(self, path: Path, ring: Ring) -> None:
        super().__init__(path=str(path))
        self.seals = of_sqlite(self._conn, ring, f"the cache {path}")
        self.serde = SealingSerializer(self.seals)

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """The cached values for the keys that have any."""
        asked = {_named(self.seals, key): key for key in keys}
        return {asked[name]: value for name, value in super().get([*asked]).items()}

    def set(self, mapping: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """Keep values, each with its seconds."""
        super().set({_named(self.seals, key): value for key, value in mapping.items()})


def _named(seals: Seals, key: FullKey) -> FullKey:
    return (key[0], seals.name(key[1].encode())) if seals.on else key


def opened_cache(path: Path, ring: Ring | None = None) -> SqliteCache[Any]:
    """The cache in the file, created with its folder where it is not there; plain data only is read from it.

    Raises:
        StoreError: the file cannot be used, or is sealed with another key.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        return SealedCache(path, ring or Ring())
    except (OSError, sqlite3.Error) as err:
        raise StoreError(f"The cache {path} cannot be used: {err}. Remove it, or name another state_dir") from err
