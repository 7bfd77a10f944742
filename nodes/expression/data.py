"""JSON data as expressions see it: kinds, equality, size and text. Only exact built-in types count as data."""

import json
import math
from typing import Final, Literal

from state.values import Json

from .errors import Refusal
from .limits import DATA_DEPTH, INTEGER_MAX, INTEGER_MIN, RESULT, Meter

DataKind = Literal["null", "boolean", "number", "string", "list", "object"]

KINDS: Final[dict[type, DataKind]] = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "list",
    dict: "object",
}
_ARTICLES: Final = {"null": "null", "object": "an object"}
_SCALARS: Final = frozenset((type(None), bool, int, float, str))


def kind(value: Json) -> DataKind:
    """The kind of a value; refuses whatever is not JSON data."""
    try:
        return KINDS[type(value)]
    except KeyError:
        raise Refusal("type", f"a Python {type(value).__name__} is not JSON data") from None


def described(value: Json) -> str:
    """The kind of a value with its article, for messages."""
    return with_article(kind(value))


def with_article(name: str) -> str:
    """`a string`, `an object`, `null`."""
    return _ARTICLES.get(name, f"a {name}")


def equal(left: Json, right: Json, meter: Meter) -> bool:
    """Equality of JSON values: numbers by value, a boolean is no number, null equals only null."""
    if type(left) in _SCALARS and type(right) in _SCALARS:
        return bool(left == right) and (type(left) is bool) is (type(right) is bool)
    return identity(left, meter) == identity(right, meter)


def identity(value: Json, meter: Meter, depth: int = 0) -> object:
    """A hashable stand-in for a value: two values are equal if and only if their identities are."""
    if depth > DATA_DEPTH:
        raise Refusal("limit", f"the data is nested more than {DATA_DEPTH} levels deep")
    match kind(value):
        case "list":
            meter.walk(len(value))
            return ("list", tuple([identity(item, meter, depth + 1) for item in value]))
        case "object":
            meter.walk(len(value))
            return ("object", frozenset([(key, identity(item, meter, depth + 1)) for key, item in value.items()]))
        case name:
            return (name, value)


def size(value: Json, meter: Meter) -> int:
    """About how many characters the value takes as JSON; pays for the walk and stops at the limit."""
    total = 0
    waiting = [value]
    while waiting:
        item = waiting.pop()
        total += 4
        match kind(item):
            case "string":
                total += len(item)
            case "list":
                meter.walk(len(item))
                waiting.extend(item)
            case "object":
                meter.walk(len(item))
                total += sum(_key_length(key) for key in item)
                waiting.extend(item.values())
            case "number":
                number(item)
        if total > RESULT:
            meter.write(total)
    return total


def compact(value: Json, meter: Meter) -> str:
    """The value as JSON without spaces."""
    size(value, meter)
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (RecursionError, ValueError):
        raise Refusal("value", "the data has no JSON form (nested too deep or not finite)") from None
    meter.write(len(text))
    return text


def text(value: Json, meter: Meter) -> str:
    """The value inside of a text: strings as they are, null as nothing, everything else as JSON."""
    if type(value) is str:
        return value
    return "" if value is None else compact(value, meter)


def number(value: float) -> int | float:
    """The number itself, refused when it is no finite float and no integer of 64 bits."""
    if type(value) is int:
        if not INTEGER_MIN <= value <= INTEGER_MAX:
            raise Refusal("limit", "an integer does not fit into 64 bits")
    elif not math.isfinite(value):
        raise Refusal("limit", "a number is not finite")
    return value


def _key_length(key: object) -> int:
    if type(key) is not str:
        raise Refusal("type", f"a key of an object is a Python {type(key).__name__}, not a string")
    return len(key) + 4
