"""Lines out of a stream of bytes, none of them held beyond a limit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

ENDS: Final = 512
"""How much of the beginning and the end of a line that is too long is kept."""
PATIENCE: Final = 16
"""A line may go on for so many times the limit before the stream is given up."""
_ID_FIRST: Final = re.compile(rb'^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,18})\b')
_ID_LAST: Final = re.compile(rb'"id"\s*:\s*(\d{1,18})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')


class Flood(Exception):
    """A line without end, or messages that nobody asked for without end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlong:
    """A line that was longer than the limit; all but its ends is gone."""

    size: int
    head: bytes
    tail: bytes

    @property
    def answers(self) -> int | None:
        """The id of the request that it was the answer to, where it can be seen."""
        return answered(self.head, self.tail)


def answered(head: bytes, tail: bytes) -> int | None:
    """The id of the request that a message with this beginning and this end answers, where it can be seen."""
    found = _ID_FIRST.search(head[:ENDS]) or _ID_LAST.search(tail[-ENDS:])
    return int(found[1]) if found else None


class Lines:
    """Cuts chunks of bytes into lines of at most ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held, self._size = bytearray(), 0
        self._head = b""

    def fed(self, chunk: bytes) -> Iterator[bytes | Overlong]:
        """The lines that end within the chunk, without their newlines.

        Raises:
            Flood: a line does not end.
        """
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            self._take(part)
            yield self._line()
        self._take(rest)
        if self._size > self.limit * PATIENCE:
            raise Flood(f"a line of more than {self._size} bytes")

    def _take(self, part: bytes) -> None:
        self._size += len(part)
        self._held += part
        if self._size > self.limit:
            self._head = self._head or bytes(self._held[:ENDS])
            del self._held[:-ENDS]

    def _line(self) -> bytes | Overlong:
        held, size, head = bytes(self._held), self._size, self._head
        self._held, self._size, self._head = bytearray(), 0, b""
        return held if size <= self.limit else Overlong(size=size, head=head, tail=held)
