"""Schemas of an OpenAPI document as JSON Schemas that stand for themselves, with all they refer to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from cogwork.tools.openapi.document import Document, UnusableDocument
from state.schemas import schema_fault
from state.values import Json, Schema

Direction: TypeAlias = Literal["request", "response"]
MAX_SCHEMAS: Final = 5_000
"""Within one definition."""
MAX_DEFINITIONS: Final = 500
"""That one operation may need."""
MAX_DEPTH: Final = 48
_TYPES: Final = frozenset(("null", "boolean", "integer", "number", "string", "array", "object"))
_PLAIN: Final[Mapping[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("const", "default"), lambda value: True),
    **dict.fromkeys(("title", "description", "format", "pattern"), lambda value: isinstance(value, str)),
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), lambda v: isinstance(v, int | float)
    ),
    **dict.fromkeys(
        (
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "minProperties",
            "maxProperties",
            "minContains",
            "maxContains",
        ),
        lambda value: isinstance(value, int | float) and value >= 0 and value == int(value),
    ),
    "multipleOf": lambda value: isinstance(value, int | float) and value > 0,
    "uniqueItems": lambda value: isinstance(value, bool),
    "enum": lambda value: isinstance(value, list),
    "required": lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    "type": lambda value: set(value if isinstance(value, list) and value else [value]) <= _TYPES,
}
"""Words of a schema that hold no other, and what may stand there; so that no meta-schema is needed, which takes seconds."""
_NAMED: Final = frozenset(("properties", "dependentSchemas"))
_LISTED: Final = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
_SINGLE: Final = frozenset(
    (*("items", "additionalProperties", "unevaluatedItems", "contains", "propertyNames", "not", "if", "then", "else"),)
)
"""What is taken over; identifiers, anchors, examples and everything unknown are left out."""


@dataclass(frozen=True, slots=True)
class Part:
    """A schema whose references are the names of definitions, and those names."""

    schema: Json
    names: frozenset[str] = frozenset()


class Schemas:
    """The schemas of a document in one direction: what may only be read is not required in a request.

    Each definition is converted once for all operations, which share it.
    """

    def __init__(self, document: Document, direction: Direction) -> None:
        self._document, self._hidden = document, "readOnly" if direction == "request" else "writeOnly"
        self._named: dict[str, str] = {}
        self._references: dict[str, str] = {}
        self._made: dict[str, Part | UnusableDocument] = {}

    def part(self, value: Json) -> Part:
        """The schema of the document as JSON Schema.

        Raises:
            UnusableDocument: it refers to what is not in the document, is no schema, or too large.
        """
        return _Conversion(self._document.old, self._hidden, self._name).part(value)

    def whole(self, schema: Schema, names: Iterable[str]) -> Schema:
        """The schema with all the definitions that it needs.

        Raises:
            UnusableDocument: one of them cannot be used, or they are too many.
        """
        definitions: dict[str, Json] = {}
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in definitions:
                part = self._definition(name)
                definitions[name] = part.schema
                waiting.extend(part.names)
            if len(definitions) > MAX_DEFINITIONS:
                raise UnusableDocument(f"it refers to more than {MAX_DEFINITIONS} other schemas")
        return {**schema, "$defs": definitions} if definitions else schema

    def _definition(self, name: str) -> Part:
        if name not in self._made:
            try:
                self._made[name] = self.part(self._document.at(self._references[name]))
            except UnusableDocument as error:
                self._made[name] = error
        made = self._made[name]
        if isinstance(made, UnusableDocument):
            raise made
        return made

    def _name(self, reference: Json) -> str:
        """The name of the definition that a reference means."""
        self._document.at(reference)
        if reference not in self._named:
            last = re.sub(r"\W", "_", str(reference).rsplit("/", 1)[-1]) or "schema"
            name = last if last not in self._references else f"{last}_{len(self._references)}"
            self._named[reference], self._references[name] = name, reference
        return self._named[reference]


class _Conversion:
    """One pass over a schema, counting what it costs and noting what it refers to."""

    def __init__(self, old: bool, hidden: str, name: Callable[[Json], str]) -> None:
        self._old, self._hidden, self._name = old, hidden, name
        self._names: set[str] = set()
        self._left = MAX_SCHEMAS

    def part(self, value: Json) -> Part:
        """The converted schema, with the names it uses."""
        return Part(self._converted(value, 0), frozenset(self._names))

    def _converted(self, value: Json, depth: int) -> Json:
        if isinstance(value, bool):
            return value
        self._left -= 1
        if not isinstance(value, Mapping):
            raise UnusableDocument("one of its schemas is no object")
        if depth > MAX_DEPTH or self._left < 0:
            raise UnusableDocument("its schemas are too large, or nested too deep")
        if "$ref" in value and self._old:
            return {"$ref": self._referred(value["$ref"])}
        made = {key: each for key, each in value.items() if key in _PLAIN and self._is_kept(key, each)}
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
        return _modern(made, value) if self._old else made

    def _is_kept(self, key: str, value: Json) -> bool:
        """Whether the word is taken over; a pattern that does not run in linear time is left to the service."""
        try:
            fits = _PLAIN[key](value)
        except (TypeError, ValueError, OverflowError):
            fits = False
        if not fits:
            raise UnusableDocument(f"one of its schemas says {key}: {str(value)[:60]!r}, which means nothing")
        return key != "pattern" or schema_fault({"pattern": value}) is None

    def _show(self, made: dict[str, Any], value: Mapping[str, Json]) -> None:
        """Nothing is required that the other side alone may say."""
        properties = value.get("properties")
        if isinstance(made.get("required"), list) and isinstance(properties, Mapping):
            hidden = {name for name, each in properties.items() if self._is_hidden(each)}
            made["required"] = [name for name in made["required"] if name not in hidden]

    def _is_hidden(self, value: Json) -> bool:
        return isinstance(value, Mapping) and value.get(self._hidden) is True

    def _referred(self, reference: Json) -> str:
        name = self._name(reference)
        self._names.add(name)
        return f"#/$defs/{name}"


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
