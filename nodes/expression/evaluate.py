"""Turn a syntax tree into nested closures that compute its value."""

from collections.abc import Callable, Mapping
from typing import assert_never

from state.values import Json

from .chains import chain, root
from .data import described, kind, number, with_article
from .errors import Refusal
from .functions import FUNCTIONS, Function
from .limits import Meter
from .operators import ARITHMETIC, COMPARISONS
from .sentences import unfit
from .syntax import (
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
)

Closure = Callable[[Mapping[str, Json], Meter], Json]


def closure(node: Node, source: str) -> Closure:
    """The function that computes the node from names; it raises Refusal and nothing else of ours."""
    match node:
        case Constant():
            value = node.value
            return lambda names, meter: value
        case Name():
            return root(node)
        case Chain():
            return chain(node, source, lambda part: closure(part, source))
        case Unary(operator="not"):
            return _not(node, source)
        case Unary():
            return _negative(node, source)
        case Logic():
            return _logic(node, source)
        case Comparison():
            return _comparison(node, source)
        case Arithmetic():
            return _arithmetic(node, source)
        case Ternary():
            return _ternary(node, source)
        case Call():
            return _call(node, source)
        case ListLiteral():
            elements = [closure(part, source) for part in node.elements]
            return lambda names, meter: [element(names, meter) for element in elements]
        case ObjectLiteral():
            fields = [(key, closure(part, source)) for key, part in node.fields]
            return lambda names, meter: {key: field(names, meter) for key, field in fields}
        case _:
            assert_never(node)


def _boolean(node: Node, source: str, place: str) -> Closure:
    inner, start = closure(node, source), node.start

    def run(names: Mapping[str, Json], meter: Meter) -> bool:
        value = inner(names, meter)
        if value is True or value is False:
            return value
        raise Refusal("type", f"{place} needs a boolean, not {_described(value, start)}", start)

    return run


def _described(value: Json, start: int) -> str:
    try:
        return described(value)
    except Refusal as refusal:
        raise refusal.at(start) from None


def _not(node: Unary, source: str) -> Closure:
    operand = _boolean(node.operand, source, "`not`")
    return lambda names, meter: not operand(names, meter)


def _negative(node: Unary, source: str) -> Closure:
    operand, start = closure(node.operand, source), node.operand.start

    def run(names: Mapping[str, Json], meter: Meter) -> Json:
        value = operand(names, meter)
        try:
            if kind(value) != "number":
                raise Refusal("type", f"`-` needs a number, not {described(value)}")
            return number(-number(value))
        except Refusal as refusal:
            raise refusal.at(start) from None

    return run


def _logic(node: Logic, source: str) -> Closure:
    operands = [_boolean(part, source, f"`{node.operator}`") for part in node.operands]
    if node.operator == "and":
        return lambda names, meter: all(operand(names, meter) for operand in operands)
    return lambda names, meter: any(operand(names, meter) for operand in operands)


def _comparison(node: Comparison, source: str) -> Closure:
    left, right, start = closure(node.left, source), closure(node.right, source), node.start
    compare = COMPARISONS[node.operator]

    def run(names: Mapping[str, Json], meter: Meter) -> Json:
        first, second = left(names, meter), right(names, meter)
        try:
            return compare(first, second, meter)
        except Refusal as refusal:
            raise refusal.at(start) from None

    return run


def _arithmetic(node: Arithmetic, source: str) -> Closure:
    first = closure(node.first, source)
    rest = [(ARITHMETIC[symbol], place, closure(part, source)) for symbol, place, part in node.rest]

    def run(names: Mapping[str, Json], meter: Meter) -> Json:
        value = first(names, meter)
        for compute, place, operand in rest:
            second = operand(names, meter)
            try:
                value = compute(value, second, meter)
            except Refusal as refusal:
                raise refusal.at(place) from None
        return value

    return run


def _ternary(node: Ternary, source: str) -> Closure:
    condition = _boolean(node.condition, source, "the condition before `?`")
    chosen, other = closure(node.chosen, source), closure(node.other, source)
    return lambda names, meter: (chosen if condition(names, meter) else other)(names, meter)


def _call(node: Call, source: str) -> Closure:
    arguments = [closure(part, source) for part in node.arguments]
    match node.function:
        case "default":
            return _coalesce(arguments[:1], arguments[1])
        case "coalesce":
            return _coalesce(arguments, lambda names, meter: None)
        case "has":
            found = _coalesce(arguments, lambda names, meter: None)
            return lambda names, meter: found(names, meter) is not None
        case name:
            places = [part.start for part in node.arguments]
            return _plain_call(name, FUNCTIONS[name], arguments, node.start, places)


def _coalesce(candidates: list[Closure], last: Closure) -> Closure:
    """The first value that is neither missing nor null, else that of `last`."""

    def run(names: Mapping[str, Json], meter: Meter) -> Json:
        for candidate in candidates:
            try:
                value = candidate(names, meter)
            except Refusal as refusal:
                if refusal.kind != "missing":
                    raise
            else:
                if value is not None:
                    return value
        return last(names, meter)

    return run


def _plain_call(name: str, function: Function, arguments: list[Closure], start: int, places: list[int]) -> Closure:
    accepted = [function.accepts(index) for index in range(len(arguments))]

    def run(names: Mapping[str, Json], meter: Meter) -> Json:
        given = [argument(names, meter) for argument in arguments]
        try:
            for index, value in enumerate(given):
                found = kind(value)
                if found not in accepted[index]:
                    raise Refusal("type", unfit(name, index, accepted[index], with_article(found)), places[index])
                if found in ("list", "object"):
                    meter.walk(len(value))
                elif found == "string":
                    meter.read(len(value))
            return function.call(meter, *given)
        except Refusal as refusal:
            raise refusal.at(start) from None

    return run
