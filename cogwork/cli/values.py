"""Text from the command line turned into the values that a JSON Schema asks for."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cogwork.cli.exits import Refusal
from state.values import Json, Schema

_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def coerced(schema: Schema, text: str) -> Json:
    """``text`` as the value that ``schema`` asks for; text as it is where nothing fits, so that the schema can say why."""
    choices = schema.get("enum")
    if isinstance(choices, list):
        return next((choice for choice in choices if _spelled(choice) == text), text)
    kinds = _kinds(schema)
    if "boolean" in kinds and text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    if "null" in kinds and text in ("null", ""):
        return None
    value = _json(text)
    if _is(value, kinds) and kinds != ["string"]:
        return value
    if "array" in kinds and "string" not in kinds:
        items = schema.get("items")
        return [coerced(items if isinstance(items, dict) else {}, text)]
    return value if not kinds and not isinstance(value, str) else text


def pair(text: str, option: str) -> tuple[str, str]:
    """The two sides of ``name=value``.

    Raises:
        Refusal: there is no ``=``, or nothing before it.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise Refusal(f"{option} {text!r} is not of the form name=value")
    return name.strip(), value


def gathered(schema: Schema, pairs: Iterable[str], given: str | None) -> dict[str, Json]:
    """A workflow's input from ``-i`` pairs over what ``--input`` gives; a list's name may be repeated.

    Raises:
        Refusal: a name that the schema does not have, or an ``--input`` that is no object.
    """
    made = document(given) if given is not None else {}
    properties: Mapping[str, Any] = schema.get("properties", {})
    repeated: dict[str, list[str]] = {}
    for text in pairs:
        name, value = pair(text, "-i")
        if name not in properties and schema.get("additionalProperties") is False:
            raise Refusal(f"The workflow has no input {name!r}", _known(name, properties))
        repeated.setdefault(name, []).append(value)
    for name, values in repeated.items():
        made[name] = _joined(name, properties.get(name) or {}, values)
    return made


def _joined(name: str, schema: Schema, values: list[str]) -> Json:
    if len(values) == 1:
        return coerced(schema, values[0])
    if _kinds(schema) != ["array"]:
        raise Refusal(f"The input {name!r} is given {len(values)} times and is no list")
    items = schema.get("items")
    return [coerced(items if isinstance(items, dict) else {}, value) for value in values]


def _known(name: str, properties: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, properties, 1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"it has {', '.join(properties)}" if properties else "it takes no input"


def document(given: str, option: str = "--input") -> dict[str, Json]:
    """The object that an option names: JSON, ``-`` for standard input, or a JSON or YAML file.

    Raises:
        Refusal: it is no object.
    """
    value = _named(given, option, "{")
    if not isinstance(value, dict):
        raise Refusal(f"{option} must give an object, not {type(value).__name__}")
    return dict(value)


def beside(results: str | None) -> dict[str, Json] | None:
    """What a run is given beside its input: the results that ``--tool-results`` names, as ``--input`` names an object.

    Raises:
        Refusal: it is not JSON.
    """
    return {"tool_results": _named(results, "--tool-results", ("{", "["))} if results is not None else None


def _named(given: str, option: str, begins: str | tuple[str, ...]) -> Json:
    """The value that an option gives, in JSON that begins so, or else names."""
    from graphs.language.yaml import read_file, read_yaml

    if given.lstrip().startswith(begins):
        return parsed(given, option)
    if given == "-":
        text = sys.stdin.read()
        return (
            parsed(text, f"{option} -") if text.lstrip().startswith(begins) else read_yaml(text, file="<stdin>").value
        )
    return read_file(Path(given)).value


def parsed(text: str, where: str) -> Json:
    """The JSON value of ``text``.

    Raises:
        Refusal: it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as err:
        raise Refusal(f"{where} is not JSON: {err}") from err


def _json(text: str) -> Json:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _spelled(choice: Json) -> str:
    return choice if isinstance(choice, str) else json.dumps(choice)


def _kinds(schema: Schema) -> list[str]:
    declared = schema.get("type")
    if isinstance(declared, str):
        return [declared]
    if isinstance(declared, list):
        return [kind for kind in declared if isinstance(kind, str)]
    options = [*(schema.get("anyOf") or []), *(schema.get("oneOf") or [])]
    return [kind for option in options if isinstance(option, dict) for kind in _kinds(option)]


def _is(value: Json, kinds: list[str]) -> bool:
    if isinstance(value, bool):
        return "boolean" in kinds
    if isinstance(value, int):
        return "integer" in kinds or "number" in kinds
    if isinstance(value, float):
        return "number" in kinds or ("integer" in kinds and value.is_integer())
    return (isinstance(value, list) and "array" in kinds) or (isinstance(value, dict) and "object" in kinds)
