"""Text properties: which words of the material a property's name asks for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from cogwork.models.answers import Answers, title_of
from cogwork.models.material import Unit, first
from cogwork.models.passages import cut
from cogwork.models.ranking import query, terms
from cogwork.models.words import word_set
from state.schemas import faults
from state.values import Json, Schema

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")
_NEXT: Final = word_set(
    """
    next action recommendation recommendations fix remedy mitigation suggestion advice todo
    """
)
REASONS: Final = word_set("cause causes reason why root rationale")
_TITLE: Final = word_set("title name headline subject heading topic label")
_QUOTE: Final = word_set("quote evidence excerpt snippet passage citation verbatim")
_PATH: Final = word_set("path file filename source document location url")
_WHOLE: Final = word_set(
    """
    summary description answer overview text content message response result report body explanation notes abstract
    conclusion reply output value note
    """
)
_SEARCH: Final = word_set("query search")
_KEYWORDS: Final = word_set("tags tag keywords keyword labels topics terms")
_ALIKE: Final[dict[str, tuple[str, ...]]] = {
    "path": ("file", "source", "filename", "url"),
    "file": ("path", "filename", "source"),
    "source": ("path", "file", "url", "title"),
    "title": ("signature", "name", "subject", "headline", "summary", "message"),
    "name": ("title", "signature", "label", "id"),
    "summary": ("description", "message", "text", "sample"),
    "description": ("summary", "text", "message", "sample"),
    "text": ("content", "body", "description", "message"),
    "since": ("first", "first_seen", "start"),
    "until": ("last", "last_seen", "end"),
}
_FORMATS: Final[dict[str, re.Pattern[str]]] = {
    "date": re.compile(r"\b\d{4}-\d{2}-\d{2}\b"),
    "date-time": re.compile(r"\b\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?"),
    "time": re.compile(r"\b\d{2}:\d{2}(?::\d{2})?\b"),
    "email": re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"),
    "uri": re.compile(r"\bhttps?://[^\s\"'<>)\]]+"),
}
_NAMED: Final = {
    "email": "email",
    "mail": "email",
    "url": "uri",
    "link": "uri",
    "date": "date",
    "deadline": "date",
    "day": "date",
}
_NAME = r"[A-ZÄÖÜÉ][\w'-]+(?:[ ][A-ZÄÖÜÉ][\w'-]+)*"
_PHRASES: Final[tuple[tuple[frozenset[str], re.Pattern[str]], ...]] = (
    (word_set("to recipient receiver addressee"), re.compile(rf"\b[Tt]o\s+({_NAME})")),
    (word_set("due deadline when until"), re.compile(r"\b(?:by|until|before|due|on)\s+(\w+(?:\s\d{1,2})?)")),
    (word_set("city place town country where"), re.compile(rf"\b(?:in|at|from|near|to)\s+({_NAME})")),
    (word_set("owner person assignee author who speaker customer responsible"), re.compile(rf"({_NAME})")),
)
"""Fields whose value is a phrase of a sentence; where it is missing, they stay empty."""
_TRIES: Final = 400


def words_of(name: str) -> list[str]:
    """The words of a property's name, lower case: ``likelyCause`` and ``likely_cause`` alike."""
    return [word.lower() for word in _CAMEL.split(name) if word]


