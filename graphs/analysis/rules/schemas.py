"""The schemas that a workflow declares: usable, and their own defaults fit them."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.analysis.rules.subject import Subject
from graphs.language.source import escaped
from graphs.language.spec import HumanNode, LlmNode, ToolNode, TransformNode
from state.problems import Problem
from state.schemas import faults, schema_fault, with_defaults
from state.values import Schema


def schemas(subject: Subject) -> Iterator[Problem]:
    """``bad_schema`` and ``bad_default``."""
    for scope, _ in subject.roots():
        yield from _declared(subject, scope.document, scope.input_schema, "/input")
    for step in subject.plan.steps.values():
        match step.step:
            case LlmNode(output=dict() as schema) | ToolNode(output=dict() as schema):
                yield from _declared(subject, step.document, schema, f"{step.pointer}/output")
            case TransformNode(output=dict() as schema):
                yield from _declared(subject, step.document, schema, f"{step.pointer}/output")
            case HumanNode() as node:
                yield from _declared(subject, step.document, node.form, f"{step.pointer}/form")
                yield from _late(subject, step.document, node, f"{step.pointer}/on_timeout")


def _declared(subject: Subject, document: int, schema: Schema, pointer: str) -> Iterator[Problem]:
    if (why := schema_fault(schema)) is not None:
        message = f"This is not a usable JSON Schema: {why}"
        yield subject.problem(document, "bad_schema", message, pointer, "see json-schema.org, draft 2020-12")
        return
    properties = schema.get("properties")
    for name, part in properties.items() if isinstance(properties, dict) else ():
        if not isinstance(part, dict) or "default" not in part:
            continue
        whole = {**{key: schema[key] for key in ("$defs", "definitions") if key in schema}, **part}
        for sentence in faults(whole, with_defaults(whole, part["default"]), limit=1):
            place = f"{pointer}/properties/{escaped(name)}/default"
            message = f"The default of {name!r} does not fit: {sentence}"
            yield subject.problem(document, "bad_default", message, place, "change the default or its type")


def _late(subject: Subject, document: int, node: HumanNode, pointer: str) -> Iterator[Problem]:
    """The answer that is taken when nobody gives one."""
    if "on_timeout" not in node.model_fields_set:
        return
    if schema_fault(node.form) is None:
        for sentence in faults(node.form, with_defaults(node.form, node.on_timeout), limit=1):
            message = f"The answer taken on time-out does not fit the form: {sentence}"
            yield subject.problem(document, "bad_default", message, pointer, "give an answer that a person could give")
    if node.timeout is None:
        message = "on_timeout has no effect without timeout"
        yield subject.problem(
            document, "without_effect", message, pointer, "add timeout: 3d, or leave it out", "warning"
        )
