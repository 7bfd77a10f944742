"""Tools found by what they mean: vectors of an embedding model, computed once per text and kept on disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from cogwork.tools.index.wording import Wording, asked

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

Vector: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
BATCH: Final = 256
"""Texts per request to the model."""


class UnfitVectors(ValueError):
    """The model's answer is no vectors, or not of one length."""


class Meaning:
    """The vectors of tools, by name; not for several threads at once. ``cache`` is None where nothing is kept."""

    def __init__(self, model: Embeddings, cache: VectorCache | None = None) -> None:
        self._model, self._cache = model, cache
        self._vectors: dict[str, Vector] = {}
        self._names: list[str] = []
        self._matrix: Vector | None = None

    def change(self, gone: Iterable[str], come: Mapping[str, Wording]) -> None:
        """Forget those tools, then take up these; nothing changes where the model fails."""
        made = dict(zip(come, self._embedded([text.meaning for text in come.values()]), strict=True))
        kept = {name: vector for name, vector in self._vectors.items() if name not in set(gone)} | made
        if len({vector.shape for vector in kept.values()}) > 1:
            raise UnfitVectors("The model's vectors are not of one length")
        self._vectors, self._names = kept, list(kept)
        self._matrix = np.stack(list(kept.values())) if kept else None

    def scores(self, query: str) -> dict[str, float]:
        """The likeness (cosine) of every tool to the query."""
        if self._matrix is None:
            return {}
        vector = _unit(self._model.embed_query(asked(query)))
        if vector.shape != self._matrix.shape[1:]:
            raise UnfitVectors("The model's vectors are not of one length")
        return dict(zip(self._names, (self._matrix @ vector).tolist(), strict=True))

    def _embedded(self, texts: Sequence[str]) -> list[Vector]:
        known = self._cache.found(texts) if self._cache is not None else {}
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            answered = self._model.embed_documents(batch)
            if len(answered) != len(batch):
                raise UnfitVectors(f"The model gave {len(answered)} vectors for {len(batch)} texts")
            fresh = {text: _unit(vector) for text, vector in zip(batch, answered, strict=True)}
            if self._cache is not None:
                self._cache.keep(fresh)
            known |= fresh
        return [known[text] for text in texts]


class VectorCache:
    """Vectors in an SQLite file, by the digest of model and text; a file that cannot be used is as good as none."""

    def __init__(self, path: Path, model: str) -> None:
        self._path, self._model = path, model

    def found(self, texts: Iterable[str]) -> dict[str, Vector]:
        """The kept vectors of these texts."""
        keys = {self._key(text): text for text in texts}
        found: dict[str, Vector] = {}
        try:
            with closing(self._opened()) as database:
                for key, text in keys.items():
                    row = database.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
                    if row is not None and len(row[0]) % 4 == 0 and row[0]:
                        found[text] = np.frombuffer(row[0], dtype="<f4")
        except (sqlite3.Error, OSError):
            return {}
        return found

    def keep(self, vectors: Mapping[str, Vector]) -> None:
        """Keep these vectors, by text."""
        rows = [(self._key(text), vector.astype("<f4").tobytes()) for text, vector in vectors.items()]
        try:
            with closing(self._opened()) as database, database:
                database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
        except (sqlite3.Error, OSError):
            return

    def _key(self, text: str) -> str:
        return sha256(f"{self._model}\0{text}".encode()).hexdigest()

    def _opened(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self._path, timeout=5)
        try:
            database.execute(
                "CREATE TABLE IF NOT EXISTS vectors (key TEXT PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID"
            )
        except sqlite3.Error:
            database.close()
            raise
        return database


def _unit(vector: Sequence[float]) -> Vector:
    """The vector at length 1, so that a product is a cosine."""
    made = np.asarray(vector, dtype=np.float32)
    if made.ndim != 1 or not made.size or not np.isfinite(made).all():
        raise UnfitVectors("The model gave something that is no vector")
    return made / max(float(np.linalg.norm(made)), 1e-12)
