"""Conditions as formulas: what is equal in two conditions is one variable, ``and``, ``or`` and ``not`` keep their meaning."""

from __future__ import annotations

from collections.abc import Hashable

from graphs.analysis.plan import PlannedStep
from graphs.analysis.rules.logic import FALSE, TRUE, Formula, Logic
from nodes import expression
from nodes.condition import ConditionNode
from nodes.expression import syntax
from nodes.expression.parse import parse

_OPPOSITES = {"!=": "==", "not in": "in"}
_WAITING = frozenset({"default", "all", "always"})


def field_formula(logic: Logic, step: PlannedStep, pointer: str) -> Formula:
    """When the condition at ``pointer`` holds."""
    compiled = step.fields.get(pointer)
    if not isinstance(compiled, expression.Expression):
        literal = compiled.evaluate({}) if compiled is not None else None
        return TRUE if literal is True else FALSE if literal is False else logic.variable((step.id, pointer))
    shared: Hashable = step.scope if _is_stable(step) else (step.id, pointer)
    return _formula(logic, parse(compiled.source, islands=True), compiled.source, shared)


def selections(logic: Logic, step: PlannedStep) -> dict[str, Formula]:
    """When a condition that runs chooses each of its targets, by name."""
    node = step.step
    assert isinstance(node, ConditionNode)
    chosen: dict[str, Formula] = {}
    none_before = TRUE
    for index, case in enumerate(node.cases):
        holds = field_formula(logic, step, f"/cases/{index}/if")
        taken = logic.all((holds, none_before)) if node.match == "first" else holds
        for name in _names(case.then):
            chosen[name] = logic.any((chosen.get(name, FALSE), taken))
        none_before = logic.all((none_before, logic.no(holds)))
    for name in _names(node.else_ or []):
        chosen[name] = logic.any((chosen.get(name, FALSE), none_before))
    return chosen


def _names(targets: str | list[str]) -> list[str]:
    return [targets] if isinstance(targets, str) else targets


def _is_stable(step: PlannedStep) -> bool:
    """Whether the step's conditions see the same values as those of any other such step of its scope: not where a value
    may still arrive, or where a status may still change."""
    settled = step.step.join in _WAITING
    return settled and not any(use.meta or (use.outer and use.guarded) for use in step.uses)


def _formula(logic: Logic, tree: syntax.Node, source: str, shared: Hashable) -> Formula:
    match tree:
        case syntax.Constant(value=True):
            return TRUE
        case syntax.Constant(value=False):
            return FALSE
        case syntax.Unary(operator="not"):
            return logic.no(_formula(logic, tree.operand, source, shared))
        case syntax.Logic():
            parts = [_formula(logic, operand, source, shared) for operand in tree.operands]
            return logic.all(parts) if tree.operator == "and" else logic.any(parts)
        case syntax.Comparison():
            left, right = (source[part.start : part.end] for part in (tree.left, tree.right))
            positive = _OPPOSITES.get(tree.operator, tree.operator)
            found = logic.variable((shared, positive, left, right))
            return found if positive == tree.operator else logic.no(found)
        case _:
            return logic.variable((shared, source[tree.start : tree.end]))
