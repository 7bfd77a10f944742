"""What of a deed is written down: enough to know it again, and neither secrets nor the material itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from cogwork.identity.token_text import without_tokens
from state.values import Json

CHARACTERS: Final = 200
"""Of a text among the details."""
ITEMS: Final = 20
DEPTH: Final = 3
BYTES: Final = 4096
"""Of all details of an entry."""
_LOOKED_AT: Final = 65_536
_SECRET: Final = re.compile(r"(?i)token|secret|passw|api_?key|authorization|cookie|credential|private")
_MATERIAL: Final = frozenset(
    {
        "input",
        "inputs",
        "output",
        "answer",
        "answers",
        "context",
        "args",
        "arguments",
        "body",
        "spec",
        "content",
        "code",
    }
)
"""What holds people's own data; only its size is told."""
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def line(text: str, length: int) -> str:
    """The text as one line of at most so many characters, without tokens and without what steers a terminal."""
    plain = _CONTROLS.sub("\ufffd", without_tokens(str(text)[:_LOOKED_AT]))
    return plain if len(plain) <= length else plain[: length - 1] + "…"


def details(given: Mapping[str, Json]) -> dict[str, Json]:
    """The details as they are kept: bounded in depth, number and length; where it is still too much, only how much."""
    kept = {line(name, 64): _named(name, value, DEPTH) for name, value in list(given.items())[:ITEMS]}
    size = len(json.dumps(kept))
    return kept if size <= BYTES else {"left_out": f"{size} bytes"}


def _named(name: str, value: Json, depth: int) -> Json:
    if value is not None and _SECRET.search(str(name)):
        return "***"
    return size(value) if str(name).lower() in _MATERIAL else _bounded(value, depth)


def _bounded(value: Json, depth: int) -> Json:
    match value:
        case None | bool() | int() | float():
            return value if not isinstance(value, float) or abs(value) < 1e300 else str(value)
        case str():
            return line(value, CHARACTERS)
        case _ if depth == 0:
            return size(value)
        case dict():
            return {line(name, 64): _named(name, each, depth - 1) for name, each in list(value.items())[:ITEMS]}
        case list() | tuple():
            return [_bounded(each, depth - 1) for each in value[:ITEMS]]
        case _:
            return type(value).__name__


def size(value: Json) -> str:
    """How much a value is, in words."""
    match value:
        case None:
            return "nothing"
        case str():
            return f"text of {len(value)} characters"
        case dict():
            return f"{len(value)} fields"
        case list():
            return f"{len(value)} items"
        case _:
            return type(value).__name__
