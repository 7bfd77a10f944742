"""The shorthands of the canonical form, written out: maps of properties, single-node loops, single names, unquoted texts."""

from __future__ import annotations

import types
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel

from graphs.language.dialects.draft import Draft, under
from graphs.language.spec import (
    Agent,
    ForEach,
    HumanNode,
    LlmNode,
    Repeat,
    ToolNode,
    TransformNode,
    WorkflowSpec,
    full_schema,
    step_class,
)
from graphs.language.triggers import Starting, trigger_class
from nodes.base import Step
from state.values import Json

BODY: Final = "do"
"""The name of the node in a loop that was written as one node."""
SCHEMA_FIELDS: Final[Mapping[type[BaseModel], str]] = {
    WorkflowSpec: "input",
    LlmNode: "output",
    ToolNode: "output",
    TransformNode: "output",
    HumanNode: "form",
    Agent: "output",
}
PROPERTY_TYPES: Final = ("string", "number", "integer", "boolean", "array", "object", "null")
_TEXTS: Final = frozenset({"title", "description", "pattern", "format", "$ref", "$comment", "contentEncoding"})
_SAMPLES: Final = frozenset({"default", "const"})
_SAMPLE_LISTS: Final = frozenset({"enum", "examples"})


def write_out(draft: Draft) -> None:
    """Replace every shorthand of the draft's value by what it stands for."""
    value = dict(draft.value)
    _write_out_schema(WorkflowSpec, value, "", draft)
    value = _with_steps(value, "", draft)
    if isinstance(value.get("agents"), Mapping):
        value["agents"] = {name: _agent(raw, under("", "agents", name), draft) for name, raw in value["agents"].items()}
    for block in ("on_failure", "finally"):
        if isinstance(value.get(block), Mapping):
            value[block] = _with_steps(dict(value[block]), f"/{block}", draft)
    draft.value = _texts(WorkflowSpec, value, "", draft)


def alias_of(model: type[BaseModel], name: str) -> str:
    """The key of a field as documents write it."""
    return model.model_fields[name].alias or name


def aliases(model: type[BaseModel]) -> list[str]:
    """The keys that documents may use for a model, in order."""
    return [alias_of(model, name) for name in model.model_fields]


def _with_steps(value: dict[str, Json], pointer: str, draft: Draft) -> dict[str, Json]:
    nodes = value.get("nodes")
    if isinstance(nodes, Mapping):
        value["nodes"] = {name: _step(raw, under(pointer, "nodes", name), draft) for name, raw in nodes.items()}
    return value


def _agent(raw: Json, pointer: str, draft: Draft) -> Json:
    if not isinstance(raw, Mapping):
        return raw
    agent = dict(raw)
    _write_out_schema(Agent, agent, pointer, draft)
    return agent


def _step(raw: Json, pointer: str, draft: Draft) -> Json:
    kind = step_class(raw)
    if not isinstance(raw, Mapping) or kind is None:
        return raw
    step = dict(raw)
    bodied = "nodes" in step or {"for_each", "repeat"} <= set(step)
    if kind in (ForEach, Repeat) and not bodied and ("type" in step or "use" in step):
        step = _with_body(kind, step, pointer, draft)
    if isinstance(step.get("depends_on"), str):
        step["depends_on"] = [step["depends_on"]]
        draft.move(f"{pointer}/depends_on/0", f"{pointer}/depends_on")
    _write_out_schema(kind, step, pointer, draft)
    return _with_steps(step, pointer, draft)


def _with_body(loop: type[Step], step: dict[str, Json], pointer: str, draft: Draft) -> dict[str, Json]:
    """The loop with the node that was written into it as its body.

    What every step has (``depends_on``, ``when`` …) stays with the loop; ``output`` goes with a body that has one.
    """
    inner = {key: value for key, value in step.items() if key not in ("for_each", "repeat")}
    kind = step_class(inner)
    inside = set(aliases(kind)) - set(Step.model_fields) if kind else {"type"}
    mine = {key for key in step if key in aliases(loop) and key not in inside}
    body = {key: value for key, value in step.items() if key not in mine}
    draft.move(f"{pointer}/nodes", pointer)
    draft.move(f"{pointer}/nodes/{BODY}", pointer)
    return {**{key: step[key] for key in step if key in mine}, "nodes": {BODY: body}}


def _write_out_schema(model: type[BaseModel], value: dict[str, Json], pointer: str, draft: Draft) -> None:
    """Make the schema field of the model a full schema, in place."""
    key = SCHEMA_FIELDS.get(model)
    raw = value.get(key) if key else None
    if key is None or not isinstance(raw, Mapping):
        return
    place = under(pointer, key)
    if raw.get("type") == "object" and isinstance(raw.get("properties"), Mapping):
        return
    _check_properties(raw, place, draft)
    value[key] = full_schema(raw)
    draft.move(f"{place}/properties", place)


