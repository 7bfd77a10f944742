"""What is wrong with a document, in our words: what was wanted, what stands there, and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel

from graphs.language.dialects.canonical import alias_of, aliases, union_members
from graphs.language.dialects.draft import Draft
from graphs.language.source import brief
from graphs.language.spec import NODE_TYPES, ForEach, Repeat, Use
from graphs.language.triggers import TRIGGER_TYPES
from nodes.base import Step
from nodes.condition import ConditionNode
from nodes.human import HumanNode
from nodes.llm import LlmNode
from nodes.tool import ToolNode
from nodes.transform import TransformNode
from state.values import Json

KINDS: Final[tuple[type[Step], ...]] = (
    LlmNode,
    ToolNode,
    ConditionNode,
    TransformNode,
    HumanNode,
    ForEach,
    Repeat,
    Use,
)
_WORDS: Final[Mapping[str, str]] = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_MEANT: Final[Mapping[str, tuple[str, ...]]] = {
    "parameters": ("args",),
    "params": ("args",),
    "arguments": ("args",),
    "inputs": ("input", "with"),
    "outputs": ("output",),
    "variables": ("vars", "with"),
    "steps": ("nodes",),
    "if": ("when",),
    "condition": ("when",),
    "needs": ("depends_on",),
    "after": ("depends_on",),
    "retries": ("retry",),
    "retry_count": ("retry",),
    "max_retries": ("max_attempts",),
    "attempts": ("max_attempts",),
    "delay": ("backoff",),
    "question": ("ask",),
    "schema": ("form", "output"),
    "tool_name": ("tool",),
    "body": ("nodes",),
    "do": ("nodes",),
    "foreach": ("for_each",),
    "concurrency": ("max_parallel",),
    "system_prompt": ("system", "instructions"),
    "timeout_seconds": ("timeout",),
    "default": ("else",),
    "otherwise": ("else",),
    "onerror": ("on_error",),
    "compensate": ("undo",),
    "workflow": ("use",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One of the model's errors, with the place that it speaks of; ``union`` is where alternatives begin."""

    fault: str
    context: Mapping[str, Any]
    pointer: str
    value: Json
    model: type[BaseModel]
    union: str | None


def report(found: Found, draft: Draft) -> None:
    """Note one fault as a problem."""
    match found.fault:
        case "missing":
            _report_missing(found, draft)
        case "extra_forbidden":
            _report_unknown(found, draft)
        case "union_tag_invalid" | "union_tag_not_found":
            _report_kind(found, draft)
        case "value_error":
            hint = "Write 30s, 10m, 1h30m, 3d or a number of seconds."
            what = f"{_shown(found.value)} is not a duration of more than zero and at most 366 days"
            draft.report("bad_duration", f"{_label(found.pointer)}: {what}", found.pointer, hint)
        case _:
            report_unfit([found], draft)


def _report_missing(found: Found, draft: Draft) -> None:
    parent, _, key = found.pointer.rpartition("/")
    info = next(i for n, i in found.model.model_fields.items() if alias_of(found.model, n) == key)
    hint = info.description or ""
    if key == "nodes" and found.model in (ForEach, Repeat):
        hint = "Give the loop `nodes:`, or write one node into it: `type: …` or `use: …`."
    label = _label(parent) if parent else "The workflow"
    draft.report("missing_key", f"{label} lacks `{key}`", parent, hint)


def _report_unknown(found: Found, draft: Draft) -> None:
    parent, _, last = found.pointer.rpartition("/")
    key = last.replace("~1", "/").replace("~0", "~")
    known = aliases(found.model)
    meant = [name for name in _MEANT.get(key.lower(), ()) if name in known]
    close = meant or get_close_matches(key[:64], known, n=1) or get_close_matches(key[:64].lower(), known, n=1)
    owners = [_kind_name(kind) for kind in KINDS if key in aliases(kind)]
    if close:
        hint = f"Did you mean {close[0]!r}?"
    elif owners and issubclass(found.model, Step):
        hint = f"{', '.join(owners)} has it; this is {_kind_name(found.model)}."
    else:
        hint = f"Known here: {', '.join(known)}."
    draft.report("unknown_key", f"{brief(key)} is not known in {_label(parent)}", found.pointer, hint, key=True)


def _kind_name(kind: type[BaseModel]) -> str:
    if kind in (ForEach, Repeat, Use):
        return {ForEach: "for_each", Repeat: "repeat", Use: "use"}[kind]
    return str(kind.model_fields["type"].default) if "type" in kind.model_fields else kind.__name__


