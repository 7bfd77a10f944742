"""Text files as passages, and passages ranked by how well they answer a query (BM25, no index, no model)."""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

MAX_PASSAGE: Final = 1_200
"""A passage grows by whole paragraphs up to so many characters."""
MAX_LINE: Final = 4_000
SATURATION, LENGTH_WEIGHT, HEADING_WEIGHT = 1.2, 0.75, 2
_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_HEADING = re.compile(r"#{1,6} +(.+?) *#*$")
_DEFINITION = re.compile(r"(?:async +def|def|class) +\w+[^:]{0,200}")
_UNDERLINE = re.compile(r"([=\-~^\"'#*+])\1{2,}$")
_STOP: Final = frozenset(
    _WORD.findall(
        "a an and are as at be by can do does for from has have how i if in into is it its not of on or that the their "
        "there they this to was we what when where which who why will with you your"
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A run of paragraphs of one file; ``line`` is its first line, ``heading`` the closest one above it."""

    path: str
    line: int
    heading: str
    text: str
    terms: Counter[str] = field(repr=False)


def passages(path: str, text: str) -> Iterator[Passage]:
    """The passages of one file: they end where a heading or a definition begins, or when they are long enough."""
    lines = text.splitlines()
    code = path.endswith((".py", ".pyi"))
    heading, begun, held, size, fenced = "", 1, list[str](), 0, False
    for number, line in enumerate(lines, start=1):
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        title = None if fenced else _title(line, lines[number] if number < len(lines) else "", code)
        full = size > MAX_PASSAGE and (not line.strip() or size > 4 * MAX_PASSAGE) and not (fenced and size < MAX_LINE)
        if title is not None or full:
            yield from _passage(path, begun, heading, held)
            heading, begun, held, size = heading if title is None else title, number, [], 0
        held.append(line[:MAX_LINE])
        size += len(held[-1]) + 1
    yield from _passage(path, begun, heading, held)


def ranked(found: Sequence[Passage], query: str, limit: int) -> list[tuple[float, Passage]]:
    """The passages that hold a word of the query, best first, with scores above 0 that compare within one search only."""
    wanted = _wanted(query)
    lengths = [passage.terms.total() for passage in found]
    mean = sum(lengths) / len(lengths) if lengths else 1.0
    holding = {term: sum(1 for passage in found if term in passage.terms) for term in wanted}
    weights = {t: math.log(1 + (len(found) - n + 0.5) / (n + 0.5)) for t, n in holding.items()}
    phrase = " ".join(query.lower().split())
    scored = (
        (_score(passage, length / mean, weights, phrase), -position, passage)
        for position, (passage, length) in enumerate(zip(found, lengths, strict=True))
    )
    best = heapq.nlargest(limit, (row for row in scored if row[0] > 0), key=lambda row: row[:2])
    return [(round(score, 4), passage) for score, _, passage in best]


def terms(text: str) -> list[str]:
    """The words of a text in a form in which ``Retries``, ``retry`` and ``retry_policy`` share one."""
    return [_stem(word) for word in _WORD.findall(_CAMEL.sub(" ", text).lower())]


def _wanted(query: str) -> set[str]:
    words = [word for word in _WORD.findall(_CAMEL.sub(" ", query).lower()) if word not in _STOP]
    return set(terms(" ".join(words) or query))


def _score(passage: Passage, length: float, weights: dict[str, float], phrase: str) -> float:
    score, matched = 0.0, 0
    for term, weight in weights.items():
        if count := passage.terms.get(term, 0):
            matched += 1
            norm = SATURATION * (1 - LENGTH_WEIGHT + LENGTH_WEIGHT * length)
            score += weight * count * (SATURATION + 1) / (count + norm)
    if " " in phrase and phrase in passage.text.lower():
        score *= 1.5
    return score * (0.5 + 0.5 * matched / len(weights)) if weights else 0.0


def _passage(path: str, line: int, heading: str, held: list[str]) -> Iterable[Passage]:
    blank = next((i for i, text in enumerate(held) if text.strip()), None)
    if blank is None:
        return
    text = "\n".join(held[blank:]).rstrip()
    counted = Counter(terms(text))
    for term in terms(f"{heading} {path.rsplit('/', 1)[-1]}"):
        counted[term] += HEADING_WEIGHT
    yield Passage(path=path, line=line + blank, heading=heading, text=text, terms=counted)


def _title(line: str, after: str, code: bool) -> str | None:
    """The heading that ``line`` is, if it is one: Markdown's, an underlined one, or a definition in Python."""
    if code:
        found = _DEFINITION.match(line)
        return found[0].strip() if found else None
    if found := _HEADING.match(line):
        return found[1]
    if line.strip() and not line.startswith((" ", "|", "-")) and len(line) < 120 and _UNDERLINE.match(after.rstrip()):
        return line.strip()
    return None


@lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    """A rough English stem: enough that the forms of a word meet."""
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""), ("s", "")):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)] + instead
            break
    return word[:-1] if len(word) > 4 and word.endswith("e") else word
