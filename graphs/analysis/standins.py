"""Steps that serve as another step's fallback: they run inside its work, and never by themselves."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Final

from graphs.analysis.names import Names
from graphs.analysis.plan import PlannedStep, Scope
from graphs.language.spec import LlmNode, ToolNode, TransformNode
from nodes.base import CallingNode

_OWN_RULES: Final[dict[str, object]] = {
    "when": None,
    "join": "default",
    "on_error": "fail",
    "cancel_rest": False,
    "fallback": [],
}
"""What decides whether and how a step runs by itself, with the values that say nothing."""


def stand_in(names: Names, scope: Scope, members: list[PlannedStep]) -> None:
    """Tie each step to those of its fallbacks that are steps; what cannot serve so is reported."""
    for member in members:
        if not isinstance(member.step, CallingNode) or not member.step.fallback:
            continue
        found: list[str] = []
        for index, fallback in enumerate(member.step.fallback):
            chosen = _chosen(names, scope, members, member, index, fallback.node) if fallback.node is not None else None
            found.append(chosen.id if chosen else "")
            if chosen is not None:
                chosen.stands_in, chosen.parents, chosen.selectors = member.id, {}, (member.id,)
        member.standins = tuple(found)


def _chosen(
    names: Names, scope: Scope, members: list[PlannedStep], member: PlannedStep, index: int, name: str
) -> PlannedStep | None:
    """The sibling that a fallback names, if it can serve."""
    place = f"{member.pointer}/fallback/{index}/node"
    if name not in scope.names:
        close = difflib.get_close_matches(name, [other for other in scope.names if other != member.name], 1)
        hint = f"did you mean {close[0]!r}?" if close else "name an llm, tool or transform step of the same block"
        names.report(member.document, "unknown_standin", f"There is no step {name!r} here", place, hint)
        return None
    other = names.steps[scope.names[name]]
    why = next(_unfit(names, members, member, other), None)
    if why is None:
        return other
    names.report(
        member.document, "bad_standin", f"{name!r} cannot stand in for {member.name!r}: {why[0]}", place, why[1]
    )
    return None


def _unfit(
    names: Names, members: list[PlannedStep], member: PlannedStep, other: PlannedStep
) -> Iterator[tuple[str, str]]:
    """Why a step cannot serve as a fallback, with what to do about it."""
    if other is member:
        yield "a step is no fallback for itself", "name another step, or try it again with retry:"
        return
    if not isinstance(other.step, LlmNode | ToolNode | TransformNode):
        yield (
            f"it is a {other.kind}",
            "only llm, tool and transform steps can; leave from there with on_error: {then: …}",
        )
    if other.stands_in:
        yield f"it already stands in for {names.steps[other.stands_in].name!r}", "give each step a fallback of its own"
    waiting = [each.name for each in members if other.id in each.parents]
    if waiting:
        yield f"{waiting[0]!r} waits for it", f"refer to {member.name} instead: its value is that of what served"
    if other.selectors:
        chooser = names.steps[other.selectors[0]].name
        yield f"{chooser!r} leads to it", "a fallback runs only inside the step that it serves"
    before = _ancestors(names, member)
    late = [names.steps[parent].name for parent in other.parents if parent not in before]
    if late:
        yield f"it waits for {late[0]!r}, which is not surely before {member.name!r}", "let it refer to earlier steps"
    for field, silent in _OWN_RULES.items():
        if getattr(other.step, field, silent) != silent:
            hint = "take it away; the rules of the step that it serves hold"
            yield f"it has {field}:, which has no meaning inside another step", hint


def _ancestors(names: Names, member: PlannedStep) -> set[str]:
    """The siblings before a step, at any distance."""
    found: set[str] = set()
    waiting = [member]
    while waiting:
        current = waiting.pop()
        before = {*current.parents, *current.selectors} - found
        found |= before
        waiting += [names.steps[step_id] for step_id in before]
    return found
