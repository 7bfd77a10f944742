"""What the operators compute, once their operands are values."""

import operator
from collections.abc import Callable
from typing import Final

from state.values import Json

from .data import described, equal, number
from .errors import Refusal
from .limits import Meter

Operation = Callable[[Json, Json, Meter], Json]

_NUMBERS: Final = frozenset((int, float))


def _add(left: Json, right: Json, meter: Meter) -> Json:
    if type(left) in _NUMBERS and type(right) in _NUMBERS:
        return number(number(left) + number(right))
    if type(left) is str and type(right) is str:
        meter.write(len(left) + len(right))
        return left + right
    if type(left) is list and type(right) is list:
        meter.walk(len(left) + len(right))
        return left + right
    advice = "; write `string(x)` to join texts" if str in (type(left), type(right)) else ""
    raise Refusal("type", f"`+` cannot join {described(left)} and {described(right)}{advice}")


def _numeric(symbol: str, compute: Callable[[int | float, int | float], int | float]) -> Operation:
    def operation(left: Json, right: Json, meter: Meter) -> Json:
        if type(left) not in _NUMBERS or type(right) not in _NUMBERS:
            message = f"`{symbol}` needs two numbers, not {described(left)} and {described(right)}"
            raise Refusal("type", message)
        try:
            return number(compute(number(left), number(right)))
        except ZeroDivisionError:
            raise Refusal("value", f"`{symbol}` by zero") from None

    return operation


def _divide(left: float, right: float) -> int | float:
    if type(left) is int and type(right) is int and left % right == 0:
        return left // right
    return left / right


def _ordering(symbol: str, compare: Callable[[Json, Json], bool]) -> Operation:
    def operation(left: Json, right: Json, meter: Meter) -> Json:
        both_numbers = type(left) in _NUMBERS and type(right) in _NUMBERS
        if not both_numbers and not (type(left) is str and type(right) is str):
            raise Refusal("type", f"`{symbol}` cannot order {described(left)} and {described(right)}")
        return compare(left, right)

    return operation


def _in(left: Json, right: Json, meter: Meter) -> bool:
    if type(right) is list:
        meter.walk(len(right))
        return any(equal(left, item, meter) for item in right)
    if type(left) is str and type(right) in (str, dict):
        if type(right) is str:
            meter.read(len(right))
        return left in right
    raise Refusal("type", f"`in` cannot look for {described(left)} in {described(right)}")


ARITHMETIC: Final[dict[str, Operation]] = {
    "+": _add,
    "-": _numeric("-", operator.sub),
    "*": _numeric("*", operator.mul),
    "/": _numeric("/", _divide),
    "%": _numeric("%", operator.mod),
}
"""`/` gives an integer where two integers divide without rest; `%` has the sign of its right side."""

COMPARISONS: Final[dict[str, Operation]] = {
    "==": equal,
    "!=": lambda left, right, meter: not equal(left, right, meter),
    "<": _ordering("<", operator.lt),
    "<=": _ordering("<=", operator.le),
    ">": _ordering(">", operator.gt),
    ">=": _ordering(">=", operator.ge),
    "in": _in,
    "not in": lambda left, right, meter: not _in(left, right, meter),
}
