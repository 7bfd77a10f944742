"""Schemas of an OpenAPI document as JSON Schemas that stand for themselves, with all they refer to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from cogwork.tools.openapi.document import Document, UnusableDocument
from state.values import Json, Schema

Direction: TypeAlias = Literal["request", "response"]
MAX_SCHEMAS: Final = 5_000
"""Of one operation, with all that it refers to."""
MAX_DEPTH: Final = 48
_PLAIN: Final = frozenset(
    (
        *("type", "enum", "const", "format", "title", "description", "default", "required", "pattern", "uniqueItems"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"),
        *("minItems", "maxItems", "minProperties", "maxProperties", "minContains", "maxContains", "dependentRequired"),
    )
)
_NAMED: Final = frozenset(("properties", "patternProperties", "dependentSchemas"))
_LISTED: Final = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
_SINGLE: Final = frozenset(
    (
        *("items", "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "contains", "propertyNames"),
        *("not", "if", "then", "else"),
    )
)
"""What is taken over; identifiers, anchors, examples and everything unknown are left out."""


class Bundle:
    """Schemas of one direction that share their definitions: what may only be read is not required in a request."""

    def __init__(self, document: Document, direction: Direction) -> None:
        self._document, self._hidden = document, "readOnly" if direction == "request" else "writeOnly"
        self._names: dict[str, str] = {}
        self._definitions: dict[str, Json] = {}
        self._left = MAX_SCHEMAS

    def schema(self, value: Json) -> Json:
        """The JSON Schema for a schema of the document; what it refers to is in ``definitions``.

        Raises:
            UnusableDocument: it refers to what is not in the document, or is too large.
        """
        made = self._converted(value, 0)
        while waiting := [ref for ref, name in self._names.items() if name not in self._definitions]:
            for ref in waiting:
                self._definitions[self._names[ref]] = self._converted(self._document.at(ref), 0)
        return made

    def whole(self, schema: Schema) -> Schema:
        """The schema with the definitions that it and others of this bundle use."""
        return {**schema, "$defs": dict(self._definitions)} if self._definitions else schema

    def _converted(self, value: Json, depth: int) -> Json:
        if isinstance(value, bool):
            return value
        self._left -= 1
        if not isinstance(value, Mapping):
            raise UnusableDocument("one of its schemas is no object")
        if depth > MAX_DEPTH or self._left < 0:
            raise UnusableDocument("its schemas are too large, or nested too deep")
        if "$ref" in value and self._document.old:
            return {"$ref": self._referred(value["$ref"])}
        made = {key: each for key, each in value.items() if key in _PLAIN}
        if "$ref" in value:
            made["$ref"] = self._referred(value["$ref"])
        for key, inner in value.items():
            if key in _NAMED and isinstance(inner, Mapping):
                made[key] = {str(name): self._converted(each, depth + 1) for name, each in inner.items()}
            elif key in _LISTED and isinstance(inner, list):
                made[key] = [self._converted(each, depth + 1) for each in inner]
            elif key in _SINGLE:
                made[key] = self._converted(inner, depth + 1)
        self._show(made, value)
        return _modern(made, value) if self._document.old else made

    def _show(self, made: dict[str, Any], value: Mapping[str, Json]) -> None:
        """Nothing is required that the other side alone may say."""
        properties = value.get("properties")
        if isinstance(made.get("required"), list) and isinstance(properties, Mapping):
            hidden = {name for name, each in properties.items() if self._is_hidden(each)}
            made["required"] = [name for name in made["required"] if name not in hidden]

    def _is_hidden(self, value: Json) -> bool:
        return isinstance(value, Mapping) and value.get(self._hidden) is True

    def _referred(self, reference: Json) -> str:
        self._document.at(reference)
        if reference not in self._names:
            last = re.sub(r"\W", "_", str(reference).rsplit("/", 1)[-1]) or "schema"
            taken = set(self._names.values())
            name = next(n for n in (last, *(f"{last}_{i}" for i in range(2, MAX_SCHEMAS + 3))) if n not in taken)
            self._names[reference] = name
        return f"#/$defs/{self._names[reference]}"


def _modern(made: dict[str, Any], value: Mapping[str, Json]) -> dict[str, Any]:
    """The ways of OpenAPI 3.0 in those of JSON Schema: bounds that are exclusive, and values that may be null."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        flag = made.get(exclusive)
        if isinstance(flag, bool):
            del made[exclusive]
            if flag and bound in made:
                made[exclusive] = made.pop(bound)
    if value.get("nullable") is not True:
        return made
    if isinstance(made.get("enum"), list) and None not in made["enum"]:
        made["enum"] = [*made["enum"], None]
    if isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
        return made
    return {"anyOf": [made, {"type": "null"}]} if made.keys() & {"allOf", "anyOf", "oneOf"} else made
