"""Representatives of numbers and texts: one for every set of answers that the workflow's comparisons can give."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final

from graphs.simulation.demand import Demand, Test
from graphs.simulation.patterns import example_of
from state.schemas import faults
from state.values import Json, Schema

_FORMATS: Final = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "someone@example.org",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
}
MOST_CONSTANTS: Final = 6
"""Of more constants than this, the least and the greatest are tried."""


def scalars(schema: Schema, kind: str, demand: Demand) -> list[Json]:
    """Values of a kind (``string``, ``integer``, ``number``), at least one, those that nothing tells apart only once."""
    found = list(texts(schema, demand) if kind == "string" else numbers(schema, kind == "integer", demand))
    fitting = [value for value in found if not faults(schema, value)] or found[:1]
    if not demand.decisive:
        return fitting[:1]
    return list(fitting) if demand.opaque else distinct(fitting, demand.tests)


def distinct(values: Iterable[Json], tests: Iterable[Test]) -> list[Json]:
    """The first of the values for each set of answers to the tests."""
    ordered = sorted(tests, key=lambda t: (t.operator, t.text))
    found: dict[tuple[bool, ...], Json] = {}
    for value in values:
        found.setdefault(tuple(_holds(value, t) for t in ordered), value)
    return list(found.values())


def _holds(value: Json, asked: Test) -> bool:
    constant = asked.constant
    try:
        match asked.operator:
            case "==":
                return bool(value == constant and isinstance(value, bool) == isinstance(constant, bool))
            case "<":
                return bool(value < constant)
            case "<=":
                return bool(value <= constant)
            case ">":
                return bool(value > constant)
            case ">=":
                return bool(value >= constant)
            case "size":
                return bool(len(value) == constant)
            case "contains":
                return constant in value
            case "truth":
                return value is True
    except TypeError:
        return False


def numbers(schema: Schema, whole: bool, demand: Demand) -> list[float]:
    """Each constant, and values below and above it, within the bounds."""
    constants = sorted({c for c in demand.constants() if isinstance(c, int | float) and not isinstance(c, bool)})
    if len(constants) > MOST_CONSTANTS:
        constants = [*constants[: MOST_CONSTANTS // 2], *constants[-MOST_CONSTANTS // 2 :]]
    if whole:
        constants = sorted({int(c) for c in constants if float(c).is_integer()} | {_floor(c) for c in constants})
    low, high = _bound(schema, "inimum", 1, whole), _bound(schema, "aximum", -1, whole)
    first = [schema["default"]] if isinstance(schema.get("default"), int | float) else []
    if not constants:
        return [*first, *_within([1, 0, 2], low, high)]
    found: list[float] = []
    for index, constant in enumerate(constants):
        below = constants[index - 1] if index else low
        above = constants[index + 1] if index + 1 < len(constants) else high
        found += [constant, _between(constant, below, -1, whole), _between(constant, above, 1, whole)]
    return list(dict.fromkeys([*first, *_within(found, low, high)]))


def _floor(value: float) -> int:
    return int(value // 1)


def _between(constant: float, other: float | None, step: int, whole: bool) -> float:
    if whole or other is None or abs(other - constant) > 1:
        return constant + step
    return (constant + other) / 2 if other != constant else constant + step


def _bound(schema: Schema, ending: str, step: int, whole: bool) -> float | None:
    """The least or the greatest value; an exclusive bound is moved a little inwards."""
    side = "m" + ending
    plain, excluded = schema.get(side), schema.get(f"exclusiveM{ending}")
    if isinstance(excluded, int | float):
        return excluded + (step if whole else step * 1e-6)
    return plain if isinstance(plain, int | float) else None


def _within(values: Sequence[float], low: float | None, high: float | None) -> list[float]:
    inside = [v for v in values if (low is None or v >= low) and (high is None or v <= high)]
    return inside or [bound for bound in (low, high) if bound is not None][:1] or [0]


def texts(schema: Schema, demand: Demand) -> list[str]:
    """Each constant, a text that differs from all of them, and texts of the lengths that are asked for."""
    constants = [c for c in demand.constants() if isinstance(c, str)]
    first = [schema["default"]] if isinstance(schema.get("default"), str) else []
    first += [e for e in schema.get("examples", ()) if isinstance(e, str)][:1]
    ordered = any(t.operator in ("<", "<=", ">", ">=") for t in demand.tests)
    sizes = [n for n in demand.constants("size") if isinstance(n, int) and 0 <= n <= 1000]
    other = [_plain(schema, text) for text in ("text", "other", "something") if text not in constants]
    found = [*first, *constants, *other[: 2 if demand.opaque else 1], *("x" * n for n in sizes)]
    if ordered:
        found += ["", *(c + "~" for c in constants)]
    return list(dict.fromkeys(found if first or constants or sizes else [*other[: 2 if demand.opaque else 1], *found]))


def _plain(schema: Schema, text: str) -> str:
    """A text as the schema's form asks."""
    if isinstance(pattern := schema.get("pattern"), str) and (made := example_of(pattern)) is not None:
        return made
    if (form := _FORMATS.get(str(schema.get("format")))) is not None:
        if schema["format"] == "date" and text != "text":
            return str(dt.date(2000, 1, 2))
        return form
    least, most = schema.get("minLength", 0), schema.get("maxLength", 10_000)
    long: str = (text * (1 + least // len(text)))[: max(least, len(text))]
    return long[:most]
