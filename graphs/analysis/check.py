"""Check a workflow before it runs: every problem at once, in a stable order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from graphs.analysis.expand import Resolve, expand
from graphs.analysis.plan import Plan
from graphs.analysis.rules import LOCAL, SOUND, TYPED
from graphs.analysis.rules.codes import CODES
from graphs.analysis.rules.facts import Facts
from graphs.language.load import Workflow
from state.problems import Problem
from state.services import Services

_ENDLESS: Final = frozenset({"cycle", "self_reference", "too_large"})
"""Faults without which steps have no order in which their types could be inferred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """A workflow's plan and all that is wrong with it; the plan can be built only when there are no errors."""

    plan: Plan
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that refuse the workflow."""
        return tuple(problem for problem in self.problems if problem.severity == "error")


def analyse(workflow: Workflow, services: Services, resolve: Resolve) -> Analysis:
    """The plan of a workflow and its problems, sorted by place, each once."""
    plan, problems = expand(workflow, resolve)
    facts = Facts(plan=plan, services=services)
    rules = [*LOCAL]
    codes = {problem.code for problem in problems}
    if codes.isdisjoint(_ENDLESS):
        rules += TYPED
    if not codes:
        rules += SOUND
    found = {*problems, *(w for document in plan.documents for w in document.warnings)}
    for rule in rules:
        found.update(rule(facts))
    return Analysis(plan=plan, problems=tuple(sorted(found, key=Problem.sort_key)))


def check(workflow: Workflow, services: Services, resolve: Resolve) -> list[Problem]:
    """Every problem of a workflow, sorted by place, each once."""
    return list(analyse(workflow, services, resolve).problems)


__all__ = ["CODES", "Analysis", "analyse", "check"]
