"""LangGraph's ``Store`` for memory: on SQLite or PostgreSQL, for any thread, event loop and process at once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import SecretStr

from cogwork.errors import EngineError
from cogwork.sealing.keys import Ring
from cogwork.sealing.seals import Seals

if TYPE_CHECKING:
    from langgraph.store.base import Op, Result


class MemoryStore(Protocol):
    """A ``Store`` of LangGraph that may be used by any thread and event loop, and is closed by its owner."""

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do them all in one transaction, or none of them."""

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """``batch``, off the event loop."""

    @property
    def seals(self) -> Seals:
        """What its values are sealed with."""

    def close(self) -> None:
        """Close the connections."""


def memory_store(
    path: str | os.PathLike[str],
    url: str | SecretStr | None = None,
    *,
    synchronous: Literal["FULL", "NORMAL"] = "FULL",
    ring: Ring | None = None,
) -> MemoryStore:
    """The store in the PostgreSQL database at ``url``, or without one in the SQLite file at ``path``; made where it is missing.
    What it holds is sealed with the keys of the ring.

    Raises:
        EngineError: ``database_error``; it cannot be used, or is sealed with another key.
    """
    if url is None:
        from cogwork.sessions.sqlite_store import SqliteMemoryStore

        return SqliteMemoryStore(Path(path), synchronous=synchronous, ring=ring)
    try:
        from cogwork.sessions.postgres_store import PostgresMemoryStore
    except ImportError as err:
        message = f"database_url is set, but {err.name or 'psycopg'} is missing: install cogwork[postgres]"
        raise EngineError("database_error", message) from err
    return PostgresMemoryStore(url if isinstance(url, SecretStr) else SecretStr(url), ring=ring)
