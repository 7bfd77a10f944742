"""One node of a graph definition: its configuration and schemas as the fields of its kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from graphs.language.dialects.entry import Entry, Picked, Target, retry
from graphs.language.dialects.rewriting import Change, rewritten_condition, rewritten_value
from state.values import Json

_PLAIN: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "llm": {
        "model": ("model", "model_name"),
        "agent": ("agent", "agent_id"),
        "tools": ("tools",),
        "mode": ("mode",),
        "temperature": ("temperature",),
        "max_tokens": ("max_tokens",),
        "stop": ("stop", "stop_sequences"),
        "history": ("history",),
    },
    "tool": {"tool": ("tool", "tool_name", "name")},
    "condition": {"match": ("match",)},
    "transform": {},
    "human": {"form": ("form", "schema"), "on_timeout": ("on_timeout",)},
}
_TEXTS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "llm": {
        "prompt": ("prompt", "prompt_template", "user_prompt", "template"),
        "system": ("system", "system_prompt"),
        "with": ("with", "variables", "inputs"),
    },
    "tool": {"args": ("args", "parameters", "arguments", "inputs")},
    "condition": {},
    "transform": {"set": ("set", "mapping", "mappings", "value", "output")},
    "human": {"ask": ("ask", "prompt", "question", "message"), "show": ("show", "context", "data")},
}


def configure(entry: Entry, node: Target, change: Change) -> None:
    """Write a node of the graph as a step; what its kind does not know is reported."""
    kind = entry.text("type")
    kind_name = kind.value if kind else ""
    node.copy("type", kind)
    configuration = entry.entry("configuration", "config") or Entry(entry.draft, {}, entry.pointer)
    node.copy("description", entry.pick("description", "name", "label") or configuration.pick("description"))
    _copy_fields(kind_name, configuration, node, change)
    if kind_name == "condition":
        _cases(configuration, node, change)
    _common(configuration, node)
    _schemas(kind_name, entry, node, change)
    if kind_name in _PLAIN:
        configuration.report_rest()


def _copy_fields(kind: str, configuration: Entry, node: Target, change: Change) -> None:
    for key, names in _PLAIN.get(kind, {}).items():
        node.copy(key, configuration.pick(*_both(names)))
    for key, names in _TEXTS.get(kind, {}).items():
        if found := configuration.pick(*_both(names)):
            node.put(key, rewritten_value(found.value, change, found.pointer), found.pointer)
    if kind == "transform" and "set" not in node.value:
        if found := configuration.pick("expression", "transform"):
            inner = found.value if isinstance(found.value, str) and "{" in found.value else f"{{{{ {found.value} }}}}"
            node.put("set", rewritten_value(inner, change, found.pointer), found.pointer)


def _cases(configuration: Entry, node: Target, change: Change) -> None:
    """Cases that the configuration itself names; the edges add theirs later."""
    configuration.pick("expression", "condition", "if")
    cases = configuration.pick("cases")
    if cases is not None and isinstance(cases.value, list):
        node.put("cases", [_case(case, change, cases.pointer) for case in cases.value], cases.pointer)
    node.copy("else", configuration.pick("else", "default"))


def _case(case: Json, change: Change, pointer: str) -> Json:
    if not isinstance(case, Mapping):
        return case
    return {
        {"condition": "if", "target": "then"}.get(key, key): rewritten_condition(value, change, pointer)
        if key in ("if", "condition")
        else value
        for key, value in case.items()
    }


def _common(configuration: Entry, node: Target) -> None:
    retry(configuration.entry("retry", "retry_policy", "retryPolicy"), node)
    node.copy("timeout", configuration.pick("timeout", "timeout_seconds", "timeoutSeconds"))
    node.copy("cache", configuration.pick("cache"))
    if fallback := configuration.pick("fallback"):
        listed = fallback.value if isinstance(fallback.value, list) else [fallback.value]
        node.put("fallback", [_fallback(item, node.value.get("type")) for item in listed], fallback.pointer)
    node.copy("undo", configuration.pick("undo", "compensation"))
    node.copy("on_error", configuration.pick("on_error", "onError"))


def _fallback(raw: Json, kind: Json) -> Json:
    """A fallback that is a mere name: a model for an llm node where it is written as one, else a node of the graph."""
    if not isinstance(raw, str):
        return raw
    return {"model": raw} if kind == "llm" and ":" in raw else {"node": raw}


def _schemas(kind: str, entry: Entry, node: Target, change: Change) -> None:
    """The output schema as the kind's schema; the input schema as its variables, where the configuration names none."""
    _output_schema(kind, entry, entry.pick("output_schema", "outputSchema"), node)
    given = entry.pick("input_schema", "inputSchema")
    fields = schema_fields(given.value if given else None)
    if given is None or not fields:
        return
    key = {"llm": "with", "tool": "args"}.get(kind)
    if key and key not in node.value:
        values = {name: rewritten_value(f"{{{{ {name} }}}}", change, given.pointer) for name in fields}
        node.put(key, values, given.pointer)
    elif not key:
        entry.warn(
            "dialect_ignored",
            f"A {kind or 'nameless'} node reads what its texts name; its input schema is left out",
            given.pointer,
        )


def _output_schema(kind: str, entry: Entry, found: Picked | None, node: Target) -> None:
    if found is None or not found.value:
        return
    key = {"llm": "output", "tool": "output", "transform": "output", "human": "form"}.get(kind)
    if key is None:
        entry.warn("dialect_ignored", f"A {kind} node has no output schema; it is left out", found.pointer)
    elif not schema_fields(found.value):
        entry.warn("dialect_ignored", "An output schema without properties is left out", found.pointer)
    elif key not in node.value:
        whole = isinstance(found.value.get("properties"), Mapping)
        node.put(key, {"type": "object", **found.value} if whole else found.value, found.pointer)


def schema_fields(schema: Json) -> Mapping[str, Json]:
    """The properties of a schema, or of what is a map of properties itself."""
    if not isinstance(schema, Mapping):
        return {}
    inner = schema.get("properties")
    if isinstance(inner, Mapping):
        return inner
    return {} if isinstance(schema.get("type"), str) or "$ref" in schema else schema


def _both(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names in snake_case and in camelCase."""
    camel = (re.sub(r"_(\w)", lambda found: found[1].upper(), name) for name in names)
    return tuple(dict.fromkeys([*names, *camel]))
