"""Two rankings as one: by words, and by meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

WORDS: Final = 0.2
"""How much words count beside meaning; chosen on one half of public queries and reported on the other, for two models."""


def fused(by_words: Mapping[str, float], by_meaning: Mapping[str, float], *, weight: float = WORDS) -> dict[str, float]:
    """One score from 0 to 1 per tool of ``by_meaning``, or of ``by_words`` where nothing is known of meanings.

    Scores by words count as the share of the best one, since 0 has a meaning there: no word in common. Likenesses are
    stretched over the whole range from the least to the best, since models use different parts of it.
    """
    best = max(by_words.values(), default=0.0)
    shares = {name: score / best for name, score in by_words.items()} if best > 0 else {}
    if not by_meaning:
        return shares
    least, most = min(by_meaning.values()), max(by_meaning.values())
    spread = most - least
    stretched = {name: (like - least) / spread if spread > 0 else 1.0 for name, like in by_meaning.items()}
    if not shares:
        return stretched
    return {name: weight * shares.get(name, 0.0) + (1 - weight) * like for name, like in stretched.items()}
