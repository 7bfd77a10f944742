"""What a server answers, as plain JSON; nothing is cut silently."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from state.errors import Fault
from state.values import Json, UnfitValue, normalise

_FIELDS: Final = {"mimeType": "mime", "uri": "uri", "name": "name", "data": "data", "text": "text", "blob": "data"}


def value_of(result: Mapping[str, Json], *, structured: bool, limit: int, name: str) -> Json:
    """The value of a call that went well; ``structured`` where the tool declares what it yields.

    Structured content counts where there is some. Otherwise one text is its text, nothing is null, one block of another kind
    is an object ``{type, mime, uri | data | text, …}``, and several blocks are a list.

    Raises:
        Fault: ``invalid_output``; it is larger than ``limit`` bytes, or has no structured content though it should.
    """
    content = result.get("content") or []
    value = result.get("structuredContent")
    if value is None:
        value = blocks(content)
        if structured:
            value = _read(value, name)
    return _within(value, limit, name)


def blocks(content: Sequence[Mapping[str, Json]]) -> Json:
    """The value of blocks of content."""
    values = [block(each) for each in content]
    return values[0] if len(values) == 1 else (values or None)


def block(content: Mapping[str, Json]) -> Json:
    """The value of one block."""
    match content.get("type"):
        case "text":
            return content.get("text", "")
        case "resource":
            return {"type": "resource", **resource(content.get("resource") or {})}
        case kind:
            return {"type": kind, **resource(content)}


def resource(content: Mapping[str, Json]) -> dict[str, Json]:
    """What is known of a resource: where it is, what it is, and its text or its data in base64."""
    return {ours: content[theirs] for theirs, ours in _FIELDS.items() if content.get(theirs) is not None}


def text_of(content: Sequence[Mapping[str, Json]]) -> str:
    """The texts of blocks of content, in lines."""
    return "\n".join(str(each.get("text", "")) for each in content if each.get("type") == "text").strip()


def _read(value: Json, name: str) -> Json:
    """The JSON in the text of a tool that declares what it yields, and yields it as text."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            pass
    raise Fault("invalid_output", f"{name} declares what it yields, and gave no structured content", origin="tool")


def _within(value: Json, limit: int, name: str) -> Json:
    try:
        return normalise(value, max_bytes=limit)
    except UnfitValue as error:
        raise Fault("invalid_output", f"The result of {name} cannot be used: {error}", origin="tool") from error
