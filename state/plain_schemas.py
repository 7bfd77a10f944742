"""The quick way through the schemas that most tools and forms have: types, properties and required ones, nothing else."""

from __future__ import annotations

from typing import Any, Final

from state.values import Json

_SAYS_NOTHING: Final = frozenset({"title", "description", "default", "examples"})
_JUDGED: Final = _SAYS_NOTHING | {"type", "properties", "required", "additionalProperties"}
_TYPES: Final[dict[str, frozenset[type]]] = {
    "string": frozenset({str}),
    "integer": frozenset({int}),
    "number": frozenset({int, float}),
    "boolean": frozenset({bool}),
    "null": frozenset({type(None)}),
}


def surely_fits(schema: Any, value: Json) -> bool:
    """Whether ``value`` fits a usable ``schema`` that says only what this module knows; False means: ask the validator."""
    if type(schema) is not dict or not schema.keys() <= _JUDGED:
        return False
    wanted = schema.get("type")
    if wanted == "object":
        return type(value) is dict and _object_fits(schema, value)
    if wanted is None:
        return schema.keys() <= _SAYS_NOTHING
    return type(wanted) is str and type(value) in _TYPES.get(wanted, ())


def _object_fits(schema: dict[str, Any], value: dict[str, Json]) -> bool:
    properties = schema.get("properties", {})
    if not all(name in value for name in schema.get("required", ())):
        return False
    closed = schema.get("additionalProperties", True) is not True
    for name, item in value.items():
        if name in properties:
            if not surely_fits(properties[name], item):
                return False
        elif closed:
            return False
    return True
