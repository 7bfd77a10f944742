"""Lists: what each item is about, be it a step, a place in source, a passage, a record or a piece of text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cogwork.models import steps
from cogwork.models.answers import Answers, title_of
from cogwork.models.clauses import Step, clauses
from cogwork.models.diagnosis import Place, error_line, places
from cogwork.models.material import Unit
from cogwork.models.ranking import distinct, query
from cogwork.models.texts import Texts, words_of
from cogwork.models.words import word_set
from state.values import Json, Schema

_STEPS = steps.STEP_GROUPS
_CITES: Final = word_set("citations citation sources quotes references evidence")
_CAUSES: Final = word_set("causes cause suspects hypotheses reasons culprits")
_QUESTIONS: Final = word_set("questions subquestions queries subqueries parts clauses aspects")
_FEW: Final = 5
_MANY: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Focus:
    """What an object within a list is about; all empty at the top."""

    unit: Unit | None = None
    record: Mapping[str, Json] | None = None
    step: Step | None = None
    place: Place | None = None
    number: int = 0


class Lists:
    """Chooses the items of the lists of one schema; ``lone`` says that it has but one list."""

    def __init__(self, answers: Answers, texts: Texts, *, lone: bool) -> None:
        self.answers, self.texts, self.lone = answers, texts, lone
        self.material = answers.material
        self.plan: list[Step] | None = None

    def about(self, name: str, items: Schema, *, top: bool, most: int) -> list[Focus]:
        """What each item of a list of that name is about; ``top`` where the list is not within another one's object."""
        words, inner = set(words_of(name)), set(items.get("properties") or ())
        if (words & _STEPS and top) or {"depends_on", "done_when"} & inner:
            self.plan = self.plan or steps.plan(self.material)
            return [Focus(step=step, number=i) for i, step in enumerate(self.plan[:_MANY], 1)]
        if (words & _CITES and inner & {"quote", "path", "source", "line", "text"}) or "quote" in inner:
            return [Focus(unit=unit, record=unit.record) for unit in self.answers.chosen(min(most, 2))]
        if (words & _CAUSES or {"evidence", "file"} <= inner) and error_line(self.material):
            return [Focus(place=place) for place in _likely(places(self.material))[: min(most, 3)]]
        if tagged := self.texts.keywords(words, min(most, _FEW)):
            return [Focus(unit=Unit(text=word)) for word in tagged]
        if records := self._records(words, inner):
            return [Focus(unit=u, record=u.record, number=i) for i, u in enumerate(records[:_MANY], 1)]
        return [Focus(unit=unit, number=i) for i, unit in enumerate(self._pieces(name, items)[:_MANY], 1)]

    def text(self, one: Focus, name: str) -> str:
        """An item as text."""
        if one.step is not None:
            return one.step.title
        if one.place is not None:
            return f"{one.place.file}:{one.place.line}: {one.place.text}"
        if one.record is not None and one.unit is not None and one.unit.kind == "record":
            return self.texts.key_of(one.record, name) or title_of(one.record) or one.unit.shown
        return one.unit.shown if one.unit is not None else ""

    def _records(self, words: set[str], inner: set[str]) -> list[Unit]:
        """The records that the list's name or its objects' keys speak of: the grave first, else in their order."""
        seen: dict[int, Unit] = {}
        for unit in self.material.units:
            if unit.record is not None:
                seen.setdefault(id(unit.record), unit)
        units = [*seen.values()]
        if self.answers.groups:
            units.sort(key=lambda unit: (-self.answers.gravity(unit.record), unit.order))
        alike = [
            u
            for u in units
            if words & set(words_of(u.section)) or (u.kind == "record" and len(inner & set(u.record or ())) >= 2)
        ]
        if not alike and inner:
            alike = [u for u in units if inner & set(u.record or ())] or units
        return (
            alike
            if len(alike) > 1 or len(units) == 1 or words & {w for u in alike for w in words_of(u.section)}
            else []
        )

    def _pieces(self, name: str, items: Schema) -> list[Unit]:
        """Sentences and list items: those under the list's name, all that are listed, or the best."""
        wanted = words_of(name)
        units = [unit for unit in self.material.units if unit.kind != "heading"]
        under = [unit for unit in units if unit.section and set(words_of(unit.section)) & set(wanted)]
        if set(wanted) & _QUESTIONS and not under:
            return self._clauses()
        listed = [unit for unit in units if unit.kind == "item" and unit.record is None]
        if under or (self.lone and len(listed) > 1 and not self.answers.summarises):
            return under or listed
        told = query((" ".join([*wanted, str(items.get("description") or "")]), 1.0))
        met = [unit for unit in units if self.answers.ranking.score(unit.text, told) > 0]
        if not met and not self.lone:
            return []
        if items.get("properties") and self.lone and not self.material.bare:
            return units
        best = self.answers.best({**self.answers.wanted, **told}, units=met or units)
        return distinct(best, 3)

    def _clauses(self) -> list[Unit]:
        """The parts of a question."""
        prose = [unit.text for unit in self.material.units if unit.record is None] or [self.material.asked]
        return [Unit(text=step.title, kind="item") for text in prose for step in clauses(text)]


def _shares(unit: Unit, inner: set[str]) -> bool:
    """Whether a record has at least two of the keys that are wanted."""
    return unit.kind == "record" and len(inner & set(unit.record or ())) >= 2


def _likely(found: list[Place]) -> list[Place]:
    """The places that are not far behind the first."""
    return [place for place in found if place.score >= 0.3 * found[0].score] if found else []
