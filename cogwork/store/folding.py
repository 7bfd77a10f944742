"""Folding: a checkpoint becomes a small outline and pieces, of which the next checkpoint writes only what is new."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from operator import eq, is_
from typing import Any, Final, TypeAlias

from langgraph.checkpoint.serde.base import SerializerProtocol

from cogwork.sealing.seals import OPEN, Seals
from cogwork.store.pieces import VALUE, Name, name_of, packed, place_of, stored

RUN: Final = 16
"""Entries in a piece, and pieces in a piece of pieces."""
LARGE: Final = 1024
"""Bytes from which a value is a piece of its own."""
SHAPES: Final = 128
"""Threads whose last checkpoint is remembered; others are folded anew, which costs time but no room."""
KNOWN_VALUES: Final = 16
ATOMS: Final = frozenset({bool, int, float, type(None)})

Body: TypeAlias = list[Any]
"""``[entries, [[position, name], ...]]``: a dict or list, and which of its values are pieces; those stand there as None."""
Pieces: TypeAlias = dict[bytes, bytes]
"""Hash to stored bytes."""


@dataclass(slots=True)
class _Chunk:
    """Neighbouring entries as they were last seen; ``keys`` is None for a list."""

    keys: list[str] | None
    values: list[Any]
    body: Body
    name: Name | None = None


@dataclass(slots=True)
class _Shape:
    """What the last checkpoint of a thread and namespace was folded to, and the large values that it met."""

    parts: dict[tuple[str, str], list[_Chunk]] = field(default_factory=dict)
    groups: dict[tuple[Name, ...], Name] = field(default_factory=dict)
    large: OrderedDict[int, tuple[Any, Name]] = field(default_factory=OrderedDict)


class Folding:
    """Folds the checkpoints and values of threads; the pieces must be written in the transaction of what refers to them.

    What is known to be written is not given again: call ``forget`` when a transaction failed, or pieces were removed.
    A value inside a step's record or result that is changed in place, without being written anew, may keep its old content.
    """

    def __init__(self, serde: SerializerProtocol, seals: Seals = OPEN) -> None:
        self._serde, self._seals = serde, seals
        self._shapes: OrderedDict[tuple[str, str], _Shape] = OrderedDict()
        self._removals = 0

    def forget(self) -> None:
        """Take nothing for written."""
        self._shapes.clear()

    def renew(self, removals: int) -> None:
        """Take nothing for written if pieces were removed since, which this number tells by being another."""
        if removals != self._removals:
            self._removals = removals
            self.forget()

    def checkpoint(self, thread: str, namespace: str, checkpoint: Mapping[str, Any]) -> tuple[bytes, Pieces]:
        """The outline to keep in the checkpoint's place, and the pieces that must be there with it."""
        fold = _Fold(self._serde, self._shape(thread, namespace), self._seals)
        outline = dict(checkpoint)
        values = checkpoint.get("channel_values") or {}
        outline["channel_values"] = {name: fold.channel(name, value) for name, value in values.items()}
        outline["channel_versions"] = fold.entries(("", "versions"), checkpoint.get("channel_versions") or {}, is_)
        outline["versions_seen"] = fold.entries(("", "seen"), checkpoint.get("versions_seen") or {}, eq)
        return packed(self._serde, outline), fold.pieces

    def value(self, thread: str, namespace: str, value: Any) -> tuple[bytes, Pieces] | None:
        """What to keep in the value's place, and its pieces; None where nothing in it is large."""
        fold = _Fold(self._serde, self._shape(thread, namespace), self._seals)
        part = fold.single(value)
        return None if part[0] == "v" else (packed(self._serde, part), fold.pieces)

    def record(self, thread: str, record: dict[str, Any]) -> tuple[bytes, Pieces]:
        """A record of which any value may be large."""
        fold = _Fold(self._serde, self._shape(thread, ""), self._seals)
        return packed(self._serde, fold.body(list(record), list(record.values()))), fold.pieces

    def _shape(self, thread: str, namespace: str) -> _Shape:
        shape = self._shapes.setdefault((thread, namespace), _Shape())
        self._shapes.move_to_end((thread, namespace))
        while len(self._shapes) > SHAPES:
            self._shapes.popitem(last=False)
        return shape


