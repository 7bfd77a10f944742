"""What a prompt shows of the context that a run was called with: only what it declares, and always as data.

Who calls a run says what its context is, so a value may hold anything, also what looks like an order or a heading. A short line
appears in quotes, everything else in a fence that it cannot close.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

from state.values import Json

ROOTS: Final = ("session", "user", "project", "environment", "preferences")
"""What of a run's context prompts may show; its ``history`` is a conversation and comes in as messages."""
_FENCES: Final = re.compile(r"`{3,}")
_BREAKS: Final = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]")
_SHORT: Final = 200


def shown(declared: Iterable[str], context: Mapping[str, Json]) -> dict[str, Json]:
    """The text of each declared value, by ``context.…``; None for one that the context lacks."""
    return {f"context.{name}": _as_data(_found(context, name.split("."))) for name in declared}


def _found(context: Mapping[str, Json], keys: list[str]) -> Json:
    found: Json = dict(context)
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _as_data(value: Json) -> Json:
    if value is None or value is False or value in ("", [], {}):
        return None
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, str) and len(value) <= _SHORT and not _BREAKS.search(value):
        return json.dumps(value, ensure_ascii=False)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    return fenced(text, "text" if isinstance(value, str) else "json")


def fenced(text: str, kind: str) -> str:
    """The text in a fence that it cannot close."""
    longest = max((len(run) for run in _FENCES.findall(text)), default=2)
    fence = "`" * max(3, longest + 1)
    return f"\n{fence}{kind}\n{text}\n{fence}\n"
