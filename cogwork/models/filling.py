"""Fills a JSON Schema from the material: each property by its name and description, honest empties where nothing fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from cogwork.models import choosing, coding
from cogwork.models.answers import Answers
from cogwork.models.clauses import Step
from cogwork.models.diagnosis import Place, error_line
from cogwork.models.listing import Focus, Lists
from cogwork.models.material import Material
from cogwork.models.passages import cut
from cogwork.models.ranking import overlap
from cogwork.models.texts import REASONS, Texts, words_of
from state.schemas import faults
from state.values import Json, Schema

MAX_DEPTH: Final = 8
_NOTHING: Final[dict[str, Json]] = {"string": "", "integer": 0, "number": 0, "boolean": False, "null": None}


def fill(schema: Schema, material: Material) -> Json:
    """A value for ``schema``, taken from the material."""
    return _Filling(schema, material).value(schema, "", Focus(), 0)


class _Filling:
    """One schema being filled."""

    def __init__(self, root: Schema, material: Material) -> None:
        self.root, self.material = root, material
        self.answers = Answers(material)
        self.texts = Texts(self.answers)
        lists = [part for part in (root.get("properties") or {}).values() if _kind(self._resolved(part)) == "array"]
        self.lists = Lists(self.answers, self.texts, lone=len(lists) <= 1)

    def value(self, schema: Any, name: str, focus: Focus, depth: int) -> Json:
        """The value of one property; ``name`` is empty at the top."""
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return choosing.option(schema, name, self.answers, focus.record, focus.unit)
        for several in ("anyOf", "oneOf"):
            if schema.get(several):
                return self._variant(schema[several], name, focus, depth)
        kind = _kind(schema)
        if depth > MAX_DEPTH:
            return {"object": {}, "array": []}.get(kind, _NOTHING.get(kind))
        match kind:
            case "object":
                return self._object(schema, name, focus, depth)
            case "array":
                return self._array(schema, name, focus, depth)
            case _:
                return self._scalar(kind, schema, name, focus)

    def _resolved(self, schema: Any) -> Schema:
        """The schema with its local ``$ref`` and ``allOf`` taken in."""
        for _ in range(16):
            if not isinstance(schema, dict):
                return {}
            parts = [self._at(schema["$ref"])] if isinstance(schema.get("$ref"), str) else []
            parts += [part for part in schema.get("allOf", []) if isinstance(part, dict)]
            if not parts:
                return schema
            merged = {key: item for key, item in schema.items() if key not in ("$ref", "allOf")}
            for part in parts:
                merged = _merged(merged, part)
            schema = merged
        return {}

    def _at(self, reference: str) -> Schema:
        target: Any = self.root
        for part in reference.removeprefix("#").strip("/").split("/") if reference != "#" else []:
            target = target.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
        return target if isinstance(target, dict) else {}

    def _variant(self, variants: Sequence[Any], name: str, focus: Focus, depth: int) -> Json:
        """The first variant that can be filled; null only if it is all there is to say."""
        tried = [self._resolved(variant) for variant in variants]
        fillable = [variant for variant in tried if variant.get("type") != "null"]
        for variant in fillable:
            found = self.value(variant, name, focus, depth + 1)
            empty = found in ("", [], {}) and len(fillable) < len(tried)
            if not empty and not faults(variant, found, limit=1):
                return found
        return None if len(fillable) < len(tried) else self.value(tried[0], name, focus, depth + 1)

    def _object(self, schema: Schema, name: str, focus: Focus, depth: int) -> Json:
        properties = schema.get("properties") or {}
        if not properties:
            record = focus.record or next((r.value for r in self.material.records), None)
            return dict(record) if record and not faults(schema, dict(record), limit=1) else {}
        inner = self._own(name, focus)
        filled: dict[str, Json] = {}
        for key, part in properties.items():
            found = self._why(properties, filled, key, part) or self.value(part, key, inner, depth + 1)
            if key in schema.get("required", ()) or found not in ("", None, [], {}):
                filled[key] = found
        return filled

    def _why(self, properties: Schema, filled: dict[str, Json], key: str, part: Any) -> str:
        """Why the choice beside it was made, for a text that is called so."""
        chosen = next((name for name in filled if "enum" in self._resolved(properties[name])), None)
        if chosen is None or not REASONS & set(words_of(key)) or _kind(self._resolved(part)) != "string":
            return ""
        return choosing.grounds(filled[chosen], self.answers)

    def _own(self, name: str, focus: Focus) -> Focus:
        """Within an object called like a record of the material, that record is what it is about."""
        held = focus.record.get(name) if focus.record else None
        if isinstance(held, dict):
            return replace(focus, record=held)
        if focus != Focus():
            return focus
        alike = next((r.value for r in self.material.records if name and r.group.lower() == name.lower()), None)
        return replace(focus, record=alike) if alike is not None else focus

    def _held(self, name: str, focus: Focus) -> Json:
        """What the record in focus has under that name; at the top, what the only record with that key has."""
        if focus.record is not None:
            return focus.record.get(name)
        found = [r.value[name] for r in self.material.records if name in r.value] if focus == Focus() and name else []
        return found[0] if len(found) == 1 else None

    def _array(self, schema: Schema, name: str, focus: Focus, depth: int) -> Json:
        least, most = int(schema.get("minItems", 0)), int(schema.get("maxItems", 1_000))
        held = self._held(name, focus)
        if focus.step is not None and name in ("depends_on", "needs", "after", "dependencies", "requires"):
            held = list(focus.step.depends_on)
        if isinstance(held, list) and not faults(schema, held, limit=1):
            return held
        items = self._resolved(schema.get("items") or {"type": "string"})
        found = self._items(items, name, focus, least, most, depth)
        if schema.get("uniqueItems"):
            found = [item for index, item in enumerate(found) if item not in found[:index]]
        while len(found) < least:
            found.append(self.value(items, name, replace(focus, number=len(found) + 1), depth + 1))
        return found[:most]

    def _items(self, items: Schema, name: str, focus: Focus, least: int, most: int, depth: int) -> list[Json]:
        if "enum" in items:
            return choosing.options(items, self.answers)[: max(least, 1) if least else most]
        about = self.lists.about(name, items, top=focus == Focus(), most=most)
        if _kind(items) == "string":
            told = [self.lists.text(one, name) for one in about]
            found = [self.texts.fitting(items, text) for text in told if text]
            return [text for index, text in enumerate(found) if text not in found[:index]]
        filled = [self.value(items, name, one, depth + 1) for one in about]
        return [item for item in filled if not faults(items, item, limit=1)]

    def _scalar(self, kind: str, schema: Schema, name: str, focus: Focus) -> Json:
        held = self._held(name, focus)
        if held is not None and not faults(schema, held, limit=1):
            return held
        match kind:
            case "string":
                return self._string(schema, name, focus)
            case "integer" | "number":
                return self._number(kind, schema, name, focus)
            case "boolean":
                return choosing.claim(schema, name, self.answers, focus.unit)
            case _:
                return None

    def _string(self, schema: Schema, name: str, focus: Focus) -> Json:
        words = words_of(name)
        about = str(schema.get("description") or "")
        if focus.step is not None:
            text = _step_text(focus.step, words, self.texts)
        elif focus.place is not None:
            text = _place_text(focus.place, words, error_line(self.material))
        elif coded := _code_text(words, self.material):
            text = coded
        else:
            text = self.texts.text(name, about, focus.unit, focus.record, focus.number)
        if not text and "default" in schema:
            return schema["default"]
        if not text and isinstance(schema.get("type"), list) and "null" in schema["type"]:
            return None
        return self.texts.fitting(schema, text)

    def _number(self, kind: str, schema: Schema, name: str, focus: Focus) -> Json:
        words = words_of(name)
        if {"line", "lineno"} & set(words) and (focus.place or focus.unit):
            found: float | None = focus.place.line if focus.place else focus.unit.line if focus.unit else None
        elif {"id", "number", "index", "order", "step", "rank", "position"} & set(words) and focus.number:
            found = focus.number
        else:
            found = choosing.amount(name, schema, self.answers, focus.unit)
        if found is None:
            found = schema.get("default", 0)
        return _within(schema, found, whole=kind == "integer")


def _merged(one: Schema, other: Schema) -> Schema:
    merged = {**other, **one}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**other["properties"], **one["properties"]}
    if "required" in one and "required" in other:
        merged["required"] = [*other["required"], *(key for key in one["required"] if key not in other["required"])]
    return merged


def _kind(schema: Schema) -> str:
    told = schema.get("type")
    if isinstance(told, list):
        told = next((kind for kind in told if kind != "null"), "null")
    if told is None:
        told = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(told)


def _within(schema: Schema, number: float, *, whole: bool) -> float:
    low, high = schema.get("minimum"), schema.get("maximum")
    number = max(number, low) if low is not None else number
    number = min(number, high) if high is not None else number
    return round(number) if whole else number


def _step_text(step: Step, words: Sequence[str], texts: Texts) -> str:
    if "id" in words or "key" in words:
        return step.id
    if {"done", "acceptance", "criteria", "criterion", "check", "verify"} & set(words):
        return step.done_when
    found = texts.phrase(words, step.title)
    return step.title if found is None else found


def _place_text(place: Place, words: Sequence[str], error: str) -> str:
    if {"file", "path", "filename", "source"} & set(words):
        return place.file
    if {"evidence", "quote", "excerpt", "code", "snippet", "text"} & set(words):
        return place.text or f"{place.file}:{place.line}"
    shared = place.text and overlap(place.text, error) > 0
    how = "names what the error is about" if shared else "lies on the way to the error"
    at = f"{place.file}:{place.line}"
    return f"{error}: {at} {how}" + (f": {cut(place.text, 160)}" if place.text else "")


def _code_text(words: Sequence[str], material: Material) -> str:
    if {"test", "tests"} & set(words) and len(words) <= 2:
        return coding.tests(material)
    if {"code", "implementation", "program", "patch", "script"} & set(words) and not {"error", "status", "exit"} & set(
        words
    ):
        return coding.code(material)
    return ""
