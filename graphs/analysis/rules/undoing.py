"""What an undo refers to is there whenever the step is done."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.analysis.plan import PlannedStep, Reading
from graphs.analysis.rules.facts import Facts
from state.problems import Problem


def undoing(facts: Facts) -> Iterator[Problem]:
    """``undo_reference``: its arguments are taken when the step is done, so what they name must be over by then."""
    for step in facts.plan.steps.values():
        for reading in step.undo_uses:
            if reading.target == step.id:
                continue
            why = _why(facts, step, reading)
            if why is not None:
                hint = f"refer to {step.name} itself, or to what it needs; what it uses comes before it"
                yield facts.problem(step.document, "undo_reference", why, reading.pointer, hint)


def _why(facts: Facts, step: PlannedStep, reading: Reading) -> str | None:
    other = facts.plan.steps[reading.target]
    waiting = facts.around(step, other.scope)
    if not facts.settling.surely(waiting, other.id):
        return f"{other.name!r} may still be at work when {step.name!r} is done, and its undo is prepared then"
    if reading.guarded or reading.meta or facts.presences.certain(step, other.id):
        return None
    return f"{other.name!r} may be skipped, and the undo of {step.name!r} needs it"
