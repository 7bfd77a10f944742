"""Whether values of one schema surely do not fit another."""

from __future__ import annotations

from typing import Any

from nodes.expression.data import with_article
from nodes.expression.schemas import UNKNOWN, choices, fields, kinds, known, list_of, object_of
from state.schemas import faults
from state.values import Json, Schema

_DEPTH = 12


def misfit(given: Schema, wanted: Any, root: Schema, depth: int = 0) -> str | None:
    """Why no value of ``given`` fits ``wanted``, as ``<pointer>: <sentence>``; None where one may.

    ``root`` holds the definitions that ``wanted`` refers to.
    """
    if wanted is False:
        return "the top: no value is allowed here"
    if not isinstance(wanted, dict) or not wanted or not given or depth > _DEPTH:
        return None
    wanted = {**{key: root[key] for key in ("$defs", "definitions") if key in root}, **wanted}
    possible = choices(given)
    if "const" in given:
        possible = [given["const"]]
    if possible is not None:
        return _none_fits(possible, wanted)
    alternatives = given.get("anyOf")
    if isinstance(alternatives, list) and alternatives:
        found = [misfit(part, wanted, root, depth + 1) if part else None for part in alternatives]
        return found[0] if all(found) else None
    have, need = kinds(given), kinds(wanted)
    if have != UNKNOWN and have.isdisjoint(need):
        return f"the top: is {_listed(have)}, expected {_listed(need)}"
    return _inside(known(given), known(wanted), wanted, depth)


def literal(value: Json) -> Schema:
    """The schema of one value, its fields known one by one."""
    if isinstance(value, dict):
        return object_of({key: literal(item) for key, item in value.items()})
    if isinstance(value, list):
        return list_of([literal(item) for item in value])
    return {"const": value}


def holds_secret(value: Json) -> bool:
    """Whether a text in the value stands for a secret, whose own text is not known here."""
    if isinstance(value, dict):
        return any(holds_secret(item) for item in value.values())
    if isinstance(value, list):
        return any(holds_secret(item) for item in value)
    return isinstance(value, str) and "secret://" in value


def _none_fits(possible: list[Json], wanted: Schema) -> str | None:
    first = None
    for value in possible:
        found = [] if holds_secret(value) else faults(wanted, value, limit=1)
        if not found:
            return None
        first = first or found[0]
    return first


def _inside(given: Schema, wanted: Schema, root: Schema, depth: int) -> str | None:
    if kinds(given) == {"object"} and kinds(wanted) == {"object"}:
        return _in_fields(given, wanted, root, depth)
    if kinds(given) == {"list"} and kinds(wanted) == {"list"} and isinstance(given.get("prefixItems"), list):
        for index, part in enumerate(given["prefixItems"][: given.get("minItems", 0)]):
            if found := misfit(part, wanted.get("items"), root, depth + 1):
                return _below(str(index), found)
    return None


def _in_fields(given: Schema, wanted: Schema, root: Schema, depth: int) -> str | None:
    closed, sure = fields(given), set(given.get("required", ()))
    properties = wanted.get("properties", {})
    for name in wanted.get("required", ()):
        if closed is not None and name not in closed:
            return _below(name, "the top: is missing")
    for name, part in given.get("properties", {}).items():
        if name not in sure:
            continue
        if name not in properties and wanted.get("additionalProperties") is False and "patternProperties" not in wanted:
            return _below(name, "the top: is not known here")
        if found := misfit(part, properties.get(name), root, depth + 1):
            return _below(name, found)
    return None


def _below(name: str, sentence: str) -> str:
    place, _, rest = sentence.partition(": ")
    return f"/{name}{'' if place == 'the top' else place}: {rest}"


def _listed(found: Any) -> str:
    return " or ".join(with_article(kind) for kind in sorted(found))
