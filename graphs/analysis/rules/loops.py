"""Loops that cannot end by their own condition, or that cannot mean what they say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from graphs.analysis.names import references
from graphs.analysis.rules.subject import Subject
from graphs.language.spec import ForEach, Repeat
from state.problems import Problem

MAX_ITEMS: Final = 10_000
"""Items that a list written into a spec may have."""


def lists(subject: Subject) -> Iterator[Problem]:
    """``too_many_items`` and, for a share of successes that is never looked at, ``without_effect``."""
    for step in subject.plan.steps.values():
        loop = step.step
        if not isinstance(loop, ForEach):
            continue
        if isinstance(loop.for_each, list) and len(loop.for_each) > MAX_ITEMS:
            message = f"The list has {len(loop.for_each):,} items; one written into a spec may have {MAX_ITEMS:,}"
            hint = "hand the items in as an input, or let a tool read them, in portions"
            yield subject.at(step, "too_many_items", message, "/for_each", hint)
        if loop.min_success is not None and loop.on_item_error == "fail":
            message = "min_success is never looked at: the first item that fails ends the loop"
            hint = "add on_item_error: skip or collect, or take min_success: away"
            yield subject.at(step, "without_effect", message, "/min_success", hint, "warning")


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
