"""Limits that say something and do nothing."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.analysis.rules.subject import Subject
from state.problems import Problem


def idle_limits(subject: Subject) -> Iterator[Problem]:
    """``without_effect``: a run has one set of limits, those of the workflow that was started."""
    for scope, workflow in subject.roots():
        set_here = [name for name, limit in workflow.spec.limits if limit is not None]
        if scope.kind == "use" and set_here:
            listed = " and ".join(f"limits.{name}" for name in set_here)
            message = f"{listed} of {workflow.spec.name!r} {'have' if len(set_here) > 1 else 'has'} no effect where it is used"
            hint = "the limits of the workflow that is started count for all that it uses"
            user = subject.plan.steps[scope.id]
            yield subject.at(user, "without_effect", message, "/use", hint, "warning")
