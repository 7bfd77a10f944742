"""The one place that knows WordLlama: a small embedding model whose weights come with its package; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import wordllama  # type: ignore[import-untyped, import-not-found, unused-ignore]
from langchain_core.embeddings import Embeddings

_MODEL: Final = "l2_supercat"
_DIMENSIONS: Final = 256
_PACKAGE: Final = Path(wordllama.__file__).parent
"""Given as the folder of kept downloads, as the package looks for its own tokenizer in a folder that it does not have."""


class LocalEmbeddings(Embeddings):
    """Vectors of texts, on this machine: the mean of trained word vectors, so the order of words does not count."""

    model = f"wordllama/{_MODEL}/{_DIMENSIONS}"

    def __init__(self) -> None:
        self._words: Any = wordllama.WordLlama.load(_MODEL, _PACKAGE, dim=_DIMENSIONS, disable_download=True)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector per text, of length 1."""
        return self._words.embed(texts, norm=True).tolist() if texts else []

    def embed_query(self, text: str) -> list[float]:
        """The vector of one text, of length 1."""
        return self.embed_documents([text])[0]