class Texts:
    """The text for a property, from the answers that a material allows."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.material = answers.material

    def text(self, name: str, about: str, unit: Unit | None, record: Mapping[str, Json] | None, number: int) -> str:
        """The text that the property's name asks for, about ``unit`` or ``record`` where the property belongs to one."""
        words = words_of(name)
        if record is not None and (held := self.key_of(record, name)):
            return held
        asked = set(words)
        if found := self._formatted(words, unit):
            return found
        if "id" in asked or "key" in asked:
            return self._id(unit, record, number)
        if asked & _NEXT:
            return self.answers.next_step()
        if asked & REASONS:
            return self.answers.cause(record) or self._grounds(unit)
        if (phrase := self.phrase(words, unit.shown if unit else self._told)) is not None:
            return phrase
        if unit is not None:
            return _of_unit(unit, record, asked)
        return self._whole(name, about, asked)

    @property
    def _told(self) -> str:
        return " ".join([self.material.asked, *(unit.shown for unit in self.answers.ranked[:5])])

    def _whole(self, name: str, about: str, asked: set[str]) -> str:
        if labelled := self._labelled(words_of(name)):
            return labelled
        if asked & _TITLE:
            return self.answers.title()
        if asked & _WHOLE or not name:
            return self.answers.text()
        if asked & _SEARCH:
            return " ".join(word for word in re.findall(r"[\w.-]*\w", self.material.asked) if terms(word))
        if asked & _PATH:
            return next((unit.path for unit in self.answers.ranked if unit.path), "")
        if asked & _QUOTE:
            return next((unit.text for unit in self.answers.chosen(1)), "")
        return self._best_for(name, about)

    def _best_for(self, name: str, about: str) -> str:
        """What stands under a heading of that name, after a label of that name, or the piece that names it best."""
        words = words_of(name)
        for record in self.material.records:
            if held := self.key_of(record.value, name):
                return held
        wanted = query((" ".join(words), 1.0), (about, 0.6))
        ranked = self.answers.best(wanted)
        if ranked and self.answers.ranking.score(f"{ranked[0].section} {ranked[0].text}", wanted) > 0:
            return cut(ranked[0].shown, 600)
        return cut(self.answers.ranked[0].shown, 600) if self.answers.ranked and self.answers.answered else ""

    def _grounds(self, unit: Unit | None) -> str:
        """What a choice rests on, where no cause is told."""
        told = unit.shown if unit is not None else " ".join(self.material.asked.split())
        return f"The text says: {cut(told, 200)}" if told else ""

    def _labelled(self, words: Sequence[str]) -> str:
        """The rest of a line that begins with the name and a colon, ``Owner: Ana``, or what stands under that heading."""
        label = re.compile(
            r"(?:^|\n|;\s|\*\*)\s*" + r"[\s_-]+".join(map(re.escape, words)) + r"\**\s*[:=]\**\s*(?P<rest>[^\n;]+)",
            re.I,
        )
        for unit in self.material.units:
            if unit.kind != "record" and (match := label.search(unit.text)):
                return match["rest"].strip()
            if words_of(unit.section) == list(words) and unit.kind != "heading":
                return unit.shown
        return ""

    def key_of(self, record: Mapping[str, Json], name: str) -> str:
        """The text under that name, or a name that means the same, in a record."""
        words = words_of(name)
        same = [key for key in record if words_of(key) == words]
        alike = _ALIKE.get("_".join(words), ())
        held = first(record, [*same, *alike])
        if isinstance(held, bool) or not isinstance(held, str | int | float):
            return ""
        return str(held)

    def _formatted(self, words: Sequence[str], unit: Unit | None) -> str:
        form = next((_NAMED[word] for word in words if word in _NAMED), "")
        pieces = [unit] if unit is not None else self.answers.ranked
        pattern = _FORMATS.get(form)
        return next((m[0] for piece in pieces if pattern and (m := pattern.search(piece.text))), "")

    def phrase(self, words: Sequence[str], text: str) -> str | None:
        """The phrase of a sentence that such a field asks for, empty where it has none; None for other fields."""
        for names, pattern in _PHRASES:
            if names & set(words):
                match = pattern.search(text)
                return match[1] if match else ""
        return None

    def _id(self, unit: Unit | None, record: Mapping[str, Json] | None, number: int) -> str:
        told = title_of(record) if record else unit.shown if unit else self.answers.title()
        words = [word for word in re.findall(r"[a-z0-9]+", told.lower()) if terms(word)][:4]
        return "_".join(words) or f"item_{number}"

    def keywords(self, words: set[str], limit: int) -> list[str]:
        """The most telling words of the material, for a list called tags, keywords or the like."""
        if not words & _KEYWORDS:
            return []
        spelled: Counter[str] = Counter()
        seen: dict[str, str] = {}
        for unit in self.material.units:
            for word in re.findall(r"[^\W\d_][\w-]{2,}", unit.text):
                for term in terms(word)[:1]:
                    spelled[term] += 1
                    seen.setdefault(term, word.lower())
        ranked = sorted(spelled, key=lambda term: (-spelled[term] - (term in self.answers.wanted), seen[term]))
        return [seen[term] for term in ranked[:limit]]

    def fitting(self, schema: Schema, text: str) -> str:
        """The text within the schema's length, or another of the material where a form is demanded."""
        form = _FORMATS.get(str(schema.get("format")))
        if form is not None and not form.fullmatch(text):
            pieces = [text, self.material.asked, *(unit.text for unit in self.answers.ranked)]
            text = next((match[0] for piece in pieces if (match := form.search(piece))), text)
        limit = schema.get("maxLength")
        text = cut(text, int(limit)) if limit is not None else text
        if "pattern" in schema and faults(schema, text, limit=1):
            text = next((word for word in self._candidates() if not faults(schema, word, limit=1)), text)
        return text

    def _candidates(self) -> list[str]:
        told = [self.material.asked, *(unit.text for unit in self.answers.ranked)]
        single = [word.strip(".,;:!?()[]\"'") for text in told for word in text.split()[:60]]
        return [*dict.fromkeys([*single[:_TRIES], *told[:40]])]


def _of_unit(unit: Unit, record: Mapping[str, Json] | None, asked: set[str]) -> str:
    """A text about one piece of the material."""
    if asked & _PATH:
        return unit.path
    if asked & _QUOTE:
        return unit.text
    if asked & _TITLE:
        told = title_of(record) if record and unit.kind == "record" else ""
        leading = re.match(_NAME, unit.shown) if "name" in asked else None
        if leading and not told:
            return leading[0]
        return told or cut(re.split(r"(?<=\w)[.:;?!](?:\s|$)", unit.shown)[0], 80)
    return unit.shown
