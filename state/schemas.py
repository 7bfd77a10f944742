"""JSON Schemas at work: whether a schema is usable, where a value does not fit it, and its defaults.

Schemas come from specs and from other machines, so nothing here fetches anything, and the work is bounded: patterns run in
pydantic's regular expressions, which take linear time, and the number of references followed for one value is limited.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from pydantic_core import SchemaError as PatternError
from pydantic_core import SchemaValidator, core_schema
from pydantic_core import ValidationError as NoMatch
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from state.plain_schemas import surely_fits
from state.schema_sentences import kind, pointer, sentences
from state.values import Json, Schema

MAX_REFERENCES: Final = 200_000
"""How many ``$ref`` are followed while one value is checked."""
MAX_FILLED: Final = 10_000
"""How many defaults are filled into one value."""
_NAMED: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTED: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_SINGLE: Final = (
    *("items", "contains", "additionalProperties", "unevaluatedProperties", "unevaluatedItems"),
    *("propertyNames", "not", "if", "then", "else"),
)
_references: ContextVar[list[int]] = ContextVar("references")
_formats = FormatChecker(("date", "uuid", "ipv4", "ipv6", "email"))


class _TooMuchWork(Exception):
    """A value whose check follows more references than allowed."""


def faults(schema: Schema, value: Json, *, limit: int = 20) -> list[str]:
    """Where ``value`` does not fit ``schema``: at most ``limit`` sentences, each ``<pointer>: <what is wrong, what was expected>``.

    Empty when it fits. A schema that is not usable fits nothing, and the one sentence says why.
    """
    if not schema:
        return []
    unusable, validator = _kept(schema)
    if validator is None:
        return [f"the top: the schema is not usable: {unusable}"]
    if surely_fits(schema, value):
        return []
    token = _references.set([MAX_REFERENCES])
    try:
        return [sentence for error in islice(validator.iter_errors(value), limit) for sentence in sentences(error)][
            :limit
        ]
    except (_TooMuchWork, RecursionError):
        return ["the top: could not be checked, because the schema refers to itself without end or too often"]
    except Unresolvable as error:
        return [f"the top: could not be checked, because the schema refers to {error.ref!r}, which it does not hold"]
    finally:
        _references.reset(token)


def schema_fault(schema: Any) -> str | None:
    """Why ``schema`` is not a usable JSON Schema (draft 2020-12), in one sentence; None when it is."""
    if not isinstance(schema, dict):
        return f"a schema is an object, this is {kind(schema)}"
    text = _text(schema)
    return _compiled(text)[0]


def with_defaults(schema: Schema, value: Json) -> Json:
    """A copy of ``value`` in which absent properties have the ``default`` of their schema, at every depth."""
    return _Filler(schema).filled(schema, value, 0)


class _Filler:
    """One pass over a value; the budget keeps schemas that refer to themselves from growing it without end."""

    def __init__(self, root: Schema) -> None:
        self.root, self.left = root, MAX_FILLED

    def filled(self, schema: Any, value: Json, depth: int) -> Json:
        if not isinstance(schema, Mapping) or depth > 64:
            return value
        if isinstance(value, dict):
            value = self._object(schema, value, depth)
        elif isinstance(value, list):
            first = schema.get("prefixItems", ())
            value = [
                self.filled(first[i] if i < len(first) else schema.get("items"), item, depth + 1)
                for i, item in enumerate(value)
            ]
        for other in self._applying(schema, value):
            value = self.filled(other, value, depth + 1)
        return value

    def _object(self, schema: Mapping[str, Any], value: dict[str, Json], depth: int) -> dict[str, Json]:
        full = dict(value)
        properties = schema.get("properties", {})
        for name, of in properties.items():
            if name not in full and isinstance(of, Mapping) and "default" in of and self.left > 0:
                self.left -= 1
                full[name] = json.loads(json.dumps(of["default"]))
            if name in full:
                full[name] = self.filled(of, full[name], depth + 1)
        rest = schema.get("additionalProperties")
        if isinstance(rest, Mapping):
            full = {k: v if k in properties else self.filled(rest, v, depth + 1) for k, v in full.items()}
        return full

    def _applying(self, schema: Mapping[str, Any], value: Json) -> Iterator[Any]:
        """The other schemas that surely speak about ``value``: references, ``allOf``, the one alternative for objects."""
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/"):
            yield _at(self.root, reference)
        yield from schema.get("allOf", ())
        for word in ("anyOf", "oneOf"):
            wanted = "object" if isinstance(value, dict) else "array"
            fitting = [of for of in schema.get(word, ()) if isinstance(value, dict | list) and self._may_be(of, wanted)]
            if len(fitting) == 1:
                yield fitting[0]

    def _may_be(self, schema: Any, wanted: str) -> bool:
        if isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str):
            schema = _at(self.root, schema["$ref"])
        types = schema.get("type", wanted) if isinstance(schema, Mapping) else wanted
        return types == wanted or (isinstance(types, list) and wanted in types)


def _at(root: Schema, reference: str) -> Any:
    """What a local reference points to; None where that is nowhere."""
    found: Any = root
    for part in reference.removeprefix("#").split("/")[1:]:
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found


def _text(schema: Schema) -> str:
    """The schema as JSON text, under which its validator is kept; empty where it has none."""
    try:
        return json.dumps(schema, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return ""


class _Same:
    """A schema object as a key: it equals itself alone, whatever it holds; schemas are never changed."""

    __slots__ = ("schema",)

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    def __hash__(self) -> int:
        return id(self.schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.schema is self.schema


@lru_cache(maxsize=512)
def _of_object(same: _Same) -> tuple[str | None, Any]:
    return _compiled(_text(same.schema))


def _kept(schema: Schema) -> tuple[str | None, Any]:
    """``_compiled`` of a schema object that is asked for again and again, as those of tools are.

    Those that come but once, as the forms of questions that are read from a checkpoint, make room for others soon.
    """
    return _of_object(_Same(schema))


@lru_cache(maxsize=512)
def _compiled(text: str) -> tuple[str | None, Any]:
    """Why the schema cannot be used, and otherwise its validator."""
    if not text:
        return "it is not plain JSON", None
    try:
        schema = json.loads(text, object_hook=_without_dialect)
        Draft202012Validator.check_schema(schema, format_checker=FormatChecker(()))
        fault = next(_own_faults(schema, schema, ""), None)
    except SchemaError as error:
        return f"{pointer(error)}: {error.message[:200]}", None
    except RecursionError:
        return "it is nested too deeply", None
    validator = None if fault else _Validator(schema, registry=Registry(), format_checker=_formats)
    return fault, validator


def _without_dialect(schema: dict[str, Any]) -> dict[str, Any]:
    """Without ``$schema``, at which jsonschema would change to a validator of its own."""
    return {k: v for k, v in schema.items() if k != "$schema" or not isinstance(v, str)}


def _own_faults(schema: Any, root: Schema, place: str) -> Iterator[str]:
    """What the meta-schema does not refuse: references outwards or nowhere, patterns that cannot run in linear time."""
    if not isinstance(schema, dict):
        return
    for word in ("$ref", "$dynamicRef"):
        if isinstance(schema.get(word), str):
            yield from _reference_faults(schema[word], root, f"{place}/{word}")
    if "patternProperties" in schema and "unevaluatedProperties" in schema:
        yield f"{place or 'the top'}: patternProperties beside unevaluatedProperties is not supported"
    own = [schema["pattern"]] if "pattern" in schema else []
    for pattern in [*own, *schema.get("patternProperties", ())]:
        if (refusal := _pattern(pattern)[0]) is not None:
            yield f"{place or 'the top'}: the pattern {pattern[:80]!r} is not usable: {refusal}"
    for step, inner in _inner(schema):
        yield from _own_faults(inner, root, f"{place}/{step}")


def _reference_faults(reference: str, root: Schema, place: str) -> Iterator[str]:
    if not reference.startswith("#"):
        yield f"{place}: {reference[:120]!r} leads outside the schema; only references that begin with # are followed"
        return
    registry: Registry[Any] = Registry().with_resource("", DRAFT202012.create_resource(root))
    try:
        registry.resolver().lookup(reference)
    except Unresolvable:
        yield f"{place}: {reference[:120]!r} leads nowhere"


def _inner(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for word in _NAMED:
        for name, inner in schema.get(word, {}).items():
            yield f"{word}/{name}", inner
    for word in _LISTED:
        for index, inner in enumerate(schema.get(word, ())):
            yield f"{word}/{index}", inner
    for word in _SINGLE:
        if word in schema:
            yield word, schema[word]


@lru_cache(maxsize=512)
def _pattern(pattern: str) -> tuple[str | None, SchemaValidator | None]:
    """Why the pattern cannot run, and otherwise what runs it in time linear in the text."""
    try:
        return None, SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except PatternError as error:
        return str(error).strip().splitlines()[-1][:200], None


def _matches(pattern: str, text: str) -> bool:
    validator = _pattern(pattern)[1]
    try:
        return validator is not None and bool(validator.validate_python(text, strict=True) is not None)
    except NoMatch:
        return False


def _check_pattern(validator: Any, pattern: str, value: Json, schema: Schema) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _matches(pattern, value):
        yield ValidationError("does not match")


def _check_named(validator: Any, patterns: Schema, value: Json, schema: Schema) -> Iterator[ValidationError]:
    for pattern, inner in patterns.items():
        for key, item in value.items() if isinstance(value, dict) else ():
            if _matches(pattern, key):
                yield from validator.descend(item, inner, path=key, schema_path=pattern)


def _check_rest(validator: Any, rest: Any, value: Json, schema: Schema) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for key in (k for k in value if k not in known and not any(_matches(p, k) for p in patterns)):
        if rest is False:
            yield ValidationError("not known", path=[key])
        else:
            yield from validator.descend(value[key], rest, path=key)


def _check_reference(validator: Any, reference: str, value: Json, schema: Schema) -> Iterator[ValidationError]:
    left = _references.get([MAX_REFERENCES])
    left[0] -= 1
    if left[0] < 0:
        raise _TooMuchWork
    yield from validator._validate_reference(ref=reference, instance=value)


_Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    validators={
        "pattern": _check_pattern,
        "patternProperties": _check_named,
        "additionalProperties": _check_rest,
        "$ref": _check_reference,
    },
)


@_formats.checks("date-time", raises=ValueError)
def _is_moment(value: Any) -> bool:
    return not isinstance(value, str) or ("T" in value.upper() and bool(dt.datetime.fromisoformat(value)))
