"""Closed choices, claims and amounts: which of them the material supports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Final

from cogwork.models.answers import COUNT_KEYS, Answers
from cogwork.models.material import Unit, first
from cogwork.models.ranking import query, terms
from cogwork.models.texts import words_of
from cogwork.models.words import word_set
from state.values import Json, Schema

_CUES: Final[dict[str, str]] = {
    "critical": "outage down fatal panic data loss lost breach security production emergency unavailable corrupted critical",
    "high": "crash crashes error errors fails failure failed broken blocked urgent exception payment",
    "medium": "slow degraded warning delay delayed intermittent retry partially",
    "low": "typo cosmetic minor wording colour color nice question trivial",
    "positive": "good great excellent love loved happy wonderful perfect thanks recommend works pleased best nice fast helpful",
    "negative": "bad terrible awful hate broken refund angry disappointed worst slow useless crash fails never poor rude",
    "bug": "error crash broken fails wrong bug exception regression",
    "feature": "add support would like wish feature request allow option new",
    "billing": "invoice charge charged refund payment bill price paid subscription",
    "yes": "yes agreed approved confirmed correct supported fits passes",
    "no": "no not never without missing wrong unsupported differs fails",
}
_NEUTRAL: Final = ("unknown", "unclear", "other", "none", "generic", "neutral", "n/a", "unsure", "mixed")
_NEGATED = re.compile(
    r"\b(?:no|not|never|without|none|cannot|isn't|wasn't|don't|doesn't|didn't|nothing)\b", re.IGNORECASE
)
_NUMBER = re.compile(
    r"(?<![\w.])[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\w])|(?<![\w.])[-+]?\d{1,15}(?:\.\d{1,15})?(?!\w*[-:/]\d)"
)
_QUESTIONS: Final = word_set("what where which who when how why")
_NUMBERS: Final = 200
_WORDS: Final = 2_000
_SURE: Final = word_set("confidence certainty probability likelihood")
_HOW_MANY: Final = word_set("count total number amount occurrences events sum size")


def option(schema: Schema, name: str, answers: Answers, record: Mapping[str, Json] | None, unit: Unit | None) -> Json:
    """The value of an ``enum`` that the material supports best; a neutral one, the default or the first where none is."""
    values = list(schema["enum"])
    held = record.get(name) if record else None
    if held in values:
        return held
    if "default" in schema and schema["default"] not in values:
        values.append(schema["default"])
    scores = [_support(value, answers, unit) for value in values]
    best = max(scores, default=0.0)
    if best > 0:
        return values[scores.index(best)]
    neutral = next((value for value in values if str(value).lower() in _NEUTRAL), None)
    return schema.get("default", values[0] if neutral is None else neutral)


def grounds(value: Json, answers: Answers) -> str:
    """The words of what is asked that the rules name for a chosen value; empty where the rules explain nothing."""
    material = answers.material
    if not (explained := _said(_explanation(str(value), material.rules))):
        return ""
    words = [word for word in re.findall(r"[\w'-]+", material.asked) if _said(word) & explained]
    told = ", ".join(f"“{word}”" for word in dict.fromkeys(words[:4]))
    return (
        f"{told} in the request speak{'s' * (len(set(words[:4])) == 1)} for {value}."
        if told
        else (f"Nothing in the request speaks for another than {value}.")
    )


def options(schema: Schema, answers: Answers) -> list[Json]:
    """Every value of an ``enum`` that the material supports, the best first."""
    scored = [(-_support(value, answers, None), index, value) for index, value in enumerate(schema["enum"])]
    return [value for score, _, value in sorted(scored, key=lambda entry: entry[:2]) if score < 0]


def _support(value: Json, answers: Answers, unit: Unit | None) -> float:
    """How much speaks for a value: its name in the text, the words that the rules explain it with, and common cues."""
    material = answers.material
    text = unit.text if unit is not None else "\n".join([material.asked, *(u.text for u in material.units[:400])])
    said = _said(text)
    asked = _said(material.asked) if unit is None else said
    named = set(terms(str(value)))
    score = 1.5 * bool(named and named <= said and _plain(str(value), text))
    explained = _said(_explanation(str(value), material.rules))
    score += 1.0 * len(explained & asked) + 0.2 * len(explained & (said - asked))
    return score + 0.8 * len(set(terms(_CUES.get(str(value).lower(), ""))) & said)


def _said(text: str) -> set[str]:
    """The terms of a text, and its question words, which tell questions apart."""
    return set(terms(text)) | (_QUESTIONS & set(re.findall(r"[a-z]+", text.lower())))


def _plain(value: str, text: str) -> bool:
    """Whether the value is named without being denied."""
    found = [m.start() for m in re.finditer(re.escape(value), text, re.IGNORECASE)]
    return not found or any(not _NEGATED.search(text[max(0, at - 12) : at]) for at in found)


def _explanation(value: str, rules: str) -> str:
    """What the rules say after ``- value:``."""
    match = re.search(
        rf"^[ \t]*(?:[-*][ \t]*)?[\"'`*]*{re.escape(value)}[\"'`*]*[ \t]*(?:[:=]|[-–—])[ \t]*(.+)$",
        rules,
        re.MULTILINE | re.I,
    )
    return match[1] if match else ""


def claim(schema: Schema, name: str, answers: Answers, unit: Unit | None) -> bool:
    """Whether the material says what the property's name claims, without denying it."""
    wanted = set(terms(" ".join(words_of(name)))) or set(terms(str(schema.get("description") or "")))
    pieces = [unit] if unit is not None else answers.ranked
    for piece in pieces:
        met = wanted & set(terms(piece.text))
        if wanted and 2 * len(met) >= len(wanted) and len(met) > 0:
            return not _NEGATED.search(piece.text)
    return bool(schema.get("default", False))


def amount(name: str, schema: Schema, answers: Answers, unit: Unit | None) -> float | None:
    """The number that stands nearest to the property's words; a count of the records; None where there is none."""
    words = words_of(name)
    if set(words) & _SURE:
        asked = set(terms(answers.material.asked))
        met = {t for u in answers.ranked[:5] for t in terms(u.text)} & asked
        return round(len(met) / len(asked), 2) if asked else 0.0
    if set(words) & _HOW_MANY and unit is None and (counted := _counted(words, answers)) is not None:
        return counted
    wanted = query((" ".join(words), 1.0), (str(schema.get("description") or ""), 0.4))
    pieces = [unit] if unit is not None else answers.best({**{k: 0.1 * v for k, v in answers.wanted.items()}, **wanted})
    for piece in pieces:
        numbers = [*islice(_NUMBER.finditer(piece.text), _NUMBERS)]
        if numbers and (unit is not None or set(terms(f"{piece.section} {piece.text}")) & set(wanted)):
            near = float(_nearest(piece.text, numbers, wanted).replace(",", ""))
            return int(near) if near.is_integer() else near
    return None


def _counted(words: list[str], answers: Answers) -> float | None:
    counted: list[float] = [first(record.value, COUNT_KEYS) for record in answers.groups]
    if not counted:
        return None
    if {"groups", "kinds", "distinct"} & set(words):
        return len(counted)
    return sum(counted)


def _nearest(text: str, numbers: list[re.Match[str]], wanted: Mapping[str, float]) -> str:
    """The number that is nearest to a word that is wanted; the first where none is."""
    words = islice(re.finditer(r"[^\W\d_]+", text), _WORDS)
    places = [word.start() for word in words if set(terms(word[0])) & set(wanted)]
    distances = [min((abs(number.start() - place) for place in places), default=0) for number in numbers]
    return numbers[distances.index(min(distances))][0]
