"""Random small workflows without a fault: every reference leads to an earlier node, every target to a later one."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from graphs.language.spec import WorkflowSpec, full_schema
from state.values import Json

_TRICKY = (
    *("1.10", "010", "0o17", "0x1F", "1e3", "-.5", "+1", ".inf", ".nan", "1_000", "12:30:00", "~", "null", "Null", ""),
    *("true", "True", "yes", "no", "on", "off", "y", "2026-11-01", "2026-11-01T10:00:00Z", "<<", "=", "- a", "? a"),
    *(
        "a: b",
        "a #b",
        "# a",
        "&a",
        "*a",
        "!a",
        "@a",
        "%a",
        "`a`",
        "'a'",
        '"a"',
        "[a",
        "{a",
        "|",
        ">",
        "a\\b",
        "---",
        "...",
    ),
    *(
        "one\ntwo",
        "one\n\n two\n",
        "\none",
        "one\n",
        "one\n\n",
        " one",
        "one ",
        "\tone\n",
        "a\r\nb",
        "a\rb",
        "\x85",
        "\u2028",
    ),
    *("\ufeff", "ünï — 漢字 🦊", "\x1b[0m", "\n", " \n ", "x" * 300, "word " * 60),
)
_FREE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0{}$"), max_size=12)
texts = st.sampled_from(_TRICKY).filter(lambda text: "{{" not in text and "${" not in text) | _FREE
"""Texts that readers of YAML are tempted to take for something else; none holds an expression."""
keys = st.sampled_from(("a", "b", "on", "yes", "null", "1", "x y", "é", "~", "a/b", "")) | _FREE
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | texts
constants = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
"""Any JSON value without expressions."""
names = st.from_regex(r"[a-z][a-z0-9_]{0,6}(-[a-z])?", fullmatch=True).map(lambda name: f"n_{name}")
durations = st.sampled_from((0.25, 1, 30, 90.5, 600, 86400))
_property = st.fixed_dictionaries(
    {"type": st.sampled_from(("string", "integer", "boolean"))}, optional={"description": texts}
)
schemas = st.dictionaries(st.sampled_from(("title", "count", "ok", "type")), _property, min_size=1).map(full_schema)


def _value_of(name: str) -> str:
    return name if "-" not in name else f"steps['{name}'].output"


@st.composite
def _reading(draw: st.DrawFn, seen: list[str]) -> Json:
    """A value that may read the input and earlier nodes."""
    roots = ["input.text", *(_value_of(name) for name in seen)]
    root = draw(st.sampled_from(roots))
    return draw(
        st.sampled_from((f"{{{{ {root} }}}}", f"Say {{{{ {root} }}}}.\nThen stop.", f"${{{root}}}")) | constants
    )


@st.composite
def _common(draw: st.DrawFn, seen: list[str]) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    if draw(st.booleans()):
        chosen["description"] = draw(texts)
    if seen and draw(st.booleans()):
        chosen["depends_on"] = draw(st.lists(st.sampled_from(seen), unique=True, max_size=2))
    if draw(st.booleans()):
        chosen["when"] = draw(st.sampled_from((True, "input.flag", "{{ input.flag }} == true")))
    if draw(st.booleans()):
        chosen["on_error"] = "skip"
    if draw(st.booleans()):
        chosen["metadata"] = draw(st.dictionaries(keys, constants, max_size=2))
    return chosen


@st.composite
def _attempts(draw: st.DrawFn) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    if draw(st.booleans()):
        chosen["retry"] = {
            "max_attempts": draw(st.integers(1, 5)),
            "backoff": draw(durations),
            "on": draw(st.lists(st.sampled_from(("transient", "timeout", "tool_error")), unique=True)),
        }
    if draw(st.booleans()):
        chosen["timeout"] = draw(durations)
    return chosen


@st.composite
def _step(draw: st.DrawFn, seen: list[str], later: list[str], depth: int) -> dict[str, Any]:
    kinds = [
        "llm",
        "tool",
        "transform",
        "human",
        *(["condition"] if later else []),
        *(["for", "again"] if depth else []),
    ]
    kind = draw(st.sampled_from(kinds))
    common = draw(_common(seen))
    reading = _reading(seen)
    values = st.dictionaries(st.sampled_from(("a", "b", "on")), reading, max_size=2)
    match kind:
        case "llm":
            prompt = draw(st.sampled_from(("Say hello to {{ input.text }}", "Count:\n{{ input.text }}\n")))
            shape = {"output": draw(schemas)} if draw(st.booleans()) else {}
            return {**common, **draw(_attempts()), "type": "llm", "prompt": prompt, "with": draw(values), **shape}
        case "tool":
            return {**common, **draw(_attempts()), "type": "tool", "tool": "text.echo", "args": draw(values)}
        case "transform":
            return {**common, "type": "transform", "set": draw(reading)}
        case "human":
            return {**common, "type": "human", "ask": "Is {{ input.text }} right?", "form": draw(schemas)}
        case "condition":
            case_ = {"if": "input.flag", "then": draw(st.sampled_from(later))}
            return {**common, "type": "condition", "cases": [case_]}
        case "for":
            body = draw(_block(seen, depth - 1, 1))
            return {**common, "for_each": draw(st.sampled_from(("input.list", [1, "1", None]))), "nodes": body}
        case _:
            body = draw(_block(seen, depth - 1, 1))
            again = {"until": "input.flag", "max_iterations": draw(st.integers(1, 9)), "on_exhausted": "keep"}
            return {**common, "repeat": again, "nodes": body}


@st.composite
def _block(draw: st.DrawFn, outer: list[str], depth: int, most: int) -> dict[str, Any]:
    chosen = draw(st.lists(names.filter(lambda name: name not in outer), min_size=1, max_size=most, unique=True))
    nodes: dict[str, Any] = {}
    for index, name in enumerate(chosen):
        later = chosen[index + 1 :] if depth == 1 else []
        nodes[name] = draw(_step([*outer, *chosen[:index]], later, depth))
    return nodes


_given: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"input": st.just({"text": "{{ event.at }}", "flag": True})},
    optional={"description": texts, "options": st.just({"priority": 3})},
)
_times: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    ({"cron": "5 4 * * *"}, {"cron": "@daily", "timezone": "Asia/Tokyo"}, {"every": 1.5, "start": "2026-11-01"})
)
_kinds: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    (
        {"type": "webhook", "secret": "secret://guarded"},
        {"type": "file", "path": "**/*.csv", "on": ["created"], "settled": 30},
        {"type": "postgres", "channel": "1"},
        {"type": "workflow", "of": "010"},
    )
)
_policies: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"type": st.just("schedule")},
    optional={"overlap": st.sampled_from(("skip", "queue")), "catch_up": st.just("all"), "jitter": st.just(90)},
)
_schedules: st.SearchStrategy[dict[str, Any]] = st.builds(lambda time, policy: {**time, **policy}, _times, _policies)
_triggers = st.builds(lambda kind, given: {**given, **kind}, _kinds | _schedules, _given)


@st.composite
def specs(draw: st.DrawFn) -> WorkflowSpec:
    """A workflow of up to four nodes of any kind, loops among them."""
    nodes = draw(_block([], 1, 4))
    fields = {"text": "string", "flag": "boolean", "list": {"type": "array", "default": draw(st.just([]))}}
    raw: dict[str, Any] = {
        "name": draw(st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,8}", fullmatch=True)),
        "version": draw(texts),
        "description": draw(texts),
        "tags": draw(st.lists(texts, max_size=2)),
        "metadata": draw(st.dictionaries(keys, constants, max_size=2)),
        "vars": draw(st.dictionaries(keys, constants, max_size=2)),
        "input": full_schema(fields),
        "nodes": nodes,
        "triggers": draw(st.dictionaries(keys, _triggers, max_size=2)),
        "output": {name: f"{{{{ {_value_of(name)} | default: null }}}}" for name in nodes},
    }
    return WorkflowSpec.model_validate(raw)
