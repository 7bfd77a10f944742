"""The clauses of a text that could be steps, with the words that put them in order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from cogwork.models.passages import sentences
from cogwork.models.ranking import terms
from cogwork.models.words import word_set

ACTIONS: Final = word_set(
    """
    add adopt agree analyse analyze announce approve archive ask assign audit automate back backfill backup book
    build buy call change check choose clean close collect compare configure connect convert copy create cut debug
    decide define delete deploy design determine develop disable discuss document download draft drop email enable
    estimate evaluate export extract fetch file find fix freeze gather generate get hire identify implement import
    improve inform install integrate interview investigate invite launch lint list load lock make measure merge
    migrate monitor move notify open optimise optimize order organise organize pack patch pay pick plan post prepare
    present profile promote prototype publish pull push read record refactor register release remove rename repair
    replace report reproduce request research reserve restart restore retire review rewrite roll rotate run schedule
    select send set ship sign sort split start stop submit summarise summarize switch test train transform translate
    turn update upgrade upload validate verify wait warm write
    """
)
_SPLIT = re.compile(
    r"(?P<then>[,;]?\s+(?:and\s+|but\s+)?(?:then|afterwards|next),?\s+|[,;]?\s+(?:and\s+)?after\s+that,?\s+)"
    rf"|(?P<both>[,;]?\s+(?:and\s+)?after\s+(?:both|all)(?:\s+of\s+them)?,?\s+)(?=(?:{'|'.join(sorted(ACTIONS))})\b)"
    r"|(?P<last>[,;]?\s+(?:and\s+)?(?:finally|lastly),?\s+)"
    r"|(?P<beside>[,;]?\s+(?:and\s+)?(?:meanwhile|in parallel|at the same time),?\s+)"
    r"|(?P<and>;\s+|,\s+(?:and\s+)?|\s+and\s+)(?=(?P<verb>[A-Za-z]+)\b)",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"^(?:(?P<first>first(?:ly)?|to begin with|to start)|(?P<last>finally|lastly|at the end|last)"
    r"|(?P<beside>meanwhile|in parallel|at the same time)"
    r"|(?P<then>then|next|afterwards|after that|second(?:ly)?|third(?:ly)?))\b,?\s+",
    re.IGNORECASE,
)
_LEADING = re.compile(r"^(?P<cue>after|once|when|as soon as|before)\s+(?P<what>[^,]{3,120}),\s*", re.IGNORECASE)
_HEADED = re.compile(rf"^(?P<goal>[^:,;]{{3,120}}:\s+)(?=(?:{'|'.join(sorted(ACTIONS))})\b)", re.IGNORECASE)
_TRAILING = re.compile(
    r",?\s+(?P<cue>(?:only\s+)?(?:after|once|as soon as)|before)\s+(?P<what>[^,;]{3,120})$", re.IGNORECASE
)
_DONE = re.compile(r",?\s+(?:until|so that|done when|which is done when)\s+(?P<what>.{3,200})$", re.IGNORECASE)
_NUMBERED = re.compile(r"^\s*\d{1,3}[.)]\s+")
_BULLET = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s+(?:\[[ xX]\]\s+)?")


@dataclass(slots=True, kw_only=True)
class Step:
    """One step: ``after`` and ``before`` are phrases of the text that name other steps."""

    title: str
    id: str = ""
    link: str = "new"
    after: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    depends_on: list[str] = field(default_factory=list)
    done_when: str = ""


def clauses(text: str) -> Iterator[Step]:
    """The clauses that could be steps, in the order of the text."""
    for sentence in sentences(text):
        numbered = bool(_NUMBERED.match(sentence))
        bare = _BULLET.sub("", sentence)
        link = "then" if numbered else "new"
        for piece, next_link in _cut(" ".join(bare.split()).rstrip(".;!")):
            if step := _step(piece, link):
                yield step
            link = next_link


def _cut(sentence: str) -> Iterator[tuple[str, str]]:
    """A sentence's clauses, each with the link to the one after it."""
    lead = _LEADING.match(sentence) or _HEADED.match(sentence)
    start = lead.end("goal") if lead and lead.re is _HEADED else 0
    listed = False
    for match in _SPLIT.finditer(sentence, lead.end() if lead else 0):
        kind = next(group for group in ("then", "both", "last", "beside", "and") if match[group] is not None)
        kind = "last" if kind == "both" else kind
        if kind == "and" and match["verb"].lower() not in ACTIONS:
            continue
        listed = listed or (kind == "and" and match[0].lstrip()[0] in ",;")
        # "do A and B" is an order, "do A, B and C" a list.
        yield sentence[start : match.start()], "then" if kind == "and" and not listed else kind
        start = match.end()
    yield sentence[start:], "new"


def _step(clause: str, link: str) -> Step | None:
    opening = _OPENING.match(clause)
    if opening:
        link = "new" if opening.lastgroup == "first" else str(opening.lastgroup)
        clause = clause[opening.end() :]
    step = Step(title=clause, link=link)
    if lead := _LEADING.match(clause):
        (step.before if lead["cue"].lower() == "before" else step.after).append(lead["what"])
        clause = clause[lead.end() :]
    if done := _DONE.search(clause):
        step.done_when = done["what"]
        clause = clause[: done.start()]
    if trail := _TRAILING.search(clause):
        (step.before if trail["cue"].lower() == "before" else step.after).append(trail["what"])
        clause = clause[: trail.start()]
    step.title = clause.strip(" ,;:.")
    return step if terms(step.title) else None


def is_action(title: str) -> bool:
    """Whether a title begins with a verb of work."""
    return title.split(" ", 1)[0].lower() in ACTIONS
