"""Why a branch was not taken, as far as that can be read from the workflow itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from graphs.analysis.plan import Plan, PlannedStep
from graphs.analysis.rules.facts import Facts
from graphs.analysis.rules.logic import TRUE
from graphs.language.spec import ForEach
from graphs.simulation.coverage import Branch
from graphs.simulation.report import Bound, Gap
from nodes.base import CallingNode
from nodes.condition import ConditionNode
from nodes.human import HumanNode
from nodes.template import Value
from state.services import Services
from state.values import Json


def gaps(plan: Plan, services: Services, left: Iterable[Branch], bound: Bound) -> Iterator[Gap]:
    """The branches that are left, each with its reason; joins that cannot fail are no gaps."""
    facts = Facts(plan=plan, services=services)
    for branch in left:
        step = plan.steps[branch.step]
        if branch.way == "joined too few" and _sure(facts, step):
            continue
        yield Gap(branch=branch, reason=_known(facts, step, branch.way) or _otherwise(bound))


def _otherwise(bound: Bound) -> str:
    if bound:
        return f"not reached within the bound on {bound}"
    return "no value that was tried leads there"


def _sure(facts: Facts, step: PlannedStep) -> bool:
    """Whether the step starts in every run that does not fail."""
    return facts.presences.of[step.id].joined == TRUE if step.id in facts.presences.of else False


def _known(facts: Facts, step: PlannedStep, way: str) -> str:
    """The reason that the static check knows."""
    if way.startswith("failure") and not _can_fail(step):
        return "no failure of it is simulated: it calls nothing"
    pointer = _pointer(step, way)
    if pointer and (always := _constant(facts, step, pointer)) is not None:
        return f"its condition is always {str(always).lower()}"
    if isinstance(step.step, ForEach) and way.startswith("with ") and not isinstance(step.step.for_each, list):
        return _fixed_list(step)
    if step.kind == "undo":
        return "no step was taken back"
    return ""


def _can_fail(step: PlannedStep) -> bool:
    return step.node is None or isinstance(step.node, CallingNode | HumanNode)


def _pointer(step: PlannedStep, way: str) -> str:
    if way.startswith("when"):
        return "/when"
    if isinstance(step.step, ConditionNode):
        return f"/cases/{way.split()[1]}/if" if way.startswith("case ") else ""
    return "/repeat/until" if way.startswith(("until", "iterations")) else ""


def _constant(facts: Facts, step: PlannedStep, pointer: str) -> Json:
    """What the field surely evaluates to; None where that depends."""
    typed = facts.types.fields.get((step.id, pointer))
    if typed is None:
        return None
    if "const" in typed.schema:
        return typed.schema["const"]
    field = step.fields[pointer]
    if not isinstance(field, Value) and not field.references:
        return field.evaluate({})
    return None


def _fixed_list(step: PlannedStep) -> str:
    field = step.fields.get("/for_each")
    if field is not None and not isinstance(field, Value) and not [r for r in field.references if r.root != "vars"]:
        return "its list is always the same"
    return ""
