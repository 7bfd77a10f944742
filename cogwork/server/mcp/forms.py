"""Forms of human steps as forms that MCP clients can show: flat objects of plain fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from state.values import Json, Schema

_SHOWN: Final = ("title", "description", "default")
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "string": ("minLength", "maxLength"),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
    "boolean": (),
}
_FORMATS: Final = ("email", "uri", "date", "date-time")


def elicitable(form: Schema) -> dict[str, Any] | None:
    """The form as a client may be asked to show it; None where it asks for more than plain fields.

    What it cannot say (patterns, further formats) is left out; the answer is checked by the whole form when it comes.
    """
    properties = form.get("properties")
    if form.get("type") != "object" or not isinstance(properties, Mapping):
        return None
    if any(key in form for key in ("allOf", "anyOf", "oneOf", "not", "if", "$ref", "patternProperties")):
        return None
    fields = {name: _field(schema) for name, schema in properties.items()}
    if any(field is None for field in fields.values()):
        return None
    required = [name for name in form.get("required", ()) if name in fields]
    return {"type": "object", "properties": fields, **({"required": required} if required else {})}


def _field(schema: Any) -> dict[str, Any] | None:
    if not isinstance(schema, Mapping):
        return None
    shown = {key: schema[key] for key in _SHOWN if schema.get(key) is not None}
    kind = _kind(schema)
    if kind == "choice":
        return {"type": "string", **shown, "enum": [str(value) for value in schema.get("enum") or [schema["const"]]]}
    if kind == "array":
        return _several(schema, shown)
    if kind not in _KEYS or not _plain(shown.get("default")):
        return None
    limits = {key: schema[key] for key in _KEYS[kind] if key in schema}
    form = {"format": schema["format"]} if kind == "string" and schema.get("format") in _FORMATS else {}
    return {"type": kind, **shown, **limits, **form}


def _kind(schema: Mapping[str, Any]) -> str:
    """What the field asks for; ``choice`` is one of some texts, empty what a client cannot ask for."""
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if values is not None:
        return "choice" if values and all(isinstance(value, str) for value in values) else ""
    kind = schema.get("type")
    if isinstance(kind, list):
        rest = [each for each in kind if each != "null"]
        kind = rest[0] if len(rest) == 1 else ""
    return str(kind or "")


def _several(schema: Mapping[str, Any], shown: dict[str, Any]) -> dict[str, Any] | None:
    items = schema.get("items")
    if not isinstance(items, Mapping) or _kind(items) != "choice":
        return None
    limits = {key: schema[key] for key in ("minItems", "maxItems") if key in schema}
    return {"type": "array", **shown, **limits, "items": {"type": "string", "enum": list(items.get("enum") or ())}}


def _plain(value: Json) -> bool:
    return value is None or isinstance(value, str | int | float | bool)