class _Fold:
    """One act of folding; ``pieces`` are those that it found to be new."""

    def __init__(self, serde: SerializerProtocol, shape: _Shape, seals: Seals) -> None:
        self._serde, self._shape, self._seals = serde, shape, seals
        self.pieces: Pieces = {}

    def channel(self, name: str, value: Any) -> list[Any]:
        """A channel's value: in runs of entries where it has them, else as one."""
        if type(value) is dict and all(type(key) is str for key in value):
            return self.entries((name, "dict"), value, is_)
        if type(value) is list:
            return ["l", self._runs((name, "list"), None, value, is_)]
        return self.single(value)

    def entries(self, part: tuple[str, str], value: Mapping[str, Any], same: Callable[[Any, Any], bool]) -> list[Any]:
        """A dict in runs of entries; ``same`` tells whether a value is as it was."""
        return ["d", self._runs(part, list(value), list(value.values()), same)]

    def single(self, value: Any) -> list[Any]:
        """A value: as it is, as a piece, or as a few entries of which some are pieces."""
        if type(value) is dict and 0 < len(value) <= RUN and all(type(key) is str for key in value):
            body = self.body(list(value), list(value.values()))
            return ["d", [body]] if body[1] else ["v", value]
        name = self._large(value)
        return ["v", value] if name is None else ["r", name]

    def body(
        self,
        keys: list[str] | None,
        values: list[Any],
        known: _Chunk | None = None,
        same: Callable[[Any, Any], bool] = is_,
    ) -> Body:
        """The entries, with pieces for large values; what ``known`` has at the same place is not looked at again."""
        refs: list[list[Any]] = []
        fresh: Iterable[int] = range(len(values))
        if known is not None:
            stays = list(map(same, known.values, values))
            refs = [ref for ref in known.body[1] if ref[0] < len(stays) and stays[ref[0]]]
            fresh = (at for at in fresh if at >= len(stays) or not stays[at])
        for at in fresh:
            if (name := self._large(values[at])) is not None:
                refs.append([at, name])
        if refs:
            values = list(values)
            for at, _ in refs:
                values[at] = None
        return [values if keys is None else dict(zip(keys, values, strict=True)), refs]

    def _runs(
        self, part: tuple[str, str], keys: list[str] | None, values: list[Any], same: Callable[[Any, Any], bool]
    ) -> list[Any]:
        """The runs, as names or, while they change from checkpoint to checkpoint, as they are."""
        before = self._shape.parts.get(part, [])
        chunks = [
            self._chunk(
                before[start // RUN] if start // RUN < len(before) else None,
                None if keys is None else keys[start : start + RUN],
                values[start : start + RUN],
                same,
            )
            for start in range(0, len(values), RUN)
        ]
        self._shape.parts[part] = chunks
        return self._grouped([chunk.body if chunk.name is None else chunk.name for chunk in chunks])

    def _chunk(
        self, known: _Chunk | None, keys: list[str] | None, values: list[Any], same: Callable[[Any, Any], bool]
    ) -> _Chunk:
        if known is not None and known.keys == keys and len(known.values) == len(values):
            if all(map(same, known.values, values)):
                if known.name is None and len(values) == RUN:
                    known.name = self._piece(0, known.body)
                return known
        if same is eq:  # LangGraph changes these in place.
            values = [dict(value) for value in values]
        chunk = _Chunk(keys, values, self.body(keys, values, known, same))
        if known is None and len(values) == RUN:
            chunk.name = self._piece(0, chunk.body)
        return chunk

    def _grouped(self, items: list[Any]) -> list[Any]:
        """Runs of pieces as pieces, until few are left."""
        while len(items) > 2 * RUN:
            fewer: list[Any] = []
            for start in range(0, len(items), RUN):
                run = items[start : start + RUN]
                fewer.extend([self._group(run)] if len(run) == RUN and _alike(run) else run)
            if len(fewer) == len(items):
                break
            items = fewer
        return items

    def _group(self, run: list[Name]) -> Name:
        key = tuple(run)
        if key not in self._shape.groups:
            self._shape.groups[key] = self._piece(run[0][0] + 1, run)
        return self._shape.groups[key]

    def _large(self, value: Any) -> Name | None:
        """The piece of a large value; None where it is small."""
        kind = type(value)
        if kind in ATOMS or (kind is str and len(value) < LARGE // 4):
            return None
        large = self._shape.large
        if (known := large.get(id(value))) is not None and known[0] is value:
            return known[1]
        raw = packed(self._serde, value)
        if len(raw) < LARGE:
            return None
        name = self._written(VALUE, raw)
        large[id(value)] = (value, name)
        for oldest in list(islice(large, max(0, len(large) - KNOWN_VALUES))):
            del large[oldest]
        return name

    def _piece(self, kind: int, content: Any) -> Name:
        return self._written(kind, packed(self._serde, content))

    def _written(self, kind: int, raw: bytes) -> Name:
        name = name_of(kind, raw, self._seals)
        if name[1:] not in self.pieces:
            self.pieces[name[1:]] = self._seals.sealed(stored(raw), place_of(name[1:]))
        return name


def _alike(run: Iterable[Any]) -> bool:
    """Whether all are names of one kind."""
    kinds = {item[0] if isinstance(item, bytes) else None for item in run}
    return len(kinds) == 1 and None not in kinds
