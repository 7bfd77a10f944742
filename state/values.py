"""Plain JSON values, and the one function that turns whatever a node returns into them."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import math
from collections.abc import Iterable, Mapping, Set
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeAlias
from uuid import UUID

from pydantic import BaseModel

Json: TypeAlias = Any
"""``None``, ``bool``, ``int`` (64 bits), finite ``float``, ``str``, ``list`` or ``dict`` with text keys, of exactly these types."""
Schema: TypeAlias = dict[str, Any]
"""A JSON Schema, draft 2020-12."""

MAX_DEPTH = 64
MAX_BYTES = 8 * 1024 * 1024
INT64 = 2**63
_UNSAFE = {0: "\ufffd"} | dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


class UnfitValue(ValueError):
    """A value that cannot become plain JSON within the limits; ``reason`` says why, ``pointer`` where."""

    def __init__(self, reason: str, pointer: str = "") -> None:
        self.reason, self.pointer = reason, pointer
        super().__init__(f"{reason} (at {pointer or 'the top'})")


def normalise(value: Any, *, max_bytes: int = MAX_BYTES) -> Json:
    """The plain JSON value that stands for ``value``.

    NUL and lone surrogates become U+FFFD, NaN and infinities null, integers beyond 64 bits their digits as text,
    dates and times ISO 8601, durations seconds, bytes text (base64 where they are not UTF-8), sets, tuples and other
    iterables lists, pydantic models and dataclasses objects, keys text.

    Raises:
        UnfitValue: nested deeper than 64 levels (or within itself), larger than ``max_bytes``, or of a type that has no JSON form.
    """
    return _Normaliser(max_bytes).plain(value, 0, "")


class _Normaliser:
    """One pass over a value, counting what it costs."""

    def __init__(self, max_bytes: int) -> None:
        self.limit = self.left = max_bytes

    def plain(self, value: Any, depth: int, pointer: str) -> Json:
        """``value`` as plain JSON; ``depth`` levels below the top."""
        kind = type(value)
        if value is None or kind is bool:
            return self._paid(value, 4, pointer)
        if kind is str:
            return self._text(value, pointer)
        if kind is int:
            return self._paid(value, 8, pointer) if -INT64 <= value < INT64 else self._digits(value, pointer)
        if kind is float:
            return self._paid(value if math.isfinite(value) else None, 8, pointer)
        if depth >= MAX_DEPTH:
            raise UnfitValue(f"nested deeper than {MAX_DEPTH} levels", pointer)
        if kind is dict:
            return self._mapping(value, depth, pointer)
        if kind is list or kind is tuple:
            return self._items(value, depth, pointer)
        return self._foreign(value, depth, pointer)

    def _foreign(self, value: Any, depth: int, pointer: str) -> Json:
        if isinstance(value, Enum):
            return self.plain(value.value, depth + 1, pointer)
        if isinstance(value, BaseModel):
            return self.plain(value.model_dump(mode="python"), depth + 1, pointer)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
            return self._mapping(fields, depth, pointer)
        if isinstance(value, bytes | bytearray | memoryview):
            return self._bytes(bytes(value), pointer)
        if isinstance(value, Mapping):
            return self._mapping(value, depth, pointer)
        if isinstance(value, Set | Iterable) and not isinstance(value, str):
            return self._items(value, depth, pointer)
        return self._scalar(value, depth, pointer)

    def _scalar(self, value: Any, depth: int, pointer: str) -> Json:
        if isinstance(value, dt.datetime | dt.date | dt.time):
            return self._text(value.isoformat(), pointer)
        if isinstance(value, dt.timedelta):
            return self.plain(value.total_seconds(), depth, pointer)
        if isinstance(value, Decimal | UUID | PurePath):
            return self._text(str(value), pointer)
        for base in (bool, int, float, str):
            if isinstance(value, base):
                return self.plain(base(value), depth, pointer)
        raise UnfitValue(f"{type(value).__name__} has no JSON form", pointer)

    def _mapping(self, value: Mapping[Any, Any], depth: int, pointer: str) -> dict[str, Json]:
        plain: dict[str, Json] = {}
        for key, item in value.items():
            name = self._text(key if type(key) is str else _key(key, pointer), pointer)
            if name in plain:
                raise UnfitValue(f"two keys become the same text {name[:80]!r}", pointer)
            plain[name] = self.plain(item, depth + 1, f"{pointer}/{name}" if depth < 4 else pointer)
        return plain

    def _items(self, value: Iterable[Any], depth: int, pointer: str) -> list[Json]:
        return [self.plain(item, depth + 1, pointer) for item in value]

    def _text(self, value: str, pointer: str) -> str:
        self._paid(None, len(value), pointer)
        if value.isascii():
            return value.replace("\0", "\ufffd") if "\0" in value else value
        return value.translate(_UNSAFE)

    def _digits(self, value: int, pointer: str) -> str:
        if value.bit_length() > 13_000:
            raise UnfitValue("an integer of over 3,900 digits", pointer)
        return self._text(str(value), pointer)

    def _bytes(self, value: bytes, pointer: str) -> str:
        self._paid(None, len(value), pointer)
        try:
            return value.decode("utf-8").translate(_UNSAFE)
        except UnicodeDecodeError:
            return base64.b64encode(value).decode("ascii")

    def _paid(self, value: Json, cost: int, pointer: str) -> Json:
        self.left -= cost
        if self.left < 0:
            raise UnfitValue(f"larger than the limit of {self.limit:,} bytes", pointer)
        return value


def _key(key: Any, pointer: str) -> str:
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, Enum):
        return _key(key.value, pointer)
    if isinstance(key, str | int | float | UUID | dt.date | PurePath):
        return str(key)
    raise UnfitValue(f"a key of type {type(key).__name__} has no text form", pointer)
