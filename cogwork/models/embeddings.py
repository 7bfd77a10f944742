"""Embedding models by the name that the settings give."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from cogwork.models.provider import Provider

LOCAL = "local"


def embeddings(name: str, openai: Provider) -> Embeddings:
    """The embedding model of that name: ``local``, or ``openai:MODEL`` at the provider given.

    Raises:
        ImportError: it is ``local``, and the extra ``cogwork[embeddings]`` is not installed.
        ValueError: there is no such model, or its key is missing.
    """
    if name == LOCAL:
        try:
            from cogwork.models.wordllama import LocalEmbeddings
        except ImportError as error:
            raise ImportError(
                "embeddings = 'local' needs a package more: install cogwork[embeddings]", name=error.name
            ) from error
        return LocalEmbeddings()
    provider, _, model = name.partition(":")
    if provider != "openai" or not model:
        raise ValueError(
            f"There are no embeddings {name!r}: say local, or openai:MODEL such as openai:text-embedding-3-small"
        )
    if not openai.usable:
        raise ValueError(f"The embeddings {name} need a key: set OPENAI_API_KEY")
    from cogwork.models.openai import embedding_model

    return embedding_model(model, openai)
