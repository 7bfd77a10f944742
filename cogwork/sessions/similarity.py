"""How like a question an entry of memory is: by its words (BM25), by its meaning, by both."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from typing import Final, TypeVar

from cogwork.sessions.entries import Entry

K = TypeVar("K", bound=Hashable)
WORDS: Final = 0.2
"""How much words count beside meaning, as in the search for tools."""
WORDS_ALONE: Final = 0.5
"""How much they count for an entry that has no vector, among others that have one."""


def similarity(words: float, meaning: float | None, *, compared: bool) -> float:
    """From 0 to 1. ``words`` is the share of the best entry's, ``meaning`` the cosine, None where the entry has no vector;
    ``compared`` says that others have one."""
    if meaning is None:
        return WORDS_ALONE * words if compared else words
    return WORDS * words + (1 - WORDS) * max(0.0, meaning)


async def shares(query: str, entries: Mapping[K, Entry]) -> dict[K, float]:
    """By words, off the event loop: the score of each entry as a share of the best one's; none for entries without a word of it."""
    if not query.strip() or not entries:
        return {}
    return await asyncio.to_thread(_shares, query, entries)


def _shares(query: str, entries: Mapping[K, Entry]) -> dict[K, float]:
    from cogwork.tools.index.lexical import Lexical
    from cogwork.tools.index.wording import Wording

    by_name = {str(number): key for number, key in enumerate(entries)}
    index = Lexical()
    index.change(
        (), {name: Wording(" ".join(entries[key].tags), entries[key].content, "") for name, key in by_name.items()}
    )
    scores = index.scores(query)
    best = max(scores.values(), default=0.0)
    return {by_name[name]: found / best for name, found in scores.items()} if best > 0 else {}
