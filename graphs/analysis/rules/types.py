"""The types of all values of a plan, inferred from schemas in the order in which the steps run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from graphs.analysis.plan import Lookup, PlannedStep, Scope
from graphs.analysis.rules.fitting import literal
from graphs.analysis.rules.subject import Subject
from graphs.language.spec import ForEach
from nodes.base import Node
from nodes.expression import Fault
from nodes.expression.schemas import element, known, nullable, union
from nodes.transform import TransformNode
from state.values import Schema

_MOST_PARTS: Final = 3_000
_UNDO: Final = "/undo/args"
_WHOLE: Final[Schema] = {"type": "integer"}
_ERROR: Final[Schema] = {"anyOf": [{"type": "object"}, {"type": "null"}]}
_RUN: Final[Schema] = {
    "type": "object",
    "properties": {"id": {}, "attempt": {}, "started_at": {}, "status": {}, "error": {}},
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What was inferred for one field: its place, its schema and what is surely wrong in it."""

    document: int
    pointer: str
    schema: Schema
    faults: tuple[Fault, ...]


class Types:
    """``values`` by step id, ``fields`` by step id and pointer, ``results`` by scope id."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._constants: dict[int, Schema] = {}
        self._items: dict[str, Schema] = {}
        self.values: dict[str, Schema] = {}
        self.fields: dict[tuple[str, str], Typed] = {}
        self.results: dict[str, Typed] = {}
        self._scope(subject.plan.scopes[""])

    def __iter__(self) -> Iterator[Typed]:
        yield from self.fields.values()
        yield from self.results.values()

    def _scope(self, scope: Scope) -> None:
        for member in self._subject.members(scope):
            self._fields(member, scope)
            body = self._subject.body(member)
            if body is not None:
                self._items[member.id] = self._item(member)
                self._scope(body)
                self._body(member, body)
            self.values[member.id] = _bounded(self._value(member, body))
            if _UNDO in member.fields:
                self._infer(member, _UNDO, self._names(scope, member.undo_lookups))
        for holder in scope.stages.values():
            self._scope(self._subject.plan.scopes[holder])
        if scope.output is not None:
            found = scope.output.infer(self._names(scope, scope.output_lookups))
            self.results[scope.id] = Typed(
                document=scope.document, pointer="/output", schema=found.schema, faults=found.faults
            )

    def _fields(self, member: PlannedStep, scope: Scope) -> None:
        """The types of a step's fields; the variables in ``with`` are names in the fields after it."""
        names = self._names(scope, member.lookups)
        own = {slot.pointer: slot.local for slot in member.step.slots()} if isinstance(member.step, Node) else {}
        for pointer in member.fields:
            local = own.get(pointer)
            if pointer == _UNDO or (pointer in ("/output", "/repeat/until") and member.node is None):
                continue
            given = self.fields.get((member.id, "/with"))
            extra = _parts(given.schema) if local and given else {}
            self._infer(member, pointer, {**names, **extra} if extra else names)

    def _body(self, member: PlannedStep, body: Scope) -> None:
        names = self._names(body, member.body_lookups)
        for pointer in ("/repeat/until", "/output"):
            if member.node is None and pointer in member.fields:
                self._infer(member, pointer, names)

    def _infer(self, member: PlannedStep, pointer: str, names: Mapping[str, Schema]) -> None:
        found = member.fields[pointer].infer(names)
        self.fields[member.id, pointer] = Typed(
            document=member.document, pointer=member.pointer + pointer, schema=found.schema, faults=found.faults
        )

    def _names(self, scope: Scope, lookups: Iterable[Lookup]) -> dict[str, Schema]:
        """Root name to schema, seen from a scope."""
        names: dict[str, Schema] = {}
        steps: dict[str, Schema] = {}
        for lookup in lookups:
            match lookup.kind:
                case "node":
                    names[lookup.root] = self.values.get(lookup.target, {})
                case "meta":
                    steps[lookup.root] = self._metadata(lookup.target)
                case "loop":
                    names[lookup.root] = self._loop(scope, lookup.root)
                case "input":
                    names["input"] = _open(self._subject.owner(scope).input_schema)
                case "vars":
                    names["vars"] = _open(self._vars(scope))
                case "run":
                    names["run"] = _RUN
        if steps:
            names["steps"] = {"type": "object", "properties": steps}
        return names

    def _metadata(self, step_id: str) -> Schema:
        about = {
            "status": {"enum": ["pending", "done", "skipped", "failed", "open", "waiting", "running"]},
            "success": {"type": "boolean"},
            "cause": _ERROR,
            "error": _ERROR,
            "errors": {"type": "array"},
            "attempts": _WHOLE,
            "fallback": {"type": ["string", "null"]},
            "output": self.values.get(step_id, {}),
        }
        return {"type": "object", "properties": about}

    def _vars(self, scope: Scope) -> Schema:
        if scope.document not in self._constants:
            self._constants[scope.document] = literal(dict(scope.vars))
        return self._constants[scope.document]

    def _loop(self, scope: Scope, root: str) -> Schema:
        if root in ("index", "iteration"):
            return _WHOLE
        if root not in ("item", "previous"):
            return {}
        kind = "for_each" if root == "item" else "repeat"
        while scope.kind != kind and scope.parent is not None:
            scope = self._subject.plan.scopes[scope.parent]
        return self._items.get(scope.id, {})

    def _item(self, member: PlannedStep) -> Schema:
        """The type of ``item``; ``previous`` is not known before the body is."""
        listed = self.fields.get((member.id, "/for_each"))
        if not isinstance(member.step, ForEach) or listed is None:
            return {}
        schema = known(listed.schema)
        if isinstance(schema.get("const"), list):
            schema = literal(schema["const"])
        prefix = schema.get("prefixItems")
        return union(prefix) if isinstance(prefix, list) and prefix else element(schema)

    def _value(self, member: PlannedStep, body: Scope | None) -> Schema:
        """The type of a step's value."""
        step = member.step
        if isinstance(step, TransformNode) and step.output is None:
            return self._schema(member.id, "/set")
        if isinstance(step, Node):
            return step.result_schema(self._subject.services)
        inner = self._yield(member, body)
        if not isinstance(step, ForEach):
            return inner
        item = nullable(inner) if inner and step.on_item_error == "collect" else inner
        return {"type": "array", "items": item} if item else {"type": "array"}

    def _yield(self, member: PlannedStep, body: Scope | None) -> Schema:
        """The type of what a scope yields: its output, else its single last node, which may have been skipped."""
        if member.id in self.results:
            return self.results[member.id].schema
        if (member.id, "/output") in self.fields:
            return self._schema(member.id, "/output")
        steps = self._subject.plan.steps
        leaves = [leaf for leaf in body.leaves if steps[leaf].kind != "condition"] if body is not None else []
        single = self.values.get(leaves[0], {}) if len(leaves) == 1 else {}
        return nullable(single) if single else {}

    def _schema(self, step_id: str, pointer: str) -> Schema:
        found = self.fields.get((step_id, pointer))
        if found is None:
            return {}
        return literal(found.schema["const"]) if "const" in found.schema else found.schema


def _bounded(schema: Schema) -> Schema:
    """The schema, or nothing where it is too large: values made of values double from step to step."""
    count, waiting = 0, [schema]
    while waiting:
        current: Any = waiting.pop()
        count += 1
        if count > _MOST_PARTS:
            return {}
        if isinstance(current, dict):
            waiting.extend(current.values())
        elif isinstance(current, list):
            waiting.extend(current)
    return schema


def _parts(schema: Schema) -> dict[str, Schema]:
    if isinstance(schema.get("const"), dict):
        return {name: {"const": value} for name, value in schema["const"].items()}
    return dict(schema.get("properties", {}))


def _open(schema: Schema) -> Schema:
    """Without the claim that there are no other fields: those are reported by a rule with a better sentence."""
    return {**schema, "additionalProperties": True}
