"""Infer the schema of an expression's value, and find what is surely wrong before any run."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, assert_never

from state.values import Schema

from . import schemas as known
from .data import with_article
from .functions import FUNCTIONS
from .sentences import unfit
from .syntax import (
    Arithmetic,
    Call,
    Chain,
    Comparison,
    Constant,
    Link,
    ListLiteral,
    Logic,
    Name,
    Node,
    ObjectLiteral,
    Ternary,
    Unary,
)

BOOLEAN: Final[Schema] = {"type": "boolean"}
_ORDERED: Final = frozenset(("number", "string"))
_ADDED: Final = frozenset(("number", "string", "list"))
_ADDED_TYPES: Final = {"number": "number", "string": "string", "list": "array"}
_SEARCHED: Final = frozenset(("list", "string", "object"))
_TESTS: Final = {"list": "size({}) > 0", "object": "size({}) > 0", "string": "{} != ''", "number": "{} != 0"}
_BY_FIELD: Final = frozenset(("map", "pluck", "where", "sort_by", "group_by", "count"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that is surely wrong; positions count characters of the source from 0."""

    message: str
    start: int
    end: int
    hint: str = ""
    pointer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """The schema of a value, as far as it is known, and the faults found on the way."""

    schema: Schema
    faults: tuple[Fault, ...] = ()


def infer(tree: Node, source: str, schemas: Mapping[str, Schema]) -> Inference:
    """The schema of the tree's value when its roots have these schemas."""
    reading = _Reading(source, schemas)
    schema = reading.node(tree)
    return Inference(schema=schema, faults=tuple(reading.faults))


