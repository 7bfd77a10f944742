"""Loops that cannot end by their own condition."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.analysis.names import references
from graphs.analysis.rules.subject import Subject
from graphs.language.spec import Repeat
from state.problems import Problem


def loops(subject: Subject) -> Iterator[Problem]:
    """``until_constant``: what ends the loop never changes while it runs."""
    for step in subject.plan.steps.values():
        if not isinstance(step.step, Repeat) or step.step.repeat.until is None:
            continue
        if "/repeat/until" not in step.fields:
            continue
        changing = {use.pointer for use in step.body_uses if not use.outer}
        roots = {reference.root for _, reference in references(step.fields["/repeat/until"])}
        if f"{step.pointer}/repeat/until" not in changing and roots.isdisjoint({"previous", "iteration"}):
            message = "until refers to nothing that changes from one iteration to the next"
            hint = "refer to a step of the body, to previous or to iteration"
            yield subject.at(step, "until_constant", message, "/repeat/until", hint, "warning")