def _check_properties(raw: Mapping[str, Json], place: str, draft: Draft) -> None:
    for name, schema in raw.items():
        at = under(place, name)
        if isinstance(schema, str) and schema not in PROPERTY_TYPES:
            close = get_close_matches(schema[:64], PROPERTY_TYPES, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Write one of {', '.join(PROPERTY_TYPES)}."
            draft.report("bad_value", f"{schema[:60]!r} is not a type", at, hint)
        elif not isinstance(schema, str | Mapping | bool):
            draft.report("wrong_type", f"`{name}` must be a type's name or a schema", at, f"Write `{name}: string`.")
    if isinstance(raw.get("type"), str) and raw["type"] in PROPERTY_TYPES and len(raw) > 1:
        message = "This is read as a map of properties, one of them named `type`"
        hint = "A full schema has both `type: object` and `properties`."
        draft.report("schema_shorthand", message, place, hint, severity="warning")


def _texts(annotation: Any, value: Json, pointer: str, draft: Draft) -> Json:
    """The value with the source text in every place that is declared to hold text."""
    members = union_members(annotation)
    if isinstance(value, Mapping):
        return _texts_of_mapping(members, value, pointer, draft)
    if isinstance(value, list):
        inner = next((get_args(m)[0] for m in members if get_origin(m) is list and get_args(m)), Any)
        return [_texts(inner, item, f"{pointer}/{index}", draft) for index, item in enumerate(value)]
    return _text(value, pointer, draft) if members == [str] else value


def _texts_of_mapping(members: list[Any], value: Mapping[str, Json], pointer: str, draft: Draft) -> dict[str, Json]:
    models = [m for m in members if isinstance(m, type) and issubclass(m, BaseModel)]
    model: type[BaseModel] | None = next(iter(models), None)
    if any(issubclass(m, Step) for m in models):
        model = step_class(value)
    elif any(issubclass(m, Starting) for m in models):
        model = trigger_class(value)
    if model is None:
        inner = next((get_args(m)[1] for m in members if get_origin(m) is dict), Any)
        return {key: _texts(inner, item, under(pointer, key), draft) for key, item in value.items()}
    keys = {alias_of(model, name): info.annotation for name, info in model.model_fields.items()}
    plain = {key: _texts(keys.get(key, Any), item, under(pointer, key), draft) for key, item in value.items()}
    if (key := SCHEMA_FIELDS.get(model)) and isinstance(plain.get(key), dict):
        plain[key] = _schema_texts(plain[key], under(pointer, key), draft)
    if model is HumanNode and isinstance(plain.get("form"), dict) and "on_timeout" in plain:
        plain["on_timeout"] = _fitted(plain["form"], plain["on_timeout"], under(pointer, "on_timeout"), draft)
    return plain


def union_members(annotation: Any) -> list[Any]:
    """The alternatives of an annotation without None and without their annotations; itself where there is one."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) not in (Union, types.UnionType):
        return [annotation]
    return [inner for member in get_args(annotation) if member is not type(None) for inner in union_members(member)]


def _text(value: Json, pointer: str, draft: Draft) -> Json:
    if isinstance(value, bool | int | float) and (raw := draft.raw(pointer)) is not None:
        return raw
    return value


def _schema_texts(schema: Json, pointer: str, draft: Draft) -> Json:
    """The schema with the source text in its texts and in the samples that it declares to be text."""
    if isinstance(schema, list):
        return [_schema_texts(inner, f"{pointer}/{index}", draft) for index, inner in enumerate(schema)]
    if not isinstance(schema, Mapping):
        return schema
    plain: dict[str, Json] = {}
    for word, inner in schema.items():
        at = under(pointer, word)
        if word in _TEXTS:
            plain[word] = _text(inner, at, draft)
        elif word in _SAMPLES:
            plain[word] = _fitted(schema, inner, at, draft)
        elif word in _SAMPLE_LISTS and isinstance(inner, list):
            plain[word] = [_fitted(schema, item, f"{at}/{index}", draft) for index, item in enumerate(inner)]
        elif word in ("properties", "patternProperties", "$defs") and isinstance(inner, Mapping):
            plain[word] = {name: _schema_texts(item, under(at, name), draft) for name, item in inner.items()}
        else:
            plain[word] = _schema_texts(inner, at, draft)
    return plain


def _fitted(schema: Json, value: Json, pointer: str, draft: Draft) -> Json:
    """The value with the source text where the schema wants text."""
    if not isinstance(schema, Mapping):
        return value
    wanted = schema.get("type")
    if isinstance(value, Mapping):
        inner = schema.get("properties")
        inner = inner if isinstance(inner, Mapping) else {}
        return {key: _fitted(inner.get(key), item, under(pointer, key), draft) for key, item in value.items()}
    if isinstance(value, list):
        return [_fitted(schema.get("items"), item, f"{pointer}/{index}", draft) for index, item in enumerate(value)]
    return _text(value, pointer, draft) if wanted in ("string", ["string"], ["string", "null"]) else value
