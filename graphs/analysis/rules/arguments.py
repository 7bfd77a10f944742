"""What is passed to tools, prompts and used workflows, held against what they declare."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphs.analysis.plan import PlannedStep
from graphs.analysis.rules.facts import Facts
from graphs.analysis.rules.fitting import misfit
from graphs.language.source import escaped
from graphs.language.spec import LlmNode, ToolNode, Use
from nodes.base import CallingNode
from nodes.expression.schemas import nullable
from state.problems import Problem, Severity
from state.schemas import schema_fault
from state.services import PromptFile
from state.values import Json, Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class _Passed:
    """Named values on their way to something that declares them."""

    step: PlannedStep
    field: str
    to: str
    values: Mapping[str, Json]
    schema: Schema
    filled: bool = False
    """Whether defaults are filled in before the values are checked."""
    inherited: str = ""
    """Where the values stand in for others: the place of what receives them."""
    missing: str = "missing_argument"
    unknown: str = "unknown_argument"
    word: str = "argument"

    @property
    def properties(self) -> Mapping[str, Any]:
        """The declared names."""
        found = self.schema.get("properties", {})
        return found if isinstance(found, dict) else {}


def names(facts: Facts) -> Iterator[Problem]:
    """``missing_argument``, ``unknown_argument``, ``prompt_missing_variable``, ``prompt_unknown_variable``."""
    for passed in _all(facts):
        yield from _missing(facts, passed)
        yield from _unknown(facts, passed)


def types(facts: Facts) -> Iterator[Problem]:
    """``argument_type``."""
    for passed in _all(facts):
        if schema_fault(passed.schema) is not None:
            continue
        typed = facts.types.fields.get((passed.step.id, passed.field))
        if typed is None or typed.faults:
            continue
        found = list(_unfit(facts, passed, typed.schema))
        yield from found
        if not found and "const" in typed.schema and _names_fit(facts, passed):
            if why := misfit(typed.schema, passed.schema, passed.schema):
                message = f"The {passed.word}s of {passed.to}: {why}"
                yield facts.at(passed.step, "argument_type", message, passed.inherited or passed.field)


def _all(facts: Facts) -> Iterator[_Passed]:
    for step in facts.plan.steps.values():
        if isinstance(step.step, CallingNode):
            yield from _beside(facts, step, step.step)
        match step.step:
            case ToolNode() as node:
                tool = facts.services.tools.find(node.tool)
                if tool is not None:
                    yield _Passed(step=step, field="/args", to=node.tool, values=node.args, schema=tool.args_schema)
            case Use() as use:
                inner = facts.plan.scopes.get(step.id)
                if inner is not None:
                    yield _Passed(
                        step=step, field="/with", to=use.use, values=use.with_, schema=inner.input_schema, filled=True
                    )
            case LlmNode() as node if node.prompt_file is not None:
                mode = node.mode or facts.plan.scopes[step.scope].mode
                prompt = facts.services.prompts.find(node.prompt_file, mode=mode)
                if prompt is not None:
                    yield _prompted(step, node, prompt)


def _beside(facts: Facts, step: PlannedStep, node: CallingNode) -> Iterator[_Passed]:
    """What is passed to the step's undo, and to the tools that serve as its fallbacks: without arguments of their own they
    get those of the tool that they replace."""
    if node.undo is not None and (undoes := facts.services.tools.find(node.undo.tool)) is not None:
        yield _Passed(
            step=step, field="/undo/args", to=node.undo.tool, values=node.undo.args, schema=undoes.args_schema
        )
    for index, fallback in enumerate(node.fallback):
        place = f"/fallback/{index}"
        tool = facts.services.tools.find(fallback.tool) if fallback.tool is not None else None
        if tool is None:
            continue
        name, schema = str(fallback.tool), tool.args_schema
        if fallback.args is None and isinstance(node, ToolNode):
            yield _Passed(step=step, field="/args", to=name, values=node.args, schema=schema, inherited=f"{place}/tool")
        else:
            yield _Passed(step=step, field=f"{place}/args", to=name, values=fallback.args or {}, schema=schema)


def _prompted(step: PlannedStep, node: LlmNode, prompt: PromptFile) -> _Passed:
    return _Passed(
        step=step,
        field="/with",
        to=f"the prompt {prompt.name!r}",
        values=node.with_,
        schema={
            "type": "object",
            "properties": {
                variable.name: dict(variable.schema) if variable.required else nullable(dict(variable.schema))
                for variable in prompt.variables
            },
            "required": [variable.name for variable in prompt.variables if variable.required],
            "additionalProperties": False,
        },
        missing="prompt_missing_variable",
        unknown="prompt_unknown_variable",
        word="variable",
    )


def _missing(facts: Facts, passed: _Passed) -> Iterator[Problem]:
    required = passed.schema.get("required", [])
    for name in required if isinstance(required, list) else []:
        declared = passed.properties.get(name)
        if name in passed.values or (passed.filled and isinstance(declared, dict) and "default" in declared):
            continue
        parent, _, last = passed.field.rpartition("/")
        place = passed.inherited or (passed.field if passed.values else parent)
        hint = f"add {name}: … under {'args' if passed.inherited else last}"
        message = f"{passed.to} needs the {passed.word} {name!r}"
        yield facts.at(passed.step, passed.missing, message, place, hint)


def _unknown(facts: Facts, passed: _Passed) -> Iterator[Problem]:
    rest = passed.schema.get("additionalProperties", None if passed.properties else True)
    if rest not in (None, False) or "patternProperties" in passed.schema:
        return
    severity: Severity = "error" if rest is False else "warning"
    for name in passed.values:
        if name not in passed.properties:
            close = difflib.get_close_matches(name, passed.properties, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(passed.properties) or 'none'}"
            message = f"{passed.to} has no {passed.word} {name!r}"
            yield facts.at(passed.step, passed.unknown, message, _place(passed, name), hint, severity)


def _unfit(facts: Facts, passed: _Passed, given: Schema) -> Iterator[Problem]:
    parts = given.get("properties", {})
    if isinstance(given.get("const"), dict):
        parts = {name: {"const": value} for name, value in given["const"].items()}
    for name, part in parts.items():
        if name in passed.properties and (why := misfit(part, passed.properties[name], passed.schema)):
            place, _, sentence = why.partition(": ")
            inner = "" if place == "the top" else f" at {place}"
            message = f"The {passed.word} {name!r} of {passed.to}{inner} {sentence}"
            yield facts.at(passed.step, "argument_type", message, _place(passed, name))


def _names_fit(facts: Facts, passed: _Passed) -> bool:
    return not any(problem.severity == "error" for problem in (*_missing(facts, passed), *_unknown(facts, passed)))


def _place(passed: _Passed, name: str) -> str:
    return passed.inherited or f"{passed.field}/{escaped(name)}"
