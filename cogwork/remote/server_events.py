"""Server-sent events, read from a stream whose sender is not trusted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from state.errors import Fault


@dataclass(frozen=True, slots=True)
class Message:
    """One message: ``id`` is the last that the stream has told."""

    id: str
    event: str
    data: str


async def messages(pieces: AsyncIterator[bytes], max_bytes: int) -> AsyncIterator[Message]:
    """The messages of a stream; one that breaks off in the middle is left out.

    Raises:
        Fault: ``invalid_output``; a message is larger than ``max_bytes``. And what ``pieces`` raises.
    """
    last, event, data, size = "", "", list[str](), 0
    async for line in _lines(pieces, max_bytes):
        size += len(line)
        if size > max_bytes:
            raise _too_large(max_bytes)
        if not line:
            if data:
                yield Message(last, event, "\n".join(data))
            event, data, size = "", [], 0
            continue
        name, _, value = line.decode(errors="replace").partition(":")
        value = value.removeprefix(" ")
        match name:
            case "id" if "\0" not in value:
                last = value
            case "event":
                event = value
            case "data":
                data.append(value)


async def _lines(pieces: AsyncIterator[bytes], max_bytes: int) -> AsyncIterator[bytes]:
    """The lines, without their ends: LF, CR LF, or CR."""
    left = bytearray()
    async for piece in pieces:
        left += piece
        if b"\n" not in piece and b"\r" not in piece:
            if len(left) > max_bytes:
                raise _too_large(max_bytes)
            continue
        whole = bytes(left).replace(b"\r\n", b"\n")
        held = whole.endswith(b"\r")  # the other half of its end may be on the way
        parts = (whole[:-1] if held else whole).replace(b"\r", b"\n").split(b"\n")
        left = bytearray(parts.pop() + (b"\r" if held else b""))
        for part in parts:
            yield part
        if len(left) > max_bytes:
            raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> Fault:
    return Fault("invalid_output", f"a message of the stream is larger than {max_bytes:,} bytes", origin="tool")
