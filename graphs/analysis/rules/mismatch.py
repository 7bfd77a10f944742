"""Expressions whose types do not fit, and fields that need one type and get another."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.analysis.rules.facts import Facts
from graphs.analysis.rules.fitting import misfit
from graphs.language.spec import ForEach, TransformNode
from nodes.condition import ConditionNode
from nodes.expression.data import with_article
from nodes.expression.schemas import kinds
from state.problems import Problem
from state.schemas import schema_fault

_WORD = {"boolean": "true or false", "list": "a list"}


def mismatch(facts: Facts) -> Iterator[Problem]:
    """``type_mismatch``."""
    for typed in facts.types:
        for fault in typed.faults:
            yield facts.problem(
                typed.document, "type_mismatch", fault.message, typed.pointer + fault.pointer, fault.hint
            )
    for step_id, step in facts.plan.steps.items():
        for pointer in step.fields:
            need = _needed(step.step, pointer)
            typed_field = facts.types.fields.get((step_id, pointer))
            if need is None or typed_field is None or typed_field.faults:
                continue
            found = kinds(typed_field.schema)
            if need not in found:
                have = " or ".join(with_article(kind) for kind in sorted(found))
                message = f"This must be {_WORD[need]}, and is {have}"
                yield facts.at(step, "type_mismatch", message, pointer, _hint(need))
        if isinstance(step.step, TransformNode) and step.step.output is not None:
            typed_set = facts.types.fields.get((step_id, "/set"))
            if typed_set is None or schema_fault(step.step.output) is not None:
                continue
            if why := misfit(typed_set.schema, step.step.output, step.step.output):
                hint = "change the value, or the declared output"
                yield facts.at(step, "type_mismatch", f"The value does not fit the output: {why}", "/set", hint)


def _needed(step: object, pointer: str) -> str | None:
    """The kind that a field must yield."""
    if pointer in ("/when", "/repeat/until"):
        return "boolean"
    if isinstance(step, ForEach) and pointer == "/for_each":
        return "list"
    if isinstance(step, ConditionNode) and pointer.startswith("/cases/"):
        return "boolean"
    return None


def _hint(need: str) -> str:
    return "compare it, as in x == 'yes' or size(x) > 0" if need == "boolean" else "name the list, as in search.items"
