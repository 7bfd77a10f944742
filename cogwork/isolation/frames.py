"""The messages between an isolated execution and its worker: msgpack of plain values, each behind its length.

Whoever reads a message of the other side counts what is in it before any of it is made: a few bytes may stand for very many
objects.
"""

from __future__ import annotations

import struct
import threading
from typing import Any, Final

import ormsgpack

HEADER: Final = struct.Struct(">I")
MOST_CONTAINERS: Final = 500_000
MOST_VALUES: Final = 4_000_000
LARGE: Final = 256 * 1024
"""Messages beyond this are read off the event loop, and one at a time."""
_CONTAINER_BYTES: Final = bytes([*range(0x80, 0xA0), *range(0xDC, 0xE0)])
_FIXED: Final = {
    **dict.fromkeys((0xC0, 0xC2, 0xC3), 0),
    **{0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8},
    **{0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17},
}
"""How many bytes follow the first one of a value of fixed size; those of extensions include their type."""
_SIZED: Final = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)} | {
    0xD9: (1, 0),
    0xDA: (2, 0),
    0xDB: (4, 0),
}
"""How many bytes the length of a text, bytes or an extension has, and how many follow beside that length."""
_COUNTED: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""How many bytes the length of a list or mapping has, and how many values each of its members is."""
_one_at_a_time = threading.Lock()


class Broken(Exception):
    """A message that breaks the protocol; the sentence says how."""


def packed(message: Any) -> bytes:
    """The message behind its length.

    Raises:
        TypeError: it holds something that is no plain value.
    """
    body = ormsgpack.packb(message)
    return HEADER.pack(len(body)) + body


def length(header: bytes, most: int) -> int:
    """The length that a header tells.

    Raises:
        Broken: it is more than ``most``.
    """
    told: int = HEADER.unpack(header)[0]
    if told > most:
        raise Broken(f"a message of {told:,} bytes, where at most {most:,} are allowed")
    return told


def unpacked(body: bytes) -> dict[str, Any]:
    """The message.

    Raises:
        Broken: it is no mapping of plain values, or holds too many of them.
    """
    bounded(body)
    try:
        if len(body) > LARGE:
            with _one_at_a_time:
                message = ormsgpack.unpackb(body)
        else:
            message = ormsgpack.unpackb(body)
    except (ValueError, TypeError, RecursionError) as err:
        raise Broken(f"a message that cannot be read: {type(err).__name__}") from None
    if not isinstance(message, dict):
        raise Broken("a message that is no mapping")
    return message


def bounded(data: bytes) -> None:
    """See to it that the msgpack in ``data`` stands for no more values than may be made of it.

    Raises:
        Broken: it does, or it is cut.
    """
    if len(data) - len(data.translate(None, _CONTAINER_BYTES)) > MOST_CONTAINERS or len(data) > MOST_VALUES:
        _count(data)


def _count(data: bytes) -> None:
    at, left, values, containers = 0, 1, 0, 0
    while left:
        if at >= len(data):
            raise Broken("a message that is cut")
        first, at, left, values = data[at], at + 1, left - 1, values + 1
        members = 0
        if first < 0x80 or first >= 0xE0:
            pass
        elif first < 0xA0:
            members = (first & 0x0F) * (2 if first < 0x90 else 1)
            containers += 1
        elif first < 0xC0:
            at += first & 0x1F
        elif first in _COUNTED:
            width, each = _COUNTED[first]
            members, at = int.from_bytes(data[at : at + width]) * each, at + width
            containers += 1
        elif first in _SIZED:
            width, more = _SIZED[first]
            at += width + more + int.from_bytes(data[at : at + width])
        elif first in _FIXED:
            at += _FIXED[first]
        else:
            raise Broken("a message that is no msgpack")
        left += members
        if containers > MOST_CONTAINERS or values + left > MOST_VALUES:
            raise Broken("a message of too many values")
    if at > len(data):
        raise Broken("a message that is cut")
