"""Names that mean two things."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.analysis.rules.subject import Subject
from state.problems import Problem


def clashes(subject: Subject) -> Iterator[Problem]:
    """``input_clash``: a step and an input of one name."""
    inputs = {scope.document: scope.input_schema.get("properties", {}) for scope, _ in subject.roots()}
    for step in subject.plan.steps.values():
        made = step.kind in ("stage", "undo") or subject.plan.scopes[step.scope].made
        if not made and step.name in inputs[step.document]:
            message = f"{step.name!r} is both a step and an input"
            yield subject.at(step, "input_clash", message, hint="rename one of the two")
