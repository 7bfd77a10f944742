"""Joins that cannot mean what they say."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.analysis.rules.subject import Subject
from nodes.base import AtLeast
from state.problems import Problem


def joins(subject: Subject) -> Iterator[Problem]:
    """``bad_join`` and ``join_without_parents``."""
    for step in subject.plan.steps.values():
        join, count = step.step.join, len(step.parents)
        if join == "default":
            continue
        if not count:
            message = f"{step.name!r} waits for no step, so its join has no effect"
            hint = "name the parents with depends_on:, or leave the join out"
            severe = isinstance(join, AtLeast)
            if not severe:
                yield subject.at(step, "join_without_parents", message, "/join", hint, "warning")
        if isinstance(join, AtLeast) and join.at_least > count:
            message = f"{step.name!r} waits for {join.at_least} parents and has {count}"
            hint = f"ask for at most {count}" if count else "name the parents with depends_on:"
            yield subject.at(step, "bad_join", message, "/join/at_least", hint)
