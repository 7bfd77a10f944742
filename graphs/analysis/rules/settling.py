"""Which steps have surely come to their end when a step starts, where joins do not wait for every parent."""

from __future__ import annotations

from graphs.analysis.plan import PlannedStep
from graphs.analysis.rules.presence import Presences
from graphs.analysis.rules.subject import Subject
from nodes.base import AtLeast


def is_hasty(step: PlannedStep) -> bool:
    """Whether the step may start while some of its parents are still at work."""
    join = step.step.join
    return join == "any" or isinstance(join, AtLeast)


class Settling:
    """For every step the set of siblings (a bit each) that are settled when it starts."""

    def __init__(self, subject: Subject, presences: Presences) -> None:
        self._bits = {step_id: 1 << index for index, step_id in enumerate(subject.plan.steps)}
        self._steps = subject.plan.steps
        self._presences = presences
        self._before: dict[str, int] = {}
        for scope in subject.plan.scopes.values():
            for member in subject.members(scope):
                self._before[member.id] = self._settled(member)

    def surely(self, step: PlannedStep, sibling: str) -> bool:
        """Whether ``sibling`` is settled whenever ``step`` starts."""
        return bool(self._before.get(step.id, 0) & self._bits[sibling])

    def _settled(self, step: PlannedStep) -> int:
        parents = [self._bits[parent] | self._before[parent] for parent in step.parents]
        settled = 0
        if is_hasty(step) and parents:
            settled = _common(parents)
        elif parents:
            for parent, behind in zip(step.parents, parents, strict=True):
                certain = self._presences.implied(self._presences.of[step.id].joined, parent)
                settled |= behind if certain else self._bits[parent]
        choosers = [self._bits[selector] | self._before[selector] for selector in step.selectors]
        return settled | (_common(choosers) if choosers else 0)


def _common(sets: list[int]) -> int:
    common = sets[0]
    for other in sets[1:]:
        common &= other
    return common