def _report_kind(found: Found, draft: Draft) -> None:
    label = _label(found.pointer)
    if not isinstance(found.value, Mapping):
        draft.report("wrong_type", f"{label} must be a mapping, not {kind_of(found.value)}", found.pointer)
        return
    kind = found.value.get("type")
    if re.fullmatch("/triggers/[^/]*", found.pointer):
        _report_trigger_type(found, draft, kind)
        return
    listed = f"{', '.join(NODE_TYPES)}; or the key for_each, repeat or use"
    if kind is None:
        own = {key for key in found.value if key not in Step.model_fields}
        guess = max(KINDS, key=lambda k: len(own & set(aliases(k))))
        hint = f"`type: {_kind_name(guess)}`? " if own & set(aliases(guess)) else ""
        draft.report("missing_key", f"{label} lacks `type`", found.pointer, f"{hint}One of {listed}.")
        return
    close = get_close_matches(str(kind)[:64].lower(), NODE_TYPES, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"One of {listed}."
    what = f"{_shown(kind)} is not a type of step"
    draft.report("unknown_step_type", f"{label}: {what}", f"{found.pointer}/type", hint)


def _report_trigger_type(found: Found, draft: Draft, kind: Json) -> None:
    listed = f"One of {', '.join(TRIGGER_TYPES)}."
    label = _label(found.pointer)
    if kind is None:
        guess = (
            "`type: schedule`? " if isinstance(found.value, Mapping) and {"cron", "every"} & set(found.value) else ""
        )
        draft.report("missing_key", f"{label} lacks `type`", found.pointer, guess + listed)
        return
    close = get_close_matches(str(kind)[:64].lower(), TRIGGER_TYPES, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else listed
    what = f"{_shown(kind)} is not a type of trigger"
    draft.report("unknown_trigger_type", f"{label}: {what}", f"{found.pointer}/type", hint)


def report_unfit(found: list[Found], draft: Draft) -> None:
    """One problem for a value that fits none of what was wanted; ``found`` speaks of one place."""
    first = found[0]
    label, value = _label(first.pointer), first.value
    wanted = " or ".join(dict.fromkeys(_wanted(one) for one in found))
    options = [option for one in found if one.fault == "literal_error" for option in _options(one)]
    unfit_type = all(one.fault in _WORDS for one in found) or (options and not isinstance(value, str))
    if unfit_type:
        hint = "Leave the key out, or give it a value." if value is None else _hint_for_type(found, value)
        draft.report("wrong_type", f"{label} must be {wanted}, not {kind_of(value)}", first.pointer, hint)
        return
    close = get_close_matches(str(value)[:64].lower(), options, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else ""
    if first.fault == "too_short" and not value:
        draft.report("bad_value", f"{label} must have at least 1 entry", first.pointer, "Leave it out, or fill it.")
        return
    draft.report("bad_value", f"{label} must be {wanted}, not {_shown(value)}", first.pointer, hint)


def _hint_for_type(found: list[Found], value: Json) -> str:
    types = {one.fault for one in found}
    if types == {"string_type"} and not isinstance(value, dict | list):
        return "Quote it."
    if types == {"list_type"}:
        return "Write it as a list: [ … ]."
    if isinstance(value, str) and types & {"int_type", "float_type", "bool_type"}:
        return "Write it without quotes; an expression cannot stand here."
    return ""


def _wanted(found: Found) -> str:
    if found.fault in _WORDS:
        return _WORDS[found.fault]
    if found.fault in _BOUNDS:
        words, key = _BOUNDS[found.fault]
        return f"{words} {found.context[key]:,}"
    if found.fault == "literal_error":
        return f"one of {', '.join(_options(found))}"
    if found.fault == "string_pattern_mismatch":
        return "a name that begins with a letter or _ and holds only letters, digits, _, . and -"
    if found.fault in ("too_short", "string_too_short"):
        return f"of at least {found.context['min_length']} entry"
    if found.fault in ("too_long", "string_too_long"):
        return f"of at most {found.context['max_length']} characters"
    return "of another form"


def _options(found: Found) -> list[str]:
    annotation = _field_annotation(found)
    literals = [m for m in _deep_members(annotation) if get_origin(m) is Literal]
    return [str(option) for literal in literals for option in get_args(literal)]


def _deep_members(annotation: Any) -> Iterator[Any]:
    for member in union_members(annotation):
        if get_origin(member) in (list, dict):
            yield from _deep_members(get_args(member)[-1])
        else:
            yield member


def _field_annotation(found: Found) -> Any:
    keys = [key for key in found.pointer.split("/") if not key.isdigit()]
    return next(
        (i.annotation for n, i in found.model.model_fields.items() if alias_of(found.model, n) == keys[-1]), Any
    )


def _label(pointer: str) -> str:
    """How a message calls the place: its last key, with the indexes that follow it."""
    if not pointer:
        return "the workflow"
    name, indexes = "", ""
    for step in reversed(pointer.split("/")[1:]):
        if not step.isdigit():
            name = step.replace("~1", "/").replace("~0", "~")
            break
        indexes = f"[{step}]{indexes}"
    return f"`{name}{indexes}`"


def _shown(value: Json) -> str:
    return brief(value) if isinstance(value, str) else str(value) if isinstance(value, int | float) else kind_of(value)


def kind_of(value: Json) -> str:
    """What a value is, in a reader's words."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case str():
            return "text"
        case float() if not value.is_integer():
            return "a number with a fraction"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "a mapping"
