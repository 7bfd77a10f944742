"""Writes a spec in its canonical form: minimal, in a stable order, and read back as the same spec."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from graphs.language.dialects.canonical import union_members
from graphs.language.spec import WorkflowSpec
from state.values import Json

_ALWAYS: Final = frozenset({"cogwork", "type"})
_FIRST: Final = ("cogwork", "name", "version", "type", "description")
_LAST: Final = (
    "effect",
    "idempotent",
    "retry",
    "timeout",
    "total_timeout",
    "fallback",
    "undo",
    "on_error",
    "cache",
    "metadata",
    "output",
    "on_failure",
    "finally",
)
_NO_FOLDING: Final = 10**9
_UNSAFE: Final = re.compile(
    r"[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]|^\s|\s\Z(?<!\n)|\n\s*\Z(?<!\S\n)"
)
"""Texts that only double quotes carry unchanged through every YAML reader."""
_NUMBERLIKE: Final = re.compile(r"[-+.~]*[0-9]|[-+.]+[A-Za-z]")


def to_dict(spec: WorkflowSpec) -> dict[str, Json]:
    """The spec as plain data; defaults are left out."""
    return _plain_model(spec)


def to_yaml(spec: WorkflowSpec) -> str:
    """The spec as YAML text."""
    text: str = yaml.dump(
        to_dict(spec), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_NO_FOLDING, default_flow_style=False
    )
    return text


def to_json(spec: WorkflowSpec) -> str:
    """The spec as JSON text."""
    return json.dumps(to_dict(spec), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def digest(spec: WorkflowSpec) -> str:
    """The SHA-256 of the spec, in hexadecimal; equal for equal specs, whatever they were written as.

    Its ``tests`` do not count: they say nothing of what a run does.
    """
    plain = {name: value for name, value in to_dict(spec).items() if name != "tests"}
    text = json.dumps(_with_whole(plain), ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain_model(model: BaseModel) -> dict[str, Json]:
    found = dict(_fields(model))
    last = [key for key in _LAST if key in found]
    first = [key for key in _FIRST if key in found]
    middle = [key for key in found if key not in first and key not in last]
    return {key: found[key] for key in (*first, *middle, *last)}


def _fields(model: BaseModel) -> Iterator[tuple[str, Json]]:
    for name, info in type(model).model_fields.items():
        key, value = info.alias or name, getattr(model, name)
        if key in _ALWAYS or not _is_default(info, value):
            declared = float in union_members(info.annotation)
            yield key, _whole(value) if declared and isinstance(value, float) else plain(value)


def _whole(number: float) -> int | float:
    """The number without a fraction of zero."""
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _with_whole(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _with_whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_whole(inner) for inner in value]
    return _whole(value) if isinstance(value, float) else value


def _is_default(info: FieldInfo, value: Any) -> bool:
    if info.is_required():
        return False
    default = info.get_default(call_default_factory=True)
    return bool(type(default) is type(value) and default == value)


def plain(value: Any) -> Json:
    """Plain data for a part of a spec: models without their defaults, all else as it is."""
    if isinstance(value, BaseModel):
        return _plain_model(value)
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


class _Dumper(yaml.SafeDumper):
    """Writes every text so that YAML 1.1 and 1.2 readers alike take it for text, and nothing as an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=_style(text))


def _style(text: str) -> str | None:
    if _UNSAFE.search(text):
        return '"'
    if "\n" in text:
        return "|"
    return '"' if _NUMBERLIKE.match(text) else None


_Dumper.add_representer(str, _represent_text)
