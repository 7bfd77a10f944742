"""LangGraph's ``Store`` for memory: on SQLite or PostgreSQL, for any thread, event loop and process at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from pydantic import SecretStr

from cogwork.errors import EngineError

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langgraph.store.base import Op, Result

EMBEDDED: Final = "content"
"""The field of an entry whose meaning is looked for."""


class MemoryStore(Protocol):
    """A ``Store`` of LangGraph that may be used by any thread and event loop, and is closed by its owner.

    ``meaning`` says whether it finds entries by what they mean, and ``trouble`` why it does not although it should.
    """

    meaning: bool
    trouble: str

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do them all, in one transaction where the database has them."""

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """``batch``, off the event loop."""

    def reindex(self) -> int:
        """Embed every entry anew, by the model of now; how many."""

    def close(self) -> None:
        """Close the connections."""


def memory_store(
    path: str | os.PathLike[str],
    url: str | SecretStr | None = None,
    *,
    embeddings: Embeddings | None = None,
    synchronous: Literal["FULL", "NORMAL"] = "FULL",
) -> MemoryStore:
    """The store in the PostgreSQL database at ``url``, or without one in the SQLite file at ``path``; made where it is missing.

    With ``embeddings`` entries are found by what they mean too, on PostgreSQL where it has the extension ``vector``.

    Raises:
        EngineError: ``database_error``; it cannot be used.
    """
    if url is None:
        from cogwork.sessions.sqlite_store import SqliteMemoryStore

        return SqliteMemoryStore(Path(path), embeddings=embeddings, synchronous=synchronous)
    try:
        from cogwork.sessions.postgres_store import PostgresMemoryStore
    except ImportError as err:
        message = f"database_url is set, but {err.name or 'psycopg'} is missing: install cogwork[postgres]"
        raise EngineError("database_error", message) from err
    return PostgresMemoryStore(url if isinstance(url, SecretStr) else SecretStr(url), embeddings=embeddings)


class Ahead:
    """A model's vectors, asked for before a transaction begins: a model may take seconds, and nobody is to wait for it there."""

    def __init__(self, model: Embeddings) -> None:
        self._model, self._here = model, threading.local()

    @contextmanager
    def of(self, ops: Sequence[Op]) -> Iterator[None]:
        """Within the block, this thread has the vectors that the operations need."""
        from langgraph.store.base import PutOp, SearchOp

        texts = [op.query for op in ops if isinstance(op, SearchOp) and op.query]
        stored = [op.value for op in ops if isinstance(op, PutOp) and op.index is not False and op.value is not None]
        wanted = list(dict.fromkeys([*texts, *(str(value[EMBEDDED]) for value in stored if EMBEDDED in value)]))
        self._here.ready = dict(zip(wanted, self._model.embed_documents(wanted), strict=True)) if wanted else {}
        try:
            yield
        finally:
            self._here.ready = {}

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        """The vectors of the texts, for LangGraph."""
        ready: dict[str, list[float]] = getattr(self._here, "ready", {})
        if missing := [text for text in texts if text not in ready]:
            ready = ready | dict(zip(missing, self._model.embed_documents(missing), strict=True))
        return [ready[text] for text in texts]


def name_of(embeddings: Embeddings) -> str:
    """What the model of the vectors is called, so that vectors of two models are never compared."""
    model: Any = getattr(embeddings, "model", None)
    return str(model) if isinstance(model, str) and model else type(embeddings).__qualname__


def changed(known: str, wanted: str) -> str:
    """Why the vectors that are there cannot be used."""
    return f"its vectors are of the model {known!r}, and the settings say {wanted!r}: cogwork memory reindex makes them anew"
