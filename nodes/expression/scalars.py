"""Functions over texts and numbers."""

import json
import math
import re
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, NoReturn

from state.values import Json

from .data import compact, text
from .data import number as checked
from .errors import Refusal
from .limits import RESULT, Meter

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?")
_EXACT: Final = 1e15
_BOOLEANS: Final = {"true": True, "false": False}


def lower(meter: Meter, value: str) -> str:
    """The text in lower case."""
    meter.write(len(value))
    return value.lower()


def upper(meter: Meter, value: str) -> str:
    """The text in upper case."""
    meter.write(len(value))
    return value.upper()


def trim(meter: Meter, value: str) -> str:
    """The text without white space around it."""
    return value.strip()


def starts_with(meter: Meter, value: str, prefix: str) -> bool:
    """Whether the text begins so."""
    return value.startswith(prefix)


def ends_with(meter: Meter, value: str, suffix: str) -> bool:
    """Whether the text ends so."""
    return value.endswith(suffix)


def join(meter: Meter, items: list[Json], separator: str = "") -> str:
    """The elements as texts, with the separator between them."""
    length = len(separator) * max(0, len(items) - 1)
    parts = []
    for item in items:
        parts.append(text(item, meter))
        length += len(parts[-1])
        if length > RESULT:
            meter.write(length)
    meter.write(length)
    return separator.join(parts)


def split(meter: Meter, value: str, separator: str | None = None) -> list[str]:
    """The parts of the text between separators, or between stretches of white space."""
    if separator == "":
        raise Refusal("value", "`split` needs a separator that is not empty")
    meter.write(len(value))
    meter.walk(len(value) // 2 if separator is None else value.count(separator))
    return value.split(separator)


def replace(meter: Meter, value: str, old: str, new: str) -> str:
    """The text with every `old` replaced."""
    if old == "":
        raise Refusal("value", "`replace` needs something to look for")
    meter.write(len(value) + value.count(old) * (len(new) - len(old)))
    return value.replace(old, new)


def rounded(meter: Meter, value: float, digits: float = 0) -> int | float:
    """The number rounded to so many decimals, halves away from zero; without decimals an integer."""
    if type(digits) is not int or not 0 <= digits <= 15:
        raise Refusal("value", "`round` takes 0 to 15 decimals")
    checked(value)
    if type(value) is int:
        return value
    if abs(value) >= _EXACT:
        return value if digits else checked(int(value))
    exact = Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)
    return float(exact) if digits else int(exact)


def floor(meter: Meter, value: float) -> int | float:
    """The next integer below."""
    return checked(math.floor(checked(value)))


def ceil(meter: Meter, value: float) -> int | float:
    """The next integer above."""
    return checked(math.ceil(checked(value)))


def absolute(meter: Meter, value: float) -> int | float:
    """The number without its sign."""
    return checked(abs(checked(value)))


def to_json(meter: Meter, value: Json) -> str:
    """The value as JSON text."""
    return compact(value, meter)


def parse_json(meter: Meter, value: str) -> Json:
    """The value that the JSON text holds."""
    meter.write(len(value))
    meter.walk(value.count(",") + value.count("[") + value.count("{"))
    try:
        return json.loads(value, parse_constant=_no_constant, parse_int=_parsed_int, parse_float=_parsed_float)
    except (json.JSONDecodeError, RecursionError):
        raise Refusal("value", "the text is not JSON") from None


def string(meter: Meter, value: Json) -> str:
    """The value as it appears inside of a text."""
    return text(value, meter)


def integer(meter: Meter, value: float | str) -> int | float:
    """The number without its decimals, or the integer that the text holds."""
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value.strip()):
            raise Refusal("value", "the text is not an integer")
        return checked(int(value))
    return checked(int(checked(value)))


def numeric(meter: Meter, value: float | str) -> int | float:
    """The number itself, or the one that the text holds."""
    if not isinstance(value, str):
        return checked(value)
    stripped = value.strip()
    if not _NUMBER.fullmatch(stripped):
        raise Refusal("value", "the text is not a number")
    return checked(int(stripped) if _INTEGER.fullmatch(stripped) else float(stripped))


def boolean(meter: Meter, value: bool | str) -> bool:
    """The boolean itself, or the one that the text `true` or `false` names."""
    if isinstance(value, str):
        word = value[:20].strip().lower()
        if word not in _BOOLEANS:
            raise Refusal("value", "the text is neither `true` nor `false`")
        return _BOOLEANS[word]
    return value


def date(meter: Meter, value: str) -> str:
    """The day of an ISO 8601 date or time, as `YYYY-MM-DD`, in the time zone that it is written in."""
    try:
        return datetime.fromisoformat(value[:64].strip()).date().isoformat()
    except ValueError:
        raise Refusal("value", "the text is not an ISO 8601 date") from None


def _no_constant(name: str) -> NoReturn:
    raise Refusal("value", f"`{name}` is not JSON")


def _parsed_int(digits: str) -> int | float:
    if len(digits) > 20:
        raise Refusal("limit", "an integer does not fit into 64 bits")
    return checked(int(digits))


def _parsed_float(digits: str) -> int | float:
    return checked(float(digits))
