"""One expression read for what it asks of the names in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from graphs.simulation.demand import Operator, Path, Test, Use, test
from nodes.expression.syntax import (
    Arithmetic,
    Call,
    Chain,
    Comparison,
    Constant,
    ListLiteral,
    Logic,
    Name,
    Node,
    ObjectLiteral,
    Ternary,
    Unary,
    children,
)
from state.values import Json

_TURNED: Final[Mapping[str, Operator]] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_SAME: Final = frozenset({"lower", "upper", "trim", "string", "number", "round", "floor", "ceil", "abs", "int", "json"})
_OF_LISTS: Final = frozenset({"unique", "sort", "reverse", "slice", "flatten", "sort_by"})
_UNKNOWN: Final = object()


@dataclass(frozen=True, slots=True)
class Mark:
    """A root that is read at a path, and how."""

    root: str
    path: Path
    use: Use


@dataclass(slots=True, kw_only=True)
class Reader:
    """Collects the marks of one expression; ``vars`` are the constants that it may name."""

    vars: Mapping[str, Json]
    marks: list[Mark] = field(default_factory=list)

    def read(self, node: Node, path: Path, use: Use) -> None:
        """The node's value is used at ``path`` in this way."""
        truth = use.only(test("truth", True))
        match node:
            case Constant():
                return
            case Name():
                self.marks.append(Mark(node.name, path, use))
            case Chain():
                self.chain(node, path, use)
            case Logic():
                for operand in node.operands:
                    self.read(operand, (), truth)
            case Unary(operator="not"):
                self.read(node.operand, (), truth)
            case Comparison():
                self.comparison(node, use)
            case Ternary():
                self.read(node.condition, (), truth)
                self.read(node.chosen, path, use)
                self.read(node.other, path, use)
            case ObjectLiteral():
                for key, part in node.fields:
                    if not path or path[0] == key:
                        self.read(part, path[1:], use if path else use.only())
            case ListLiteral():
                for part in node.elements:
                    self.read(part, path[1:], use if path else use.only())
            case Call():
                self.call(node, path, use)
            case Unary() | Arithmetic():
                self.blurred(node, use)

    def chain(self, node: Chain, path: Path, use: Use) -> None:
        """A base with links; ``?.`` provides for absence."""
        keys = tuple(link.key if isinstance(link.key, str | int) else None for link in node.links)
        absent = any(link.optional for link in node.links)
        self.read(node.base, (*keys, *path), use.also(absent=absent))
        for link in node.links:
            if not isinstance(link.key, str | int):
                self.read(link.key, (), use.only(opaque=True))

    def comparison(self, node: Comparison, use: Use) -> None:
        """Two operands: the constants on the one side are what the other is tested with."""
        for one, other, operator in (
            (node.left, node.right, node.operator),
            (node.right, node.left, _TURNED.get(node.operator, node.operator)),
        ):
            constant = self.constant(other)
            if constant is _UNKNOWN:
                values = [self.constant(part) for part in _inside(other)]
                tests = [test("==", value) for value in values if isinstance(value, bool | int | float | str)]
                self.read(one, (), use.only(*tests, opaque=True))
            else:
                self.read(one, (), self.tested(use, operator, constant, one is node.right))

    def tested(self, use: Use, operator: str, constant: Json, right: bool) -> Use:
        """The use of what is compared with a constant."""
        absent = constant is None
        if operator in ("in", "not in"):
            if right:
                return use.only(test("contains", constant))
            inside = (
                constant if isinstance(constant, list) else [*constant] if isinstance(constant, dict) else [constant]
            )
            return use.only(*(test("==", value) for value in inside), opaque=isinstance(constant, str))
        plain: Operator = operator if operator in _TURNED else "=="  # type: ignore[assignment]
        return use.only(test(plain, constant)).also(absent=absent)

    def call(self, node: Call, path: Path, use: Use) -> None:
        """A function's arguments, as far as it is known what it does with them."""
        first, *rest = node.arguments or (None,)
        if first is None:
            return
        name = node.function
        if name in ("default", "coalesce", "has"):
            others = [self.constant(part) for part in rest]
            used = use.only(test("truth", True)) if name == "has" else use
            tests = [test("==", v) for v in others if isinstance(v, bool | int | float | str)] if use.tests else []
            for part in node.arguments:
                self.read(part, path, used.also(*tests, absent=True))
        elif name in ("size", "length", "len"):
            sizes = [t.constant for t in use.tests if isinstance(t.constant, int)]
            around = sorted({n + d for n in sizes for d in (-1, 0, 1) if 0 <= n + d <= 100})
            self.read(first, (), use.only(*(test("size", n) for n in around or (0, 1, 2))))
        elif name in ("first", "last"):
            self.read(first, (None, *path), use)
            self.read(first, (), use.only(test("size", 0), test("size", 1)))
        elif name in _OF_LISTS or name in _SAME:
            self.read(first, path, use)
        else:
            self.blurred(node, use)

    def blurred(self, node: Node, use: Use) -> None:
        """What the node does is not followed: its names are tried with all constants in sight, and with what differs."""
        constants = [value for part in _inside(node) if (value := self.constant(part)) is not _UNKNOWN]
        wanted = [t.constant for t in use.tests]
        tests = {test("==", value) for value in [*constants, *wanted] if isinstance(value, bool | int | float | str)}
        tests |= _shifted(constants, wanted)
        fields = [value for value in constants if isinstance(value, str)] if isinstance(node, Call) else []
        for part in _inside(node):
            if isinstance(part, Name | Chain) and self.constant(part) is _UNKNOWN:
                self.read(part, (), use.only(*tests, opaque=True))
                if isinstance(node, Call) and part is node.arguments[0] and fields:
                    sizes = [test("size", n) for n in (0, 1, 2)]
                    self.read(part, (), use.only(*sizes))
                    self.read(part, (None, *fields[0].split(".")), use.only(*tests, opaque=True))

    def constant(self, node: Node) -> Json:
        """The value of a node that depends on nothing but the workflow's constants."""
        match node:
            case Constant():
                return node.value
            case Unary(operator="-", operand=Constant(value=int() | float() as number)):
                return -number
            case ListLiteral():
                values = [self.constant(part) for part in node.elements]
                return _UNKNOWN if any(value is _UNKNOWN for value in values) else values
            case Chain(base=Name(name="vars")):
                value: Json = dict(self.vars)
                for link in node.links:
                    try:
                        value = value[link.key]
                    except (LookupError, TypeError):
                        return _UNKNOWN
                return value
        return _UNKNOWN


_MOST_SHIFTED = 64
"""More values than these are not tried for one operand."""


def _shifted(constants: list[Json], wanted: list[Json]) -> set[Test]:
    """Numbers that arithmetic with the constants may lead to what is wanted."""
    numbers = [value for value in constants if isinstance(value, int | float) and not isinstance(value, bool)]
    goals = [value for value in wanted if isinstance(value, int | float) and not isinstance(value, bool)]
    made = [
        result for n in numbers for g in goals for result in (g - n, g + n, g * n, *((g / n, n / g) if n and g else ()))
    ]
    return {test("==", value) for value in made[:_MOST_SHIFTED]}


def _inside(node: Node) -> list[Node]:
    """The node and all its parts, but not the bases of chains."""
    found, waiting = [], [node]
    while waiting:
        part = waiting.pop()
        found.append(part)
        if not (isinstance(part, Chain) and isinstance(part.base, Name)):
            waiting.extend(children(part))
    return found
