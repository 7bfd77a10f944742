"""Answers in sentences, made of the best pieces of the material."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

from cogwork.models.diagnosis import error_line, places
from cogwork.models.material import Material, Record, Unit, compact, first
from cogwork.models.passages import cut, sentences
from cogwork.models.ranking import Ranking, distinct, query, terms
from state.values import Json

COUNT_KEYS: Final = ("count", "occurrences", "total", "events", "hits", "frequency", "n")
TITLE_KEYS: Final = (
    "title",
    "signature",
    "name",
    "headline",
    "subject",
    "summary",
    "message",
    "error",
    "key",
    "label",
    "id",
)
SAMPLE_KEYS: Final = (
    "sample",
    "example",
    "detail",
    "details",
    "message",
    "error",
    "stack",
    "trace",
    "text",
    "description",
)
CAUSE = re.compile(
    r"\b(?:because|caused? by|due to|owing to|since|reason|root cause|as a result|exhausted|refused|timed? ?out|timeout|denied|"
    r"missing|expired|overflow|deadlock|out of memory|not found|no such|invalid|unable|cannot|could not|"
    r"failed|failure|exception|error)\b",
    re.IGNORECASE,
)
_STRONG = re.compile(
    r"\b(?:because|caused? by|due to|owing to|root cause|after (?:a|the) (?:deploy|upgrade|change|release))\b",
    re.IGNORECASE,
)
NEXT = re.compile(
    r"\b(?:should|must|need(?:s|ed)? to|try|check|restart|retry|fix|increase|reduce|raise|roll back|rollback|upgrade|contact|"
    r"next step|recommend\w*|suggest\w*|todo|to do|action|please|run|verify|make sure|ensure)\b",
    re.IGNORECASE,
)
_GRAVE = re.compile(r"\b(?:fatal|critical|panic|outage|data loss|security|emergency)\b", re.IGNORECASE)
_SHORTENING = re.compile(
    r"\b(?:summar\w+|overview|digest|shorten|condense|outline|abstract|tl;?dr|gist|main points?|key points?)\b",
    re.IGNORECASE,
)


class Answers:
    """What can be said about one material; every piece of it comes from there."""

    def __init__(self, material: Material) -> None:
        self.material = material
        self.wanted = query((material.asked, 1.0), (cut(material.rules, 600), 0.02))
        self.ranking = Ranking([unit.text for unit in material.units])
        self.summarises = bool(_SHORTENING.search(material.asked)) or not terms(material.asked)

    @cached_property
    def ranked(self) -> list[Unit]:
        """The material's pieces, the best for what is asked first; headings last."""
        return self.best(self.wanted)

    def best(self, wanted: Mapping[str, float], *, units: Sequence[Unit] | None = None) -> list[Unit]:
        """Pieces by how well they meet ``wanted``; what the whole is about decides between those that do not."""
        scored = [
            (-self._score(unit, wanted), unit.order, unit) for unit in (self.material.units if units is None else units)
        ]
        return [unit for _, _, unit in sorted(scored, key=lambda entry: entry[:2])]

    def _score(self, unit: Unit, wanted: Mapping[str, float]) -> float:
        said = f"{unit.section} {unit.text}" if unit.section else unit.text
        met = 0.0 if self.summarises else self.ranking.score(said, wanted)
        if unit.kind == "heading" or len(unit.text) < 4:
            met *= 0.2
        about = self.ranking.weight(unit.text) / (1 + 0.05 * unit.order)
        return (
            met
            + (about if self.summarises else 0.01 * about)
            + (self.gravity(unit.record) if unit.kind == "record" else 0)
        )

    @staticmethod
    def gravity(record: Mapping[str, Json] | None) -> float:
        """How much a record weighs by its own count and words."""
        count = first(record or {}, COUNT_KEYS)
        many = math.log1p(count) if isinstance(count, int | float) and count > 0 else 0.0
        return many + (1.5 if record and _GRAVE.search(compact(record)) else 0.0)

    @property
    def answered(self) -> bool:
        """Whether the best pieces meet enough of what is asked, or anything will do.

        Enough is a third of the words that the material has at all; of passages, which were searched for, also two words
        or more than half of them all: one word alone is too easily met.
        """
        asked = set(terms(self.material.asked))
        if self.summarises or not asked or not self.ranked:
            return bool(self.ranked)
        met = {term for unit in self.ranked[:3] for term in terms(f"{unit.section} {unit.text}")} & asked
        if any(unit.path for unit in self.ranked[:3]) and len(met) < 2 and 2 * len(met) <= len(asked):
            return False
        return len(met) >= max(1, math.ceil(len(asked & set(self.ranking.held)) / 3))

    def text(self, *, limit: int = 900) -> str:
        """The answer in a few sentences."""
        if self.material.bare:
            return f"No material came with the request: “{cut(self._asked, 400)}”"
        if self.groups:
            return self.incident()
        if error := error_line(self.material):
            return self._explained(error)
        if not self.answered:
            return f"The material does not answer “{cut(self._asked, 400)}”.{self._instead()}"
        chosen = self.chosen(4 if self.summarises else 2)
        return cut(" ".join(_closed(unit) for unit in sorted(chosen, key=lambda unit: unit.order)), limit)

    def _instead(self) -> str:
        """What the material says, where an order cannot be carried out; nothing for a question."""
        asks = self._asked.endswith("?") or any(unit.path for unit in self.material.units)
        return "" if asks or not self.ranked else f" It says: {cut(self.ranked[0].shown, 300)}"

    @property
    def _asked(self) -> str:
        return " ".join((self.material.asked or self.material.rules).split())

    def chosen(self, limit: int) -> list[Unit]:
        """The pieces that an answer rests on, none where nothing answers."""
        if not self.answered:
            return []
        told = [unit for unit in self.ranked if unit.kind != "heading"] or self.ranked
        if self.summarises:
            return distinct(told, limit)
        top = self._score(told[0], self.wanted) if told else 0.0
        return distinct([unit for unit in told if self._score(unit, self.wanted) >= 0.5 * top], limit)

    @cached_property
    def groups(self) -> list[Record]:
        """Records that count something, the gravest first."""
        counted = [
            r
            for r in self.material.records
            if isinstance(first(r.value, COUNT_KEYS), int | float) and title_of(r.value)
        ]
        return sorted(counted, key=lambda record: -self.gravity(record.value))

    def incident(self) -> str:
        """Counted groups in sentences: how many, which most, since when."""
        groups = self.groups
        top = groups[0].value
        total = sum(first(record.value, COUNT_KEYS) for record in groups)
        began, ended = (
            first(top, ("first", "first_seen", "since", "start")),
            first(top, ("last", "last_seen", "until", "end")),
        )
        when = "".join(f", {word} {time}" for word, time in (("first", began), ("last", ended)) if time)
        head = f"{len(groups)} group{'s' * (len(groups) > 1)} with {total} occurrences in all."
        lead = f"Heaviest: {title_of(top)} ({first(top, COUNT_KEYS)}×{when})."
        rest = "; ".join(f"{title_of(r.value)} ({first(r.value, COUNT_KEYS)}×)" for r in groups[1:5])
        return " ".join(part for part in (head, lead, f"Also: {rest}." if rest else "") if part)

    def cause(self, record: Mapping[str, Json] | None = None) -> str:
        """The piece that reads most like a cause; of ``record`` alone where one is given."""
        if record is None and self.groups:
            record = self.groups[0].value
        if record is not None and (raised := _raised(record)):
            return raised
        if record is not None:
            told = [first(record, (key,)) for key in (*SAMPLE_KEYS, *TITLE_KEYS)]
            pieces = [piece for text in told if isinstance(text, str) for piece in sentences(text)]
        elif error := error_line(self.material):
            return self._explained(error)
        else:
            pieces = [unit.text for unit in self.ranked]
        best = max(pieces, key=lambda p: (bool(_STRONG.search(p)), bool(CAUSE.search(p))), default="")
        return cut(" ".join(best.split()), 400) if best and (record is not None or CAUSE.search(best)) else ""

    def next_step(self) -> str:
        """The piece that says what to do, else where to look first."""
        told = next(
            (unit for unit in self.ranked if unit.kind != "record" and NEXT.search(unit.text) and not unit.path), None
        )
        if told is not None and not self.material.bare:
            return cut(told.shown, 400)
        for place in places(self.material)[:1]:
            at = f"{place.file}:{place.line}"
            return f"Look at {at}: {place.text}" if place.text else f"Look at {at}."
        if self.groups:
            top = self.groups[0].value
            ended = first(top, ("last", "last_seen", "until", "end"))
            seen = f", last seen {ended}" if ended else ""
            return f"Begin with {title_of(top)} ({first(top, COUNT_KEYS)}×{seen}): {self.cause(top)}"
        return f"Look into: {cut(self.ranked[0].shown, 200)}" if self.ranked else ""

    def title(self, *, limit: int = 80) -> str:
        """A short line that names the matter."""
        if self.groups:
            top = self.groups[0].value
            return cut(f"{title_of(top)} ({first(top, COUNT_KEYS)}×)", limit)
        if error := error_line(self.material):
            return cut(error, limit)
        heading = next((unit.shown for unit in self.material.units if unit.kind == "heading"), "")
        best = self.chosen(1) or ([] if self.material.bare else self.ranked[:1])
        if best and best[0].kind == "record" and (told := title_of(best[0].record or {})):
            return cut(told, limit)
        line = heading or (best[0].shown if best else self._asked)
        return cut(re.split(r"(?<=\w)[.:;?!](?:\s|$)", line)[0] if not heading else line, limit)

    def _explained(self, error: str) -> str:
        place = next(iter(places(self.material)), None)
        if place is None:
            return error
        return f"{error} points to {place.file}:{place.line}" + (f": {place.text}" if place.text else "")


