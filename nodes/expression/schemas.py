"""JSON Schemas as static types: what kinds a value may have, and the schema of a part of it.

An empty schema means that nothing is known. What this module does not understand counts as unknown, so that
only what is surely wrong becomes a fault.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from state.values import Json, Schema

from .data import KINDS, DataKind

Kinds = frozenset[DataKind]

UNKNOWN: Final[Kinds] = frozenset(KINDS.values())
_KINDS: Final[dict[str, DataKind]] = {
    "null": "null",
    "boolean": "boolean",
    "integer": "number",
    "number": "number",
    "string": "string",
    "array": "list",
    "object": "object",
}
_TYPES: Final[dict[DataKind, str]] = {kind: name for name, kind in _KINDS.items() if name != "integer"}
_COMBINED: Final = frozenset(
    ("allOf", "anyOf", "oneOf", "not", "if", "$ref", "$dynamicRef", "dependentSchemas", "patternProperties")
)
_NESTING: Final = _COMBINED | {"properties", "additionalProperties", "items", "prefixItems"}
_REFERENCES: Final = 16
_ALTERNATIVES: Final = 64


def known(schema: object) -> Schema:
    """The schema with its local references followed, and with the one alternative that is not null."""
    for _ in range(_REFERENCES):
        if not isinstance(schema, dict):
            return {}
        alternatives = [part for part in _alternatives(schema) if not _is_null(part)]
        if "$ref" in schema:
            schema = _target(schema)
        elif len(alternatives) == 1 and "allOf" not in schema:
            schema = _within(schema, alternatives[0])
        else:
            return schema
    return {}


def kinds(schema: object) -> Kinds:
    """The kinds that a value of this schema may have."""
    found: Kinds = frozenset()
    waiting = [schema]
    for _ in range(_ALTERNATIVES):
        if not waiting:
            return found
        found |= _own_kinds(waiting.pop(), waiting)
    return UNKNOWN


def _own_kinds(schema: object, waiting: list[object]) -> Kinds:
    """The kinds that the schema states itself; adds to `waiting` those that it refers to."""
    if not isinstance(schema, dict):
        return UNKNOWN
    if "const" in schema:
        return _kinds_of([schema["const"]])
    if isinstance(schema.get("enum"), list):
        return _kinds_of(schema["enum"])
    if "type" in schema:
        named = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        stated = all(isinstance(name, str) and name in _KINDS for name in named)
        return frozenset(_KINDS[name] for name in named) if named and stated else UNKNOWN
    further = [_target(schema)] if "$ref" in schema else _alternatives(schema)
    waiting.extend(_within(schema, part) for part in further)
    return frozenset() if further else UNKNOWN


def fields(schema: Schema) -> dict[str, Schema] | None:
    """The declared fields of an object when it can have no others, else None."""
    properties = schema.get("properties", {})
    if not isinstance(properties, dict) or not _COMBINED.isdisjoint(schema):
        return None
    closed = schema.get("additionalProperties", not properties) is False
    return properties if closed else None


def field(schema: Schema, name: str) -> Schema:
    """The schema of a field, as far as it is known."""
    properties = schema.get("properties")
    if isinstance(properties, dict) and name in properties:
        return _within(schema, properties[name])
    if not _COMBINED.isdisjoint(schema):
        return {}
    return _within(schema, schema.get("additionalProperties"))


def element(schema: Schema, index: int | None = None) -> Schema:
    """The schema of a list's element, at that index or at any."""
    prefix = schema.get("prefixItems")
    if not isinstance(prefix, list) or not prefix:
        return _within(schema, schema.get("items"))
    if index is not None and 0 <= index < len(prefix):
        return _within(schema, prefix[index])
    return {}


def choices(schema: Schema) -> list[Json] | None:
    """The only values that a scalar schema admits, when it lists them."""
    found = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(found, list) or any(isinstance(value, list | dict) for value in found):
        return None
    return found


def union(schemas: Iterable[Schema]) -> Schema:
    """A schema for a value that has one of these schemas."""
    parts: list[Schema] = []
    for schema in schemas:
        if not schema:
            return {}
        if schema not in parts:
            parts.append(schema)
    if len(parts) > _ALTERNATIVES:
        return {}
    return parts[0] if len(parts) == 1 else {"anyOf": parts}


def nullable(schema: Schema) -> Schema:
    """The schema that admits null as well."""
    return schema if "null" in kinds(schema) else union([schema, {"type": "null"}])


def without_null(schema: Schema) -> Schema | None:
    """The schema without null; None when nothing is left."""
    if kinds(schema) == {"null"}:
        return None
    if isinstance(schema.get("type"), list):
        return {**schema, "type": [name for name in schema["type"] if name != "null"]}
    parts = _alternatives(schema)
    if parts and any(_is_null(part) for part in parts):
        return union(_within(schema, part) for part in parts if not _is_null(part))
    return schema


def constant(value: Json) -> Schema:
    """The schema of one scalar."""
    name = "integer" if type(value) is int else _TYPES[KINDS[type(value)]]
    return {"type": name, "const": value}


def object_of(parts: Mapping[str, Schema]) -> Schema:
    """The schema of an object with exactly these fields."""
    properties = dict(parts)
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def list_of(parts: list[Schema]) -> Schema:
    """The schema of a list with exactly these elements."""
    if not parts:
        return {"type": "array", "maxItems": 0}
    return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}


def list_like(schema: Schema) -> Schema:
    """The schema of a list that has the same kind of elements in another order or number."""
    item = known(schema) if "list" in kinds(schema) else {}
    return {"type": "array"} if not element(item) else {"type": "array", "items": element(item)}


def _alternatives(schema: Schema) -> list[Json]:
    found = schema.get("anyOf", schema.get("oneOf"))
    return found if isinstance(found, list) and len(found) <= _ALTERNATIVES else []


def _is_null(schema: object) -> bool:
    return isinstance(schema, dict) and (schema.get("type") == "null" or schema.get("const", 0) is None)


def _target(schema: Schema) -> Schema:
    reference, definitions = schema["$ref"], schema.get("$defs")
    if not isinstance(reference, str) or not isinstance(definitions, dict):
        return {}
    return _within(schema, definitions.get(reference.removeprefix("#/$defs/")))


def _within(outer: Schema, inner: object) -> Schema:
    """The inner schema, able to follow references into the outer one's definitions."""
    if not isinstance(inner, dict):
        return {}
    if "$defs" in outer and "$defs" not in inner and not _NESTING.isdisjoint(inner):
        return {**inner, "$defs": outer["$defs"]}
    return inner


def _kinds_of(values: list[Json]) -> Kinds:
    return frozenset(KINDS[type(value)] for value in values if type(value) in KINDS) or UNKNOWN
