"""What differs between two JSON Schemas, for those who give a value and for those who take one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

from state.values import Json

Impact: TypeAlias = Literal["breaking", "compatible", "internal"]
Found: TypeAlias = tuple[Impact, str, str, Json, Json]
"""Impact, place, what is told, before and after."""
_SAID: Final = frozenset({"description", "title", "examples", "$comment", "$schema"})
_KNOWN: Final = _SAID | {"type", "properties", "required", "default", "enum", "items", "additionalProperties"}
MAX_DEPTH: Final = 16


def input_changes(before: Any, after: Any) -> Iterator[Found]:
    """The changes for those who give values that fitted ``before``."""
    yield from _Comparing(gives=True).schemas(before, after, "", 0)


def output_changes(before: Any, after: Any) -> Iterator[Found]:
    """The changes for those who take values that fitted ``before``."""
    if before and not after:
        yield "breaking", "", "is not known any more", before, after
    elif after and not before:
        yield "compatible", "", "is known now", before, after
    else:
        yield from _Comparing(gives=False).schemas(before, after, "", 0)


class _Comparing:
    """One walk over two schemas; ``gives`` is whether the other side gives the value or takes it."""

    def __init__(self, *, gives: bool) -> None:
        self.gives = gives

    def narrower(self) -> Impact:
        """What it means that fewer values fit."""
        return "breaking" if self.gives else "compatible"

    def wider(self) -> Impact:
        """What it means that more values fit."""
        return "compatible" if self.gives else "breaking"

    def schemas(self, before: Any, after: Any, place: str, depth: int) -> Iterator[Found]:
        """The changes at and below ``place``."""
        if before == after:
            return
        if not isinstance(before, Mapping) or not isinstance(after, Mapping) or depth > MAX_DEPTH:
            yield "breaking", place, f"is {shown(after)} instead of {shown(before)}", before, after
            return
        yield from self._values(before, after, place)
        yield from self._properties(before, after, place, depth)
        if "items" in before or "items" in after:
            yield from self.schemas(before.get("items", {}), after.get("items", {}), f"{place}[]", depth + 1)

    def _values(self, before: Mapping[str, Any], after: Mapping[str, Any], place: str) -> Iterator[Found]:
        old, new = types(before), types(after)
        if old != new:
            impact = self.wider() if _within(old, new) else self.narrower() if _within(new, old) else "breaking"
            yield impact, place, f"has the type {_named(new)} instead of {_named(old)}", sorted(old), sorted(new)
        if (before.get("enum"), "const" in before) != (after.get("enum"), "const" in after):
            yield self._choices(before.get("enum"), after.get("enum"), place)
        if before.get("default") != after.get("default") or ("default" in before) != ("default" in after):
            was, now = (shown(each["default"]) if "default" in each else "none" for each in (before, after))
            told = f"has the default {now} instead of {was}"
            yield "compatible", place, told, before.get("default"), after.get("default")
        for word in sorted((before.keys() | after.keys()) - _KNOWN):
            if before.get(word) != after.get(word):
                impact = self.wider() if word not in after else self.narrower() if word not in before else "breaking"
                told = f"has {word} {shown(after.get(word))} instead of {shown(before.get(word))}"
                yield impact, place, told, before.get(word), after.get(word)
        if any(before.get(word) != after.get(word) for word in _SAID):
            yield "internal", place, "is described in other words", before.get("description"), after.get("description")

    def _choices(self, old: Any, new: Any, place: str) -> Found:
        told = f"may be {shown(new)} instead of {shown(old)}"
        if old is None or (new is not None and all(each in old for each in new)):
            return self.narrower(), place, told, old, new
        if new is None or all(each in new for each in old):
            return self.wider(), place, told, old, new
        return "breaking", place, told, old, new

    def _properties(
        self, before: Mapping[str, Any], after: Mapping[str, Any], place: str, depth: int
    ) -> Iterator[Found]:
        old, new = before.get("properties", {}), after.get("properties", {})
        needed, needs = set(before.get("required", ())), set(after.get("required", ()))
        for name in dict.fromkeys([*old, *new]):
            at = f"{place}.{name}" if place else name
            if name not in new:
                yield self._gone(after), at, "is gone", old[name], None
            elif name not in old:
                yield (
                    self._new(name in needs),
                    at,
                    f"is new{', and required' if name in needs else ''}",
                    None,
                    new[name],
                )
            else:
                yield from self.schemas(old[name], new[name], at, depth + 1)
                if (name in needed) != (name in needs):
                    impact = self.narrower() if name in needs else self.wider()
                    yield impact, at, "is required now" if name in needs else "may be left out now", None, None
        closed, closes = (each.get("additionalProperties", True) is False for each in (before, after))
        if closed != closes:
            told = "takes no further fields" if closes else "may have further fields"
            yield self.narrower() if closes else self.wider() if self.gives else "compatible", place, told, None, None

    def _gone(self, after: Mapping[str, Any]) -> Impact:
        """A property that is not known any more: refused from those who give it, missing for those who take it."""
        return "compatible" if self.gives and after.get("additionalProperties", True) is not False else "breaking"

    def _new(self, required: bool) -> Impact:
        return "breaking" if self.gives and required else "compatible"


def types(schema: Mapping[str, Any]) -> frozenset[str]:
    """The types that a schema names; empty where it takes any."""
    named = schema.get("type", ())
    return frozenset([named] if isinstance(named, str) else named)


def _within(few: frozenset[str], many: frozenset[str]) -> bool:
    """Whether every value of the few types is one of the many."""
    widened = many | ({"integer"} if "number" in many else frozenset())
    return not many or (bool(few) and few <= widened)


def _named(types: frozenset[str]) -> str:
    return " or ".join(sorted(types)) or "any"


def shown(value: Json, room: int = 80) -> str:
    """A value on one line, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= room else text[: room - 1] + "…"
