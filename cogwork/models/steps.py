"""A plan taken from the words of a goal: its clauses as steps, and the order that the words give them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from cogwork.models.clauses import Step, clauses, is_action
from cogwork.models.material import Material, Record, Unit
from cogwork.models.passages import cut
from cogwork.models.ranking import terms
from cogwork.models.words import word_set

_USES: Final = word_set(
    """
    announce approve check clean compare deploy document email evaluate inform launch measure merge monitor notify
    present publish push release report review send ship submit switch test validate verify
    """
)
"""Verbs that work on what earlier steps made."""
_ORDERED = re.compile(
    r"^(?P<a>.+?)\s+"
    r"(?:(?:must|should|has to|have to|needs? to|can|may|is|are|be|come|exist|happen|run|finished?|done|only|start)\s+)*"
    r"(?P<cue>before|after|depends? on|needs?|requires?|waits? for)\s+(?P<b>.+?)[.!]?$",
    re.IGNORECASE,
)
_BACK = re.compile(r"\b(?:it|them|these|both|everything|all of (?:it|them)|the results?)\b", re.IGNORECASE)
_UNTOLD: Final = word_set("constraints constraint conventions rules depends needs requires")
"""Words of headings and keys under which no work is named."""
STEP_GROUPS: Final = word_set("steps plan tasks stages phases milestones todo todos")


def plan(material: Material) -> list[Step]:
    """The steps that the goal names, else those that the material lists; never none where there is any text."""
    known = [step for record in material.records if (step := _known(record)) is not None]
    if known:
        added = [step for unit in _telling(material) if unit.record is None for step in clauses(unit.text)]
        steps = _named([*known, *(step for step in added if is_action(step.title))])
    else:
        steps = _named(_from_text(material))
    for step in steps:
        _link(step, steps)
    _by_order_sentences(material, steps)
    return steps


def _from_text(material: Material) -> list[Step]:
    asked = list(clauses(material.asked))
    if len(asked) > 1 and any(step.link != "new" or is_action(step.title) for step in asked):
        return asked
    listed = [step for unit in _telling(material) if unit.kind == "item" for step in clauses(unit.text)]
    told = [step for unit in _telling(material) for step in clauses(unit.text) if is_action(step.title)]
    return listed or (told if len(told) > 1 or not asked else []) or asked or told


def _telling(material: Material) -> list[Unit]:
    """The units that may name work; a rule to respect is none, nor is what a known step depends on."""
    return [unit for unit in material.units if not _UNTOLD & set(unit.section.lower().replace("_", " ").split())]


def _known(record: Record) -> Step | None:
    """The step that a record of an existing plan is."""
    value = record.value
    title = value.get("title") or value.get("name") or value.get("id")
    if record.group.lower() not in STEP_GROUPS or not title:
        return None
    earlier = value.get("depends_on")
    return Step(
        title=str(title),
        id=str(value.get("id") or ""),
        link="known",
        depends_on=[str(name) for name in earlier] if isinstance(earlier, list) else [],
        done_when=str(value.get("done_when") or ""),
    )


def _named(steps: Iterable[Step]) -> list[Step]:
    """The steps with ids of their own, made from their first words."""
    named: list[Step] = []
    taken: set[str] = set()
    for step in steps:
        words = re.findall(r"[a-z0-9]+", step.title.lower())
        telling = [word for word in words if terms(word)][:3] or words[:3]
        base = step.id or "_".join(telling) or "step"
        base = base if step.id or not base[0].isdigit() else f"step_{base}"
        step.id = next(
            name for n in range(len(taken) + 2) if (name := base if n == 0 else f"{base}_{n + 1}") not in taken
        )
        taken.add(step.id)
        step.title = step.title[:1].upper() + step.title[1:]
        step.done_when = step.done_when or _sign(step.title)
        named.append(step)
    return named


def _sign(title: str) -> str:
    """A sign that a step is done, from its own words."""
    verb, _, what = title.partition(" ")
    thing = cut(what.strip() or title, 120)
    match verb.lower():
        case "add" | "build" | "create" | "design" | "develop" | "draft" | "implement" | "make" | "prepare" | "write":
            return f"exists and was looked at: {thing}"
        case "test" | "check" | "validate" | "verify" | "evaluate" | "review" | "audit":
            return f"the findings are recorded, and none is open: {thing}"
        case "announce" | "deploy" | "launch" | "publish" | "release" | "send" | "ship":
            return f"has arrived where its users are: {thing}"
        case "archive" | "delete" | "drop" | "remove" | "retire":
            return f"is gone, and nothing asks for it: {thing}"
        case _:
            return f"its result is recorded: {cut(title, 120)}"


def _link(step: Step, steps: list[Step]) -> None:
    """Give a step the dependencies that its link and its phrases mean."""
    here = next(index for index, other in enumerate(steps) if other is step)
    earlier = steps[:here]
    for other in _defaults(step, earlier):
        _depend(step, other, steps)
    for phrase in step.after:
        for other in _meant(phrase, steps, step):
            _depend(step, other, steps)
    for phrase in step.before:
        for other in _meant(phrase, steps, step):
            _depend(other, step, steps)


def _defaults(step: Step, earlier: list[Step]) -> list[Step]:
    if not earlier or step.link == "known":
        return []
    last = earlier[-1]
    beside = [other for other in earlier if other.id in last.depends_on]
    if step.link == "last":
        return _leaves(earlier)
    if step.link == "then":
        return _group(earlier)
    if step.after and step.link != "and":
        return []
    uses = step.title.split(" ", 1)[0].lower() in _USES
    if _BACK.search(step.title):
        return _group(earlier) if re.search(r"\b(?:both|them|these|everything|all)\b", step.title, re.I) else [last]
    shared = [other for other in earlier if uses and _shared(step.title, other.title)]
    if shared:
        by_id = {other.id: other for other in earlier}
        return [one for one in shared if not any(two is not one and _reaches(two, one, by_id) for two in shared)]
    if step.link == "and" and uses:
        return _group(earlier)
    return beside if step.link in ("and", "beside") else []


def _group(earlier: list[Step]) -> list[Step]:
    """The last step and those that stand beside it."""
    group = [earlier[-1]]
    for other, after in zip(reversed(earlier[:-1]), reversed(earlier[1:]), strict=True):
        if after.link not in ("and", "beside") or other.id in group[0].depends_on:
            break
        group.append(other)
    return group


def _leaves(earlier: list[Step]) -> list[Step]:
    needed = {name for step in earlier for name in step.depends_on}
    return [step for step in earlier if step.id not in needed]


def _object(title: str) -> set[str]:
    return set(terms(title.partition(" ")[2] or title))


def _shared(one: str, other: str) -> bool:
    return bool(_object(one) & _object(other))


def _meant(phrase: str, steps: list[Step], but: Step) -> list[Step]:
    """The step that a phrase names best, if any shares a word with it."""
    wanted = set(terms(phrase))
    scored = [
        (len(wanted & set(terms(step.title))), -index, step) for index, step in enumerate(steps) if step is not but
    ]
    best = max(scored, default=(0, 0, but), key=lambda entry: entry[:2])
    return [best[2]] if best[0] else []


def _depend(step: Step, on: Step, steps: list[Step]) -> None:
    """Add a dependency, unless it is there or would close a circle."""
    if step is on or on.id in step.depends_on:
        return
    if not _reaches(on, step, {other.id: other for other in steps}):
        step.depends_on.append(on.id)


def _reaches(start: Step, goal: Step, by_id: dict[str, Step]) -> bool:
    """Whether ``start`` depends on ``goal``, directly or through others."""
    todo, seen = [start], {start.id}
    while todo:
        step = todo.pop()
        if step is goal:
            return True
        fresh = [name for name in step.depends_on if name in by_id and name not in seen]
        seen.update(fresh)
        todo.extend(by_id[name] for name in fresh)
    return False


def _by_order_sentences(material: Material, steps: list[Step]) -> None:
    """Sentences of the material such as ``The schema must exist before the import``."""
    for unit in material.units:
        match = _ORDERED.match(unit.shown) if unit.record is None and not is_action(unit.shown) else None
        if match is None:
            continue
        if not (first := _meant(match["a"], steps, Step(title=""))):
            continue
        for other in _meant(match["b"], steps, first[0]):
            early, late = (first[0], other) if match["cue"].lower() == "before" else (other, first[0])
            _depend(late, early, steps)
