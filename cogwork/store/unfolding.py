"""Unfolding: the checkpoint that an outline and its pieces stand for, from bytes that may be anyone's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol

from cogwork.store.errors import Torn
from cogwork.store.outlines import Folded
from cogwork.store.pieces import HASH_BYTES, VALUE, Name, Reader, unpacked


def unfolded_tuple(serde: SerializerProtocol, found: CheckpointTuple, reader: Reader) -> CheckpointTuple:
    """What a saver read, with the checkpoint and the writes that were folded.

    Raises:
        Torn: an outline or a piece is not as it was written.
    """
    checkpoint: Any = found.checkpoint
    if isinstance(checkpoint, Folded):
        checkpoint = unfolded_checkpoint(serde, checkpoint.data, reader)
    writes = [
        (task, channel, unfolded_value(serde, value.data, reader) if isinstance(value, Folded) else value)
        for task, channel, value in found.pending_writes or ()
    ]
    return found._replace(checkpoint=checkpoint, pending_writes=writes)


def unfolded_checkpoint(serde: SerializerProtocol, data: bytes, reader: Reader) -> dict[str, Any]:
    """The checkpoint of an outline.

    Raises:
        Torn: the outline or a piece is not as it was written.
    """
    outline = unpacked(serde, data)
    parts = list(_parts(outline))
    reader.prepare([name for part in parts for name in _names(part)])
    values = outline["channel_values"].items()
    return {
        **outline,
        "channel_values": {name: _whole(part, reader) for name, part in values},
        "channel_versions": _whole(outline["channel_versions"], reader),
        "versions_seen": _whole(outline["versions_seen"], reader),
    }


def unfolded_value(serde: SerializerProtocol, data: bytes, reader: Reader) -> Any:
    """The value that was folded alone.

    Raises:
        Torn: it or a piece is not as it was written.
    """
    return _whole(_part(unpacked(serde, data)), reader)


def unfolded_record(serde: SerializerProtocol, data: bytes, reader: Reader) -> dict[str, Any]:
    """The record whose values were folded.

    Raises:
        Torn: it or a piece is not as it was written.
    """
    return dict(_entries(_body(unpacked(serde, data), dict), reader))


def names_in_checkpoint(serde: SerializerProtocol, data: bytes) -> set[Name]:
    """The pieces that an outline itself names."""
    return {name for part in _parts(unpacked(serde, data)) for name in _names(part)}


def names_in_value(serde: SerializerProtocol, data: bytes) -> set[Name]:
    """The pieces that a folded value itself names."""
    return set(_names(_part(unpacked(serde, data))))


def names_in_record(serde: SerializerProtocol, data: bytes) -> set[Name]:
    """The pieces that a folded record itself names."""
    return set(_names_of_body(_body(unpacked(serde, data), dict)))


def reached(names: Iterable[Name], reader: Reader) -> set[Name]:
    """All pieces that these are made of, themselves among them.

    Raises:
        Torn: one that names others is not as it was written.
    """
    found: set[Name] = set()
    wanted = set(names)
    while wanted:
        found |= wanted
        inner = {name for name in wanted if name[0] != VALUE}
        reader.prepare(inner)
        wanted = {below for name in inner for below in _names_in_piece(name, reader)} - found
    return found


def _names_in_piece(name: Name, reader: Reader) -> list[Name]:
    return _names_of_body(_body(reader.content(name))) if name[0] == 0 else _group(name, reader)


def _parts(outline: Any) -> Iterator[list[Any]]:
    if not isinstance(outline, dict) or not isinstance(outline.get("channel_values"), dict):
        raise Torn("it is no folded checkpoint")
    for part in (*outline["channel_values"].values(), outline.get("channel_versions"), outline.get("versions_seen")):
        yield _part(part)


def _part(part: Any) -> list[Any]:
    if not isinstance(part, list) or len(part) != 2 or part[0] not in ("v", "r", "d", "l"):
        raise Torn("it is no folded checkpoint")
    if (part[0] == "r" and not _is_name(part[1])) or (part[0] in "dl" and not isinstance(part[1], list)):
        raise Torn("it is no folded checkpoint")
    return part


def _is_name(item: Any) -> bool:
    return isinstance(item, bytes) and len(item) == HASH_BYTES + 1


def _names(part: list[Any]) -> list[Name]:
    """The pieces that a part names itself."""
    if part[0] == "r":
        return [part[1]]
    found: list[Name] = []
    for item in part[1] if part[0] != "v" else ():
        found.extend([item] if _is_name(item) else _names_of_body(_body(item)))
    return found


def _names_of_body(body: list[Any]) -> list[Name]:
    return [name for _, name in body[1]]


def _body(item: Any, kind: type | None = None) -> list[Any]:
    """A run of entries, checked."""
    if isinstance(item, list) and len(item) == 2 and isinstance(item[0], kind or (dict, list)):
        entries, refs = item
        if isinstance(refs, list) and all(_is_ref(ref, len(entries)) for ref in refs):
            return item
    raise Torn("it is no folded checkpoint")


def _is_ref(ref: Any, count: int) -> bool:
    return isinstance(ref, list) and len(ref) == 2 and type(ref[0]) is int and 0 <= ref[0] < count and _is_name(ref[1])


def _whole(part: list[Any], reader: Reader) -> Any:
    """What a part stands for."""
    kind, content = part
    if kind == "v":
        return content
    if kind == "r":
        return reader.content(content)
    bodies = [_body(body, dict if kind == "d" else list) for body in _bodies(content, reader)]
    reader.prepare([name for body in bodies for name in _names_of_body(body)])
    if kind == "d":
        return {key: value for body in bodies for key, value in _entries(body, reader)}
    return [value for body in bodies for value in _items(body, reader)]


def _bodies(items: list[Any], reader: Reader) -> Iterator[Any]:
    """The runs of entries, in order, out of names of runs, names of names, and runs as they are."""
    reader.prepare([item for item in items if _is_name(item)])
    for item in items:
        if not _is_name(item):
            yield item
        elif item[0] == 0:
            yield reader.content(item)
        else:
            yield from _bodies(_group(item, reader), reader)


def _group(name: Name, reader: Reader) -> list[Name]:
    """The names in a piece of pieces, each of the kind below, so that every way down ends."""
    names = reader.content(name) if name[0] != VALUE else None
    if not isinstance(names, list) or not all(_is_name(below) and below[0] == name[0] - 1 for below in names):
        raise Torn("it is no folded checkpoint")
    return names


def _entries(body: list[Any], reader: Reader) -> Iterator[tuple[str, Any]]:
    refs = dict(body[1])
    for at, (key, value) in enumerate(body[0].items()):
        yield key, reader.content(refs[at]) if at in refs else value


def _items(body: list[Any], reader: Reader) -> Iterator[Any]:
    refs = dict(body[1])
    for at, value in enumerate(body[0]):
        yield reader.content(refs[at]) if at in refs else value
