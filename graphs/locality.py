"""Where a workflow may run: the labels that it and all that it uses require of an instance."""

from __future__ import annotations

from collections.abc import Iterable

from graphs.analysis.plan import Plan
from nodes.base import CallingNode
from nodes.tool import ToolNode
from state.errors import Fault
from state.services import Services


def required_labels(plan: Plan, services: Services | None = None) -> frozenset[str]:
    """The labels that the workflow of the plan and those that it uses require; with ``services`` also those of the workflows that
    its steps name as tools."""
    found = {label for document in plan.documents for label in document.spec.requires.labels}
    if services is not None:
        for name in _named(plan):
            found |= getattr(services.tools.find(name), "required_labels", frozenset())
    return frozenset(found)


def admit(plan: Plan, services: Services) -> None:
    """Go on only where the instance has what the workflow requires.

    Raises:
        Fault: ``permission_denied``, with the ``labels`` that are missing.
    """
    if services.labels is None or not (missing := required_labels(plan) - services.labels):
        return
    raise Fault(
        "permission_denied", refusal(plan.spec.name, missing), origin="workflow", details={"labels": [*missing]}
    )


def refusal(workflow: str, missing: Iterable[str]) -> str:
    """Why an instance does not run the workflow, in one sentence."""
    listed = ", ".join(sorted(missing))
    return f"{workflow} requires an instance with the labels {listed}, and this one lacks them (setting: labels)"


def _named(plan: Plan) -> set[str]:
    """The tools that the plan's steps name."""
    names: set[str] = set()
    for planned in plan.steps.values():
        node = planned.step
        if isinstance(node, ToolNode):
            names.add(node.tool)
        if isinstance(node, CallingNode):
            names |= {fallback.tool for fallback in node.fallback if fallback.tool is not None}
    return names