def _raised(record: Mapping[str, Json]) -> str:
    """The error that a record of a log holds, with its place: ``KeyError: 'total' at app/report.py:42: row['total']``."""
    error, frames = record.get("exception"), record.get("frames")
    if not isinstance(error, dict) or not error.get("type"):
        return ""
    told = f"{error['type']}: {error.get('message') or ''}".rstrip(": ")
    place = frames[-1] if isinstance(frames, list) and frames else None
    if not isinstance(place, dict) or not place.get("file"):
        return cut(told, 400)
    return cut(f"{told} at {place['file']}:{place.get('line')}: {place.get('code') or ''}".rstrip(": "), 400)


def title_of(record: Mapping[str, Json]) -> str:
    """What a record is called."""
    told = first(record, TITLE_KEYS)
    return cut(" ".join(str(told).split()), 120) if isinstance(told, str | int) else ""


def _retold(record: Mapping[str, Json]) -> str:
    """A record as a phrase: what it is called, and the rest in brackets."""
    called = title_of(record)
    rest = {key: item for key, item in record.items() if not isinstance(item, str | int) or str(item) != called}
    return f"{called} ({compact(rest)})" if called and rest else called or compact(record)


def _closed(unit: Unit) -> str:
    """A piece as a sentence, with its source where it has one."""
    shown = _retold(unit.record) if unit.kind == "record" and unit.record else unit.shown
    text = shown if shown[-1:] in ".!?。…" else shown + "."
    return (
        f"{text} ({unit.path}:{unit.line})"
        if unit.path and unit.line
        else f"{text} ({unit.path})"
        if unit.path
        else text
    )
