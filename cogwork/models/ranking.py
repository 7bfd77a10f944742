"""Which pieces of a text answer a question best, by the words they share: plain arithmetic, the same every time."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, Protocol, TypeVar

from cogwork.models.words import word_set

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_STOP: Final = word_set(
    """
    a about above after again all also am an and any are as at be because been before being below between both but
    by can could did do does doing done down during each every few for from further had has have having he her here
    hers him his how i if in into is it its itself just me more most my no nor not now of off on once only or other
    our out over own per same she should so some such than that the their them then there these they this those
    through to too under until up upon us very was we were what when where which while who whom why will with would
    you your yours please give say tell
    """
)
_K1, _B = 1.2, 0.5


class Piece(Protocol):
    """Something with a text that can be ranked."""

    @property
    def text(self) -> str:
        """What is compared."""


P = TypeVar("P", bound=Piece)


@lru_cache(maxsize=4096)
def terms(text: str) -> tuple[str, ...]:
    """The words that carry meaning, in order: lower case, without endings; the parts of compound names count singly."""
    spaced = _CAMEL.sub(" ", text)
    return tuple(stem(word) for word in (w.lower() for w in _WORD.findall(spaced)) if word not in _STOP)


def stem(word: str) -> str:
    """A crude stem: enough to let ``failed`` meet ``fails`` and ``policies`` meet ``policy``."""
    for ending, instead, least in (
        ("ies", "y", 5),
        ("sses", "ss", 5),
        ("ings", "", 7),
        ("ing", "", 6),
        ("ed", "", 5),
        ("es", "", 5),
        ("'s", "", 3),
        ("s", "", 4),
    ):
        if word.endswith(ending) and len(word) >= least and not word.endswith("ss"):
            word = word[: len(word) - len(ending)] + instead
            break
    return word[:-1] if word.endswith("e") and len(word) > 4 else word


def query(*weighted: tuple[str, float]) -> dict[str, float]:
    """The weights of a question's terms; a term keeps its highest weight."""
    found: dict[str, float] = {}
    for text, weight in weighted:
        for term in terms(text):
            found[term] = max(found.get(term, 0.0), weight)
    return found


class Ranking:
    """Scores pieces against questions; rare words count more."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.documents = [Counter(terms(text)) for text in texts]
        self.held: Counter[str] = Counter(term for document in self.documents for term in document)
        self.total: Counter[str] = Counter()
        for document in self.documents:
            self.total.update(document)
        self.mean = sum(sum(d.values()) for d in self.documents) / max(len(self.documents), 1) or 1.0

    def rarity(self, term: str) -> float:
        """How much meeting that term says."""
        among = len(self.documents)
        return math.log(1 + (among - self.held[term] + 0.5) / (self.held[term] + 0.5))

    def score(self, text: str, wanted: Mapping[str, float]) -> float:
        """How well a text meets the weighted terms; 0 where it meets none."""
        counts = Counter(terms(text))
        length = 1 - _B + _B * sum(counts.values()) / self.mean
        return sum(
            weight * self.rarity(term) * counts[term] * (_K1 + 1) / (counts[term] + _K1 * length)
            for term, weight in wanted.items()
            if counts[term]
        )

    def weight(self, text: str) -> float:
        """How much a text says of what the whole is about, whatever the question: for summaries."""
        counts = Counter(terms(text))
        return sum(math.log(1 + self.total[term]) for term in counts) / math.sqrt(len(counts) + 3)


def overlap(one: str, other: str) -> float:
    """The share of the shorter text's terms that the other has too."""
    a, b = set(terms(one)), set(terms(other))
    return len(a & b) / min(len(a), len(b)) if a and b else 0.0


def distinct(pieces: Sequence[P], limit: int, *, most: float = 0.75) -> list[P]:
    """The first ``limit`` pieces, leaving out those that mostly repeat one already taken."""
    taken: list[P] = []
    for piece in pieces:
        if len(taken) >= limit:
            break
        if all(overlap(piece.text, other.text) <= most for other in taken):
            taken.append(piece)
    return taken
