"""Pieces of checkpoints: bytes under the name of their content, written once per thread however many checkpoints share them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeAlias

from langgraph.checkpoint.serde.base import SerializerProtocol

from cogwork.sealing.errors import Unopened
from cogwork.sealing.seals import MAGIC, OPEN, Seals
from cogwork.store.errors import Torn

Name: TypeAlias = bytes
"""A byte that says what the piece is, and the hash of its content."""
Fetch: TypeAlias = Callable[[Collection[bytes]], Mapping[bytes, bytes]]
"""The stored bytes of the pieces with these hashes; those that are missing may be left out."""

VALUE: Final = 255
"""The kind of a single large value. Kind 0 is a run of entries, kind n a run of pieces of kind n - 1."""
HASH_BYTES: Final = 20
COMPRESSED_FROM: Final = 512
LARGEST: Final = 1 << 30
"""Bytes that a piece may have, so that a crafted one cannot fill the memory; SQLite's own limit."""
PLAIN, SQUEEZED = b"p", b"z"


def packed(serde: SerializerProtocol, content: Any) -> bytes:
    """The content as the serialiser writes it, with the type that it names."""
    kind, data = serde.dumps_typed(content)
    return kind.encode() + b"\0" + data


def unpacked(serde: SerializerProtocol, raw: bytes) -> Any:
    """The content again.

    Raises:
        Torn: the bytes are not what the serialiser writes.
    """
    kind, _, data = raw.partition(b"\0")
    try:
        return serde.loads_typed((kind.decode(), data))
    except Exception as err:  # The bytes may be anyone's, and whatever reads them may fail in any way.
        raise Torn(f"it cannot be read ({type(err).__name__})") from err


def name_of(kind: int, raw: bytes, seals: Seals = OPEN) -> Name:
    """The name of a piece with this content; where pieces are sealed, only their database can tell it from the content."""
    return bytes((kind,)) + hashlib.blake2b(raw, digest_size=HASH_BYTES, key=seals.names).digest()


def place_of(hash: bytes) -> str:
    """The place that a sealed piece is bound to, whichever threads hold it."""
    return f"piece {hash.hex()}"


def stored(raw: bytes) -> bytes:
    """The bytes to keep; large ones are compressed."""
    if len(raw) >= COMPRESSED_FROM:
        small = zlib.compress(raw, 1)
        if len(small) < len(raw):
            return SQUEEZED + small
    return PLAIN + raw


def read(name: Name, data: bytes, seals: Seals = OPEN) -> bytes:
    """The content of a piece as it was packed.

    Raises:
        Torn: it is not the content that the name stands for.
        KeyMissing: it is sealed under a key that is not at hand.
    """
    sealed = data.startswith(MAGIC)
    if sealed:
        try:
            data = seals.opened(data, place_of(name[1:]))
        except Unopened as err:
            raise Torn("a part of it was altered") from err
    raw = bytes(data[1:])
    if data[:1] == SQUEEZED:
        try:
            raw = zlib.decompressobj().decompress(raw, LARGEST)
        except zlib.error as err:
            raise Torn("a part of it was altered") from err
    # What is sealed is bound to its name; one from before there were keys is named without them.
    if not sealed and name_of(name[0], raw) != name:
        raise Torn("a part of it was altered")
    return raw


class Reader:
    """Finds pieces, those that belong together at once; keeps them, as neighbouring checkpoints share most."""

    def __init__(self, serde: SerializerProtocol, fetch: Fetch, seals: Seals = OPEN) -> None:
        self._serde, self._fetch, self._seals = serde, fetch, seals
        self._raw: dict[Name, bytes] = {}

    def content(self, name: Name) -> Any:
        """What a piece holds, new at every call.

        Raises:
            Torn: it is missing or was altered.
        """
        if name not in self._raw:
            self.prepare([name])
        return unpacked(self._serde, self._raw[name])

    def prepare(self, names: Collection[Name]) -> None:
        """Find these pieces.

        Raises:
            Torn: one is missing or was altered.
        """
        wanted = [name for name in dict.fromkeys(names) if name not in self._raw]
        found = self._fetch([name[1:] for name in wanted]) if wanted else {}
        for name in wanted:
            if name[1:] not in found:
                raise Torn("a part of it is missing")
            self._raw[name] = read(name, bytes(found[name[1:]]), self._seals)
