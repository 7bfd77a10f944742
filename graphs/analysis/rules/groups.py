"""Parallel groups, held against the edges."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from graphs.analysis.plan import Scope
from graphs.analysis.rules.subject import Subject
from state.problems import Problem


def members(subject: Subject) -> Iterator[Problem]:
    """``unknown_group_member``."""
    for scope, workflow in subject.roots():
        for place, name in _members(workflow.spec.parallel_groups):
            if name not in scope.names:
                close = difflib.get_close_matches(name, scope.names, 1)
                hint = f"did you mean {close[0]!r}?" if close else "groups name the workflow's own steps"
                message = f"There is no step {name!r}"
                yield subject.problem(scope.document, "unknown_group_member", message, place, hint)


def order(subject: Subject) -> Iterator[Problem]:
    """``parallel_group_order``: members of a group wait for each other."""
    for scope, workflow in subject.roots():
        if not workflow.spec.parallel_groups:
            continue
        before = _before(subject, scope)
        for number, group in enumerate(workflow.spec.parallel_groups):
            known = [name for name in group if name in scope.names]
            for index, name in enumerate(known):
                for other in known[:index]:
                    yield from _ordered(subject, scope, before, number, other, name)


def _ordered(
    subject: Subject, scope: Scope, before: dict[str, int], number: int, one: str, two: str
) -> Iterator[Problem]:
    bits = {name: 1 << index for index, name in enumerate(scope.names)}
    for first, second in ((one, two), (two, one)):
        if before[second] & bits[first]:
            message = f"{second!r} waits for {first!r}, so they cannot run side by side"
            place = f"/parallel_groups/{number}"
            yield subject.problem(
                scope.document, "parallel_group_order", message, place, "take one of them out of the group"
            )


def _before(subject: Subject, scope: Scope) -> dict[str, int]:
    """For each name the set of names (a bit each) that come before it."""
    bits = {step_id: 1 << index for index, step_id in enumerate(scope.names.values())}
    behind: dict[str, int] = {}
    for member in subject.members(scope):
        behind[member.id] = 0
        for parent in (*member.parents, *member.selectors):
            behind[member.id] |= bits[parent] | behind[parent]
    return {name: behind[step_id] for name, step_id in scope.names.items()}


def _members(groups: list[list[str]]) -> Iterator[tuple[str, str]]:
    for number, group in enumerate(groups):
        for index, name in enumerate(group):
            yield f"/parallel_groups/{number}/{index}", name
