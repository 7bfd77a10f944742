"""Steps that can never run."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.analysis.plan import PlannedStep
from graphs.analysis.rules.facts import Facts
from graphs.analysis.rules.logic import FALSE
from nodes.base import AtLeast
from state.problems import Problem


def reach(facts: Facts) -> Iterator[Problem]:
    """``unreachable``: told of the first such step, not of those behind it."""
    never = {step_id for step_id, presence in facts.presences.of.items() if presence.started == FALSE}
    for step_id in never:
        step = facts.plan.steps[step_id]
        header = facts.plan.scopes[step.scope].header
        behind = {*step.parents, *step.selectors, *step.outer_required, *([header] if header else [])}
        if behind.isdisjoint(never) and not _asks_too_much(step):
            yield facts.at(step, "unreachable", *_reason(facts, step))


def _asks_too_much(step: PlannedStep) -> bool:
    """A fault of its own: ``bad_join``."""
    return isinstance(step.step.join, AtLeast) and step.step.join.at_least > len(step.parents)


def _reason(facts: Facts, step: PlannedStep) -> tuple[str, str, str]:
    """Message, field and hint."""
    required = [facts.plan.steps[parent].name for parent, needed in step.parents.items() if needed]
    hint = "guard one of the references (?. or default), or let one condition lead to this step"
    if len(required) > 1:
        return f"{step.name!r} can never run: it needs {' and '.join(required)}, which exclude each other", "", hint
    chosen = ", ".join(facts.plan.steps[selector].name for selector in step.selectors)
    if chosen:
        return f"{step.name!r} can never run: where {chosen} leads to it, what it needs is absent", "", hint
    return f"{step.name!r} can never run: its parents exclude each other or always fail first", "", hint
