"""What the head of a prompt file declares: variables with their types and how they may be shortened, context, partials."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, get_args

from prompts.context import ROOTS
from prompts.frontmatter import Entry
from state.schemas import faults, schema_fault
from state.services import Cut, Keep, Variable
from state.values import Schema

TYPES: Final = ("string", "number", "integer", "boolean", "array", "object")
KEEPS: Final[tuple[str, ...]] = get_args(Keep)
MAX_TOKENS: Final = 100_000_000
_NAME = re.compile(r"[A-Za-z_]\w*")
_CONTEXT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*){0,7}")
_SCHEMA_KEYS: Final = ("type", "enum", "items", "properties")
_CUT_KEYS: Final = ("priority", "min", "max", "keep")
_VARIABLE_KEYS: Final = (*_SCHEMA_KEYS, "required", "default", "description", *_CUT_KEYS)


def variable(name: str, entry: Entry) -> Variable | str:
    """The declared variable, or what is wrong with it."""
    told = entry.value if isinstance(entry.content, dict) else {"type": entry.value}
    if wrong := _fault(name, told) or _cut_fault(told):
        return wrong
    return Variable(
        name=name,
        schema=_schema(told),
        required=told.get("required", "default" not in told),
        default=told.get("default"),
        description=str(told.get("description") or ""),
        cut=_cut(told),
    )


def context_fault(name: str) -> str | None:
    """Why a prompt cannot declare that part of the context."""
    root = name.partition(".")[0]
    if not _CONTEXT.fullmatch(name):
        return f"{name!r} is no name such as project or preferences.tone"
    if root not in ROOTS:
        return f"the context has no {root!r} for prompts; there are {', '.join(ROOTS)}"
    return None


def _schema(told: Mapping[str, Any]) -> Schema:
    return {key: told[key] for key in _SCHEMA_KEYS if key in told}


def _fault(name: str, told: Mapping[str, Any]) -> str | None:
    unknown = [key for key in told if key not in _VARIABLE_KEYS]
    schema = _schema(told)
    default = told.get("default")
    if not _NAME.fullmatch(name):
        return "the name must be letters, digits and '_', and not begin with a digit"
    if unknown:
        return f"unknown key {unknown[0]!r}; the keys are {', '.join(_VARIABLE_KEYS)}"
    if told.get("type", "string") not in TYPES or schema_fault(schema):
        return f"the type must be one of {', '.join(TYPES)}, with a usable schema"
    if not isinstance(told.get("required", False), bool):
        return "'required' must be true or false"
    if default is not None and (unfit := faults(schema, default)):
        return f"the default does not fit: {unfit[0]}"
    return None


def _cut(told: Mapping[str, Any]) -> Cut | None:
    """How the variable may be shortened; a list loses whole items, whatever is kept."""
    if not any(key in told for key in ("priority", "max")):
        return None
    keep = told.get("keep", "items" if told.get("type") == "array" else "head")
    return Cut(priority=told.get("priority"), least=told.get("min", 0), most=told.get("max"), keep=keep)


def _cut_fault(told: Mapping[str, Any]) -> str | None:
    given = [key for key in _CUT_KEYS if key in told]
    if not given:
        return None
    for key in ("priority", "min", "max"):
        number = told.get(key, 1)
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= MAX_TOKENS:
            return f"{key!r} must be a whole number from 0 to {MAX_TOKENS:,}"
    kind = told.get("type")
    if kind not in ("string", "array"):
        return f"{given[0]!r}: only text and lists can be shortened, so the type must be string or array"
    if told.get("keep", "head") not in KEEPS or (told.get("keep") == "items" and kind != "array"):
        return f"'keep' must be one of {', '.join(KEEPS if kind == 'array' else KEEPS[:3])}"
    if not {"priority", "max"} & set(given):
        return f"{given[0]!r} has no effect without 'priority' or 'max'"
    if told.get("min", 0) > told.get("max", MAX_TOKENS):
        return "'min' is greater than 'max'"
    return None
