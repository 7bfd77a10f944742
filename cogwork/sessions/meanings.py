"""What entries of memory mean: a vector of each, kept in the store beside it, so that it goes with the entry.

LangGraph's stores have an index of vectors, where Python's sqlite3 may load extensions or PostgreSQL has pgvector. Neither is
so everywhere, and a place holds few entries: their vectors are compared here.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from cogwork.sessions.entries import Entry, Level, digest
from cogwork.sessions.shelf import VECTORS, Shelf

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.embeddings import Embeddings

    Vector = np.ndarray[Any, np.dtype[np.float32]]

AT_ONCE: Final = 256
"""Entries that are embedded for one search; those beyond are found by their words until the next."""
Key = tuple[Level, str]


class Meanings:
    """The vectors of a shelf's entries by one model; ``trouble`` says why there were none the last time."""

    def __init__(self, shelf: Shelf, model: Embeddings) -> None:
        self._shelf, self._model, self.trouble = shelf, model, ""
        named = getattr(model, "model", None)
        self._name = named if isinstance(named, str) and named else type(model).__qualname__

    async def likes(self, query: str, entries: Sequence[Entry]) -> dict[Key, float]:
        """How near each entry is to the query (cosine); those without a vector are left out, all where the model fails."""
        self.trouble = ""
        known = await self._known(entries)
        missing = [entry for entry in entries if (entry.level, entry.id) not in known][:AT_ONCE]
        try:
            asked, made = await asyncio.to_thread(self._embedded, query, [entry.content for entry in missing])
        except Exception as err:  # the service of a model fails in ways of its own, and words are left
            self.trouble = f"the model of its vectors failed: {' '.join(str(err).split())[:200] or type(err).__name__}"
            return {}
        fresh = {(entry.level, entry.id): vector for entry, vector in zip(missing, made, strict=True)}
        await self._keep(missing, fresh)
        vectors = {key: vector for key, vector in {**known, **fresh}.items() if vector.shape == asked.shape}
        return {key: float(vector @ asked) for key, vector in vectors.items()}

    async def _known(self, entries: Sequence[Entry]) -> dict[Key, Vector]:
        """The vectors that are of this model and of what the entries say now."""
        found: dict[Key, Vector] = {}
        for level in {entry.level for entry in entries}:
            beside = await self._shelf.beside(level, VECTORS)
            for entry in entries:
                value = beside.get(entry.id) if entry.level == level else None
                if value is not None and (vector := self._read(entry, value)) is not None:
                    found[level, entry.id] = vector
        return found

    def _read(self, entry: Entry, value: Mapping[str, Any]) -> Vector | None:
        import numpy as np

        if (value.get("model"), value.get("digest")) != (self._name, digest(entry.content)):
            return None
        try:
            vector = np.frombuffer(base64.b64decode(value["vector"], validate=True), dtype="<f2").astype(np.float32)
        except (KeyError, TypeError, ValueError):
            return None
        return vector if vector.size and bool(np.isfinite(vector).all()) else None

    async def _keep(self, entries: Sequence[Entry], vectors: Mapping[Key, Vector]) -> None:
        for level in {entry.level for entry in entries}:
            values = {
                entry.id: {
                    "model": self._name,
                    "digest": digest(entry.content),
                    "vector": base64.b64encode(vectors[level, entry.id].astype("<f2").tobytes()).decode(),
                }
                for entry in entries
                if entry.level == level
            }
            await self._shelf.put_beside(level, VECTORS, values)

    def _embedded(self, query: str, texts: Sequence[str]) -> tuple[Vector, list[Vector]]:
        """The vectors of the query and of the texts, of length 1."""
        made = self._model.embed_documents(list(texts)) if texts else []
        if len(made) != len(texts):
            raise ValueError(f"it made {len(made)} vectors of {len(texts)} texts")
        return _unit(self._model.embed_query(query)), [_unit(each) for each in made]


def _unit(values: Sequence[float]) -> Vector:
    import numpy as np

    vector = np.asarray(values, dtype=np.float32)
    size = float(np.linalg.norm(vector)) if vector.ndim == 1 else 0.0
    return vector / size if size > 0 else vector