class _Reading:
    """One walk over a tree; collects faults."""

    def __init__(self, source: str, schemas: Mapping[str, Schema]) -> None:
        self.source = source
        self.schemas = schemas
        self.faults: list[Fault] = []

    def node(self, node: Node) -> Schema:
        """The schema of a node's value."""
        match node:
            case Constant():
                return known.constant(node.value)
            case Name():
                return self.schemas.get(node.name, {})
            case Chain():
                return self._chain(node)
            case Unary():
                return self._unary(node)
            case Logic():
                for operand in node.operands:
                    self._condition(operand, f"`{node.operator}`")
                return BOOLEAN
            case Comparison():
                self._comparison(node, self.node(node.left), self.node(node.right))
                return BOOLEAN
            case Arithmetic():
                return self._arithmetic(node)
            case Ternary():
                self._condition(node.condition, "the condition before `?`")
                return known.union([self.node(node.chosen), self.node(node.other)])
            case Call():
                return self._call(node)
            case ListLiteral():
                return known.list_of([self.node(part) for part in node.elements])
            case ObjectLiteral():
                return known.object_of({key: self.node(part) for key, part in node.fields})
            case _:
                assert_never(node)

    def _fault(self, node: Node, message: str, hint: str = "") -> None:
        self.faults.append(Fault(message=message, start=node.start, end=node.end, hint=hint))

    def _text(self, node: Node) -> str:
        return self.source[node.start : node.end]

    def _chain(self, node: Chain) -> Schema:
        schema = self.node(node.base)
        end = node.base.end
        faults = len(self.faults)
        for link in node.links:
            owner = self.source[node.start : end]
            schema = self._link(node, link, known.known(schema), owner)
            end = link.end
            if len(self.faults) > faults:
                return {}
        return known.nullable(schema) if any(link.optional for link in node.links) else schema

    def _link(self, node: Chain, link: Link, schema: Schema, owner: str) -> Schema:
        found = known.kinds(schema) - {"null"}
        key = link.key
        if isinstance(key, str):
            return self._field(node, schema, key, owner, link.end)
        if isinstance(key, int):
            if found and "list" not in found:
                self._wrong_container(node, found, owner, "no elements that an index can name", link.end)
            return known.element(schema, key)
        index = known.kinds(self.node(key))
        if index.isdisjoint(("string", "number")):
            self._fault(key, f"an index is a string or an integer, not {_listed(index)}")
        return known.element(schema) if found == {"list"} else {}

    def _field(self, node: Node, schema: Schema, name: str, owner: str, end: int) -> Schema:
        found = known.kinds(schema) - {"null"}
        if found and "object" not in found:
            self._wrong_container(node, found, owner, f"no field `{name}`", end)
            return {}
        declared = known.fields(schema)
        if found == {"object"} and declared is not None and name not in declared:
            self.faults.append(
                Fault(
                    message=f"`{owner}` has no field `{name}`",
                    start=node.start,
                    end=end,
                    hint=_nearest(name, list(declared)),
                )
            )
        return known.field(schema, name)

    def _wrong_container(self, node: Node, found: known.Kinds, owner: str, lack: str, end: int) -> None:
        hint = "name an element first, as in `[0]`" if found == {"list"} else ""
        message = f"`{owner}` is {_listed(found)} and has {lack}"
        self.faults.append(Fault(message=message, start=node.start, end=end, hint=hint))

    def _unary(self, node: Unary) -> Schema:
        if node.operator == "not":
            self._condition(node.operand, "`not`")
            return BOOLEAN
        schema = self.node(node.operand)
        if "number" not in known.kinds(schema):
            self._fault(node.operand, f"`-` needs a number, not {_listed(known.kinds(schema))}")
        return {"type": "integer"} if schema.get("type") == "integer" else {"type": "number"}

    def _condition(self, node: Node, place: str) -> None:
        found = known.kinds(self.node(node))
        if "boolean" in found:
            return
        test = next((_TESTS[kind] for kind in sorted(found) if kind in _TESTS), "")
        hint = f"write `{test.format(self._text(node))}`" if test else ""
        self._fault(node, f"{place} needs a boolean, not {_listed(found)}", hint)

    def _comparison(self, node: Comparison, left: Schema, right: Schema) -> None:
        first, second = known.kinds(left), known.kinds(right)
        both = f"{_listed(first)} and {_listed(second)}"
        match node.operator:
            case "==" | "!=":
                if not first & second and {"null"} not in (first, second):
                    self._fault(node, f"`{node.operator}` compares {both}, which are never equal")
                else:
                    self._choice(node, left, right)
            case "in" | "not in":
                if second.isdisjoint(_SEARCHED):
                    self._fault(node, f"`{node.operator}` cannot look for {both.replace(' and ', ' in ')}")
            case operator:
                if not first & second & _ORDERED:
                    self._fault(node, f"`{operator}` cannot order {both}")

    def _choice(self, node: Comparison, left: Schema, right: Schema) -> None:
        """A comparison with a text that is none of the texts that a value may have."""
        for constant, other in ((node.right, known.known(left)), (node.left, known.known(right))):
            possible = known.choices(other)
            if isinstance(constant, Constant) and isinstance(constant.value, str) and possible is not None:
                if constant.value not in possible:
                    texts = [value for value in possible if isinstance(value, str)]
                    hint = _nearest(constant.value, texts)
                    self._fault(node, f"the value is never '{constant.value}'", hint)
                return

    def _arithmetic(self, node: Arithmetic) -> Schema:
        result = self.node(node.first)
        for symbol, _, operand in node.rest:
            schema = self.node(operand)
            first, second = known.kinds(result), known.kinds(schema)
            possible = first & second & (_ADDED if symbol == "+" else {"number"})
            if not possible:
                verb = "cannot join" if symbol == "+" else "needs two numbers, not"
                hint = "write `string(x)` to join texts" if symbol == "+" and "string" in first | second else ""
                self._fault(node, f"`{symbol}` {verb} {_listed(first)} and {_listed(second)}", hint)
                return {}
            whole = symbol != "/" and result.get("type") == schema.get("type") == "integer"
            names = ["integer" if whole else _ADDED_TYPES[kind] for kind in sorted(possible)]
            result = {"type": names[0] if len(names) == 1 else names}
        return result

    def _call(self, node: Call) -> Schema:
        given = [self.node(part) for part in node.arguments]
        match node.function:
            case "default":
                return self._first_of(given)
            case "coalesce":
                return known.nullable(self._first_of([*given, {"type": "null"}]))
        function = FUNCTIONS[node.function]
        for index, (part, schema) in enumerate(zip(node.arguments, given, strict=True)):
            found = known.kinds(schema)
            if found.isdisjoint(function.accepts(index)):
                self._fault(part, unfit(node.function, index, function.accepts(index), _listed(found)))
        if node.function in _BY_FIELD and len(given) > 1:
            field = self._element_field(node, given[0])
            if node.function in ("map", "pluck"):
                return {"type": "array", "items": field} if field else {"type": "array"}
        return function.gives if isinstance(function.gives, dict) else function.gives(given)

    def _first_of(self, given: list[Schema]) -> Schema:
        kept = [known.without_null(schema) for schema in given[:-1]]
        return known.union([*(schema for schema in kept if schema is not None), given[-1]])

    def _element_field(self, node: Call, schema: Schema) -> Schema:
        """The schema of the field that a constant path names in the elements of a list."""
        path = node.arguments[1]
        if not isinstance(path, Constant) or not isinstance(path.value, str):
            return {}
        if "list" not in known.kinds(schema):
            return {}
        found = known.element(known.known(schema))
        owner, faults = "item", len(self.faults)
        for segment in path.value.split("."):
            name = segment.removesuffix("?")
            if name.isdigit() or segment != name:
                return {}
            found = self._field(path, known.known(found), name, owner, path.end)
            if len(self.faults) > faults:
                return {}
            owner = name
        return found


def _listed(found: known.Kinds) -> str:
    return " or ".join(with_article(kind) for kind in sorted(found))


def _nearest(name: str, candidates: list[str]) -> str:
    near = get_close_matches(name, candidates, n=1)
    if near:
        return f"did you mean `{near[0]}`?"
    return f"there are {', '.join(f'`{one}`' for one in candidates[:8])}" if candidates else ""
