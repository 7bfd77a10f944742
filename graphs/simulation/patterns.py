"""A text that fits a regular expression, for the simple ones that schemas hold."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from re import _parser as parser  # type: ignore[attr-defined]

_CATEGORIES = {"CATEGORY_DIGIT": "0", "CATEGORY_WORD": "a", "CATEGORY_SPACE": " ", "CATEGORY_NOT_DIGIT": "a"}


def example_of(pattern: str) -> str | None:
    """A short text in which the pattern is found; None where it is not one of the simple ones."""
    try:
        made = "".join(_part(part) for part in parser.parse(pattern))
        return made if re.search(pattern, made) else None
    except (re.error, ValueError, LookupError, RecursionError):
        return None


def _all(parts: Iterable[Any]) -> str:
    return "".join(_part(part) for part in parts)


def _part(part: Any) -> str:
    name, about = str(part[0]), part[1]
    match name:
        case "LITERAL":
            return chr(about)
        case "ANY" | "NOT_LITERAL":
            return "a"
        case "IN":
            return _member(about)
        case "AT":
            return ""
        case "SUBPATTERN":
            return _all(about[-1])
        case "BRANCH":
            return _all(about[1][0])
        case "MAX_REPEAT" | "MIN_REPEAT":
            times: int = max(about[0], min(1, int(about[1])))
            return _all(about[2]) * times
    raise ValueError(name)


def _member(options: Any) -> str:
    names = [str(option[0]) for option in options]
    if names[0] == "NEGATE":
        return next(c for c in "a0_ " if not re.fullmatch("[" + "".join(map(_source, options[1:])) + "]", c))
    kind, about = names[0], options[0][1]
    if kind == "LITERAL":
        return chr(about)
    return chr(about[0]) if kind == "RANGE" else _CATEGORIES[str(about)]


def _source(option: Any) -> str:
    kind, about = str(option[0]), option[1]
    if kind == "LITERAL":
        return re.escape(chr(about))
    if kind == "RANGE":
        return f"{re.escape(chr(about[0]))}-{re.escape(chr(about[1]))}"
    return {"CATEGORY_DIGIT": r"\d", "CATEGORY_WORD": r"\w", "CATEGORY_SPACE": r"\s"}[str(about)]
