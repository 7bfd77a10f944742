"""Values made from JSON Schemas: what decides something is chosen, everything else has one representative."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from graphs.simulation.choices import Choices
from graphs.simulation.demand import Demand
from graphs.simulation.scalars import distinct, scalars
from state.values import Json, Schema

_DEEPEST: Final = 12
_KINDS: Final = ("object", "array", "boolean", "integer", "number", "string", "null")
MOST_ITEMS: Final = 50
"""The longest list that is made only because a comparison asks for it."""


class Making:
    """One value in the making; ``key`` begins the keys of its choices."""

    def __init__(self, schema: Schema, choices: Choices, key: str) -> None:
        self.root, self.choices, self.key = schema, choices, key

    def value(self, demand: Demand) -> Json:
        """A value that fits the schema."""
        return self._made(self.root, demand, "", 0)

    def _made(self, schema: Any, demand: Demand, at: str, depth: int) -> Json:
        schema = self._resolved(schema, depth)
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            options = schema["enum"] if demand.deciding else schema["enum"][:1]
            return self._pick(at, options)
        if demand.decisive and demand.tests and self._free(schema):
            return self._of_unknown(demand, at, depth)
        variants = self._variants(schema, demand)
        schema = self._pick(f"{at}|", variants) if len(variants) > 1 else variants[0]
        match _kind(schema, demand):
            case "object":
                return self._object(schema, demand, at, depth)
            case "array":
                return self._array(schema, demand, at, depth)
            case "boolean":
                return self._pick(at, [True, False]) if demand.decisive else bool(schema.get("default", True))
            case "null":
                return None
            case kind:
                return self._pick(at, scalars(schema, kind, demand))

    def _pick(self, at: str, options: list[Any]) -> Any:
        labels = [_label(option) for option in options]
        return self.choices.pick(f"{self.key}{at}", options, labels)

    # -- schemas -------------------------------------------------------------------------------------------

    def _resolved(self, schema: Any, depth: int) -> Schema:
        """The schema with its reference followed and its ``allOf`` joined."""
        if not isinstance(schema, Mapping):
            return {}
        plain = dict(schema)
        for _ in range(_DEEPEST):
            if not isinstance(reference := plain.pop("$ref", None), str):
                break
            plain = {**self._at(reference), **plain}
        for part in plain.pop("allOf", ()):
            plain = _joined(plain, self._resolved(part, depth))
        return plain

    def _at(self, reference: str) -> Schema:
        part: Any = self.root
        for key in reference.removeprefix("#").strip("/").split("/"):
            if key:
                part = part.get(key.replace("~1", "/").replace("~0", "~"), {}) if isinstance(part, Mapping) else {}
        return dict(part) if isinstance(part, Mapping) else {}

    def _variants(self, schema: Schema, demand: Demand) -> list[Schema]:
        """The alternatives of the schema; where nothing depends on them, the first that is not null."""
        named = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(named, list) and named:
            rest = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}
            found = [_joined(rest, self._resolved(part, 0)) for part in named]
        elif isinstance(schema.get("type"), list):
            found = [{**schema, "type": kind} for kind in schema["type"] if kind in _KINDS]
        else:
            return [schema]
        present = [part for part in found if part.get("type") != "null" and part.get("const", 0) is not None]
        if demand.deciding:
            return [*present, *(part for part in found if part not in present)] or [schema]
        return (present or found or [schema])[:1]

    def _free(self, schema: Schema) -> bool:
        return not any(
            word in schema for word in ("type", "properties", "items", "anyOf", "oneOf", "pattern", "format")
        )

    # -- kinds ---------------------------------------------------------------------------------------------

    def _of_unknown(self, demand: Demand, at: str, depth: int) -> Json:
        """A value of no declared type: what it is compared with, and what differs."""
        options: list[Json] = []
        for kind in _asked(demand):
            if kind == "boolean":
                options += [True, False]
            elif kind == "null":
                options.append(None)
            elif kind == "array":
                return self._array({"type": "array"}, demand, at, depth)
            else:
                options += scalars({"type": kind}, kind, demand)
        if demand.fields:
            options.append(self._object({}, demand, at, depth))
        return self._pick(at, options if demand.opaque else distinct(options, demand.tests))

    def _object(self, schema: Schema, demand: Demand, at: str, depth: int) -> dict[str, Json]:
        declared: Mapping[str, Any] = schema.get("properties", {})
        needed = schema.get("required", ())
        made: dict[str, Json] = {}
        for name in dict.fromkeys([*declared, *demand.fields, *needed]):
            part = demand.fields.get(name)
            open_ = schema.get("additionalProperties", True)
            if name not in declared and (open_ is False or (declared and name not in needed)):
                continue
            inner = declared.get(name, open_ if isinstance(open_, Mapping) else {})
            if name not in needed and not self._present(part, f"{at}.{name}"):
                continue
            if depth < _DEEPEST or name in needed:
                made[name] = self._made(inner, part or Demand(), f"{at}.{name}", depth + 1) if depth < 24 else None
        return made

    def _present(self, part: Demand | None, at: str) -> bool:
        """Whether a field that may be left out is there: not if nobody reads it, and chosen where that decides."""
        if part is None:
            return False
        if not (part.deciding and part.absent):
            return True
        return bool(self.choices.pick(f"{self.key}{at}?", [True, False], ["there", "left out"]))

    def _array(self, schema: Schema, demand: Demand, at: str, depth: int) -> list[Json]:
        first = list(schema.get("prefixItems", ()))
        least, most = schema.get("minItems", 0), schema.get("maxItems", MOST_ITEMS)
        asked = [n for n in demand.constants("size") if isinstance(n, int) and least <= n <= min(most, MOST_ITEMS)]
        if not (demand.decisive and (asked or demand.opaque)):
            asked = [max(least, min(1, most), len(first))]
        elif not asked:
            asked = [n for n in (1, 0) if least <= n <= most] or [least]
        sizes = sorted(set(asked), key=lambda n: (n == 0, n))
        labels = [f"{n} item{'' if n == 1 else 's'}" for n in sizes]
        count = self.choices.pick(f"{self.key}{at}#", sizes, labels)
        each = demand.items or Demand()
        items = [
            self._made(first[i] if i < len(first) else schema.get("items", {}), each, f"{at}[{i}]", depth + 1)
            for i in range(count if depth < _DEEPEST else least)
        ]
        wanted = [test.constant for test in demand.tests if test.operator == "contains"]
        if wanted and items:
            items[0] = self._pick(f"{at}[0]=", [*wanted, items[0]])
        return items


def _kind(schema: Schema, demand: Demand) -> str:
    declared = schema.get("type")
    if isinstance(declared, list):
        declared = declared[0] if declared else None
    if isinstance(declared, str) and declared in _KINDS:
        return declared
    if "properties" in schema or demand.fields:
        return "object"
    if "items" in schema or demand.items is not None or demand.constants("size"):
        return "array"
    asked = _asked(demand)
    return asked[0] if asked else "string"


def _asked(demand: Demand) -> list[str]:
    """The types of what a value is compared with."""
    found: dict[str, None] = {}
    if demand.items is not None or any(t.operator in ("size", "contains") for t in demand.tests):
        found["array"] = None
    for constant in demand.constants():
        match constant:
            case bool():
                found["boolean"] = None
            case int() | float():
                found["number"] = None
            case str():
                found["string"] = None
            case None:
                found["null"] = None
    if list(found) == ["null"]:
        found = {"string": None, "null": None}
    return list(found)


def _joined(one: Schema, other: Schema) -> Schema:
    made = {**one, **other}
    if "properties" in one and "properties" in other:
        made["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        made["required"] = [*one["required"], *other["required"]]
    return made


def _label(option: Any) -> str:
    text = json.dumps(option, ensure_ascii=False) if not isinstance(option, str) else option
    return text if len(text) <= 60 else text[:57] + "…"
