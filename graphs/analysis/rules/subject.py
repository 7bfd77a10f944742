"""What the rules look at: a plan with the services that it would be bound to, and its steps in order."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from graphs.analysis.plan import Plan, PlannedStep, Scope
from graphs.language.load import Workflow
from state.problems import Problem, Severity
from state.services import Services

MOST_COMPARED: Final = 100_000
"""How many names are compared in one check to find those that were meant; then names are no longer sought."""
_SHOWN: Final = 12


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A plan under examination."""

    plan: Plan
    services: Services
    compared: list[int] = field(default_factory=list, compare=False, repr=False)
    """How many names each search for a nearby one has compared."""

    def problem(
        self, document: int, code: str, message: str, pointer: str, hint: str = "", severity: Severity = "error"
    ) -> Problem:
        """A problem at its place in one of the plan's documents."""
        return self.plan.documents[document].problem(code, message, pointer, hint=hint, severity=severity)

    def at(
        self, step: PlannedStep, code: str, message: str, field: str = "", hint: str = "", severity: Severity = "error"
    ) -> Problem:
        """A problem at a field of a step."""
        return self.problem(step.document, code, message, step.pointer + field, hint, severity)

    def nearest(self, name: str, known: Iterable[str], words: str) -> str:
        """The hint for a name that is not among the known ones: which was meant, else some of them behind ``words``."""
        seeking = sum(self.compared) < MOST_COMPARED
        listed = list(known if seeking else islice(known, _SHOWN))
        close = difflib.get_close_matches(name, listed, 1) if seeking else []
        self.compared.append(len(listed) if seeking else 0)
        return f"did you mean {close[0]!r}?" if close else f"{words} {', '.join(listed[:_SHOWN]) or 'none'}"

    def roots(self) -> Iterator[tuple[Scope, Workflow]]:
        """The scope of every document: the workflow itself and what it uses."""
        for scope in self.plan.scopes.values():
            if scope.kind in ("workflow", "use"):
                yield scope, self.plan.documents[scope.document]

    def owner(self, scope: Scope) -> Scope:
        """The scope of the document that a scope belongs to."""
        while scope.kind not in ("workflow", "use"):
            scope = self.plan.scopes[scope.parent or ""]
        return scope

    def body(self, step: PlannedStep) -> Scope | None:
        """The scope that a loop or a used workflow opens; None for a node."""
        return self.plan.scopes.get(step.id)

    def within(self, step: PlannedStep) -> Iterator[Scope]:
        """The scope of a step and those around it, used workflows and all, up to the workflow that is started."""
        current: Scope | None = self.plan.scopes[step.scope]
        while current is not None:
            yield current
            current = self.plan.scopes[current.parent] if current.parent is not None else None

    def around(self, step: PlannedStep, scope: str) -> PlannedStep:
        """The step itself, or what holds it, that stands in ``scope``."""
        while step.scope != scope:
            step = self.plan.steps[self.plan.scopes[step.scope].header or ""]
        return step

    def stage(self, step: PlannedStep) -> Scope | None:
        """The block ``on_failure`` or ``finally`` that the step stands in, loops of the same document between them."""
        for scope in self.within(step):
            if scope.kind in ("stage", "workflow", "use"):
                return scope if scope.kind == "stage" else None
        return None

    def members(self, scope: Scope) -> Iterator[PlannedStep]:
        """The steps of a scope, each behind those that it waits for."""
        steps = self.plan.steps
        own = [steps[step_id] for step_id in scope.names.values()]
        waiting = {member.id: len({*member.parents, *member.selectors}) for member in own}
        free = [member for member in reversed(own) if not waiting[member.id]]
        while free:
            member = free.pop()
            yield member
            for successor in member.successors:
                waiting[successor] -= 1
                if not waiting[successor]:
                    free.append(steps[successor])
