"""Values that ``fork`` changes: what ``--set`` names in a state of the past, and whether the new value fits there."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cogwork.cli.exits import Refusal
from cogwork.cli.values import coerced, pair
from state.schemas import faults
from state.values import Json, Schema

if TYPE_CHECKING:
    from graphs.analysis.plan import PlannedStep
    from graphs.graph import WorkflowGraph

Place: TypeAlias = tuple[str | int, ...]
"""The way into a value: names and indexes."""
BY_HAND: Final = "set_by"
"""The key in the record of a step whose value a person gave."""
_PART: Final = re.compile(r"\.?([A-Za-z_][\w-]*)|\[(\d+)\]|\[(['\"])(.*?)\3\]")


@dataclass(slots=True, kw_only=True)
class Changes:
    """What a fork writes over a state of the past; made by ``changed``."""

    input: Json = None
    nodes: dict[str, Json] = field(default_factory=dict)
    results: dict[str, Json] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    """Steps that have a value by hand and had not ended."""


def target(text: str, known: Iterable[str]) -> tuple[str, Place, str]:
    """What ``--set KEY=VALUE`` is about: ``input`` or the path of a step, the place within its value, and the text.

    Raises:
        Refusal: the key names no step of ``known``, or cannot be read.
    """
    key, value = pair(text, "--set")
    names = [name for name in ("input", *known) if key == name or key.startswith((f"{name}.", f"{name}["))]
    if not names:
        raise Refusal(f"--set {key}: there is no such step in the run", "write STEP=…, STEP.field=… or input.field=…")
    name = max(names, key=len)
    return name, _place(key, key[len(name) :]), value


def _outside(nodes: Mapping[str, Any], name: str, place: Place, given: str) -> tuple[str, Place, str]:
    """The item of a loop that is over as what it is then: a place in the loop's value."""
    loop, _, index = name.rstrip("]").rpartition("[")
    if name.endswith("]") and nodes.get(loop, {}).get("status") == "done":
        return loop, (int(index), *place), given
    return name, place, given


def _place(key: str, rest: str) -> Place:
    parts: list[str | int] = []
    at = 0
    while at < len(rest):
        found = _PART.match(rest, at)
        if found is None:
            raise Refusal(f"--set {key}: {rest[at:]!r} is no place in a value", "write it like .rows[2].name")
        name, index, _, quoted = found.groups()
        parts.append(int(index) if index is not None else name if name is not None else quoted)
        at = found.end()
    return tuple(parts)


def changed(
    graph: WorkflowGraph, state: Mapping[str, Any], texts: Sequence[str], known: Iterable[str], standing_in: str = ""
) -> Changes:
    """The changes that ``--set`` options make to a state of a run with the steps ``known``.

    ``standing_in`` is a step that gets its value by hand instead of running.

    Raises:
        Refusal: a step that has no value there, a place that is not there, or a value that does not fit its schema.
        InputRefused: the changed input does not fit the workflow's.
    """
    made = Changes(input=copy.deepcopy(state.get("input")))
    touched = False
    for text in texts:
        name, place, given = _outside(state.get("nodes", {}), *target(text, known))
        if name == "input":
            made.input, touched = _replaced(made.input, place, given, graph.plan.spec.input, text), True
        else:
            _change_step(made, graph, state, name, place, given, standing_in)
    if touched:
        from graphs.inputs import valid_input

        made.input = valid_input(graph.plan.spec, made.input if isinstance(made.input, dict) else {"": made.input})
    return made


def _change_step(
    made: Changes, graph: WorkflowGraph, state: Mapping[str, Any], path: str, place: Place, given: str, standing_in: str
) -> None:
    record: Mapping[str, Any] = state.get("nodes", {}).get(path, {})
    if path != standing_in and record.get("status") != "done":
        raise Refusal(
            f"--set {path}: at that point it is {record.get('status', 'not begun')} and has no value",
            f"give it one in its stead with: --at {path} --set {path}=…",
        )
    _refuse_closed(state, path)
    schema = value_schema(graph, path)
    old = made.results.get(path, copy.deepcopy(state.get("results", {}).get(path)))
    value = _replaced(old, place, given, schema, path)
    if wrong := [*faults(schema, value), *_unknown_targets(_planned(graph, path), value)]:
        raise Refusal(f"--set {path}: the value does not fit the step: {'; '.join(wrong)}")
    made.results[path] = value
    made.nodes[path] = {**record, BY_HAND: "fork"}
    if path == standing_in and path not in made.path:
        made.path.append(path)


def _refuse_closed(state: Mapping[str, Any], path: str) -> None:
    """A value inside a loop that is over is read by nobody any more."""
    nodes = state.get("nodes", {})
    for end in (match.start() for match in re.finditer(r"[.\[]", path)):
        if nodes.get(path[:end], {}).get("status") == "done":
            raise Refusal(
                f"--set {path}: {path[:end]} has ended by then, and nothing reads what is inside it",
                f"change {path[:end]} instead, or fork where {path} ends: --at {path}",
            )


def value_schema(graph: WorkflowGraph, path: str) -> Schema:
    """The schema of a step's value, as far as it has one."""
    planned = _planned(graph, path)
    if planned is None or path.endswith("]"):
        return {}
    if planned.node is not None:
        return planned.node.result_schema(graph.services)
    return {"type": "array"} if planned.kind == "for_each" else {}


def _planned(graph: WorkflowGraph, path: str) -> PlannedStep | None:
    return graph.plan.steps.get(re.sub(r"\[\d+\]", "", path))


def _unknown_targets(planned: PlannedStep | None, value: Json) -> list[str]:
    """The targets that a condition cannot choose."""
    from nodes.condition import ConditionNode

    if planned is None or not isinstance(planned.step, ConditionNode) or not isinstance(value, dict):
        return []
    offered = {name for _, name in planned.step.targets()}
    return [f"{name} is none of {', '.join(sorted(offered))}" for name in value["selected"] if name not in offered]


def _replaced(old: Json, place: Place, given: str, schema: Schema, where: str) -> Json:
    """``old`` with the text as its value at ``place``, read as the schema there, else the old value, asks for."""
    if not place:
        return coerced(schema if _typed(schema) else _like(old), given)
    inner = schema_at(schema, place[0])
    head, rest = place[0], place[1:]
    if isinstance(head, int):
        if not isinstance(old, list) or head >= len(old):
            raise Refusal(f"--set {where}: there is no item [{head}]")
        return [*old[:head], _replaced(old[head], rest, given, inner, where), *old[head + 1 :]]
    if not isinstance(old, dict | None):
        raise Refusal(f"--set {where}: there is no field {head!r} in a value of type {type(old).__name__}")
    return {**(old or {}), head: _replaced((old or {}).get(head), rest, given, inner, where)}


def schema_at(schema: Schema, part: str | int) -> Schema:
    """The schema of a field or item, where it is plainly declared."""
    if isinstance(part, int):
        items = schema.get("items")
        return items if isinstance(items, dict) else {}
    properties = schema.get("properties")
    inner = properties.get(part) if isinstance(properties, dict) else None
    return inner if isinstance(inner, dict) else {}


def _typed(schema: Schema) -> bool:
    return any(key in schema for key in ("type", "enum", "anyOf", "oneOf"))


def _like(old: Json) -> Schema:
    """The schema of values like the old one: what text means where nothing else says it."""
    if isinstance(old, bool):
        return {"type": "boolean"}
    kinds = {str: "string", int: "number", float: "number", list: "array", dict: "object"}
    return {"type": kinds[type(old)]} if type(old) in kinds else {}
