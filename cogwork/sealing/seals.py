"""The seals of one database: values sealed for their place, and names of contents that nobody else can compute."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cogwork.sealing.errors import KeyMissing, Unopened
from cogwork.sealing.keys import ID_BYTES, Ring

MAGIC: Final = b"\xc1cwseal1"
"""How sealed bytes begin: with a byte that MessagePack never uses, and a version."""
MARK: Final = "\x1fsealed:"
"""How sealed texts begin: with a character that JSON never holds as it is."""
AS_IT_IS: Final = "\x1fplain:"
"""How a text begins that would be taken for a sealed one."""
HEAD: Final = len(MAGIC) + ID_BYTES


@dataclass(frozen=True)
class Seals:
    """Seals and opens under the keys of a ring; with an empty one, everything stays as it is.

    ``names`` is the database's own key for names of contents; empty where nothing is sealed. A place is where a value
    stands, such as ``cogwork_messages.content``: what was sealed for one place does not open at another.
    """

    ring: Ring = field(default_factory=Ring)
    names: bytes = field(default=b"", repr=False)
    where: str = "the database"

    @property
    def on(self) -> bool:
        """Whether what is written is sealed."""
        return bool(self.ring.keys)

    @property
    def head(self) -> bytes:
        """How bytes begin that are sealed under the first key."""
        return MAGIC + bytes.fromhex(self.ring.ids[0])

    def sealed(self, data: bytes, place: str) -> bytes:
        """The data, sealed for its place under the first key."""
        if not self.on:
            return data
        return self.head + self.ring.ciphers[self.ring.ids[0]].sealed(data, _bound(place))

    def opened(self, data: bytes, place: str) -> bytes:
        """The data again; what was never sealed is given as it is.

        Raises:
            KeyMissing: it is sealed under a key that is not in the ring.
            Unopened: it was altered, or sealed for another place.
        """
        if not data.startswith(MAGIC):
            return data
        from cryptography.exceptions import InvalidTag

        name = data[len(MAGIC) : HEAD].hex()
        cipher = self.ring.ciphers.get(name)
        if cipher is None:
            raise KeyMissing(self.where, [name])
        try:
            return cipher.opened(data[HEAD:], _bound(place))
        except (InvalidTag, ValueError) as err:
            raise Unopened(f"{place} in {self.where}") from err

    def sealed_text(self, text: str, place: str) -> str:
        """The text, sealed for its place; lone surrogates are kept."""
        if self.on:
            return MARK + base64.b64encode(self.sealed(text.encode("utf-8", "surrogatepass"), place)).decode()
        return AS_IT_IS + text if text.startswith((MARK, AS_IT_IS)) else text

    def opened_text(self, text: str, place: str) -> str:
        """The text again; what was never sealed is given as it is.

        Raises:
            KeyMissing: it is sealed under a key that is not in the ring.
            Unopened: it was altered, or sealed for another place.
        """
        if text.startswith(AS_IT_IS):
            return text[len(AS_IT_IS) :]
        if not text.startswith(MARK):
            return text
        try:
            data = base64.b64decode(text[len(MARK) :], validate=True)
        except binascii.Error as err:
            raise Unopened(f"{place} in {self.where}") from err
        if not data.startswith(MAGIC):
            raise Unopened(f"{place} in {self.where}")
        return self.opened(data, place).decode("utf-8", "surrogatepass")

    def name(self, data: bytes) -> str:
        """The name of a content: 64 characters that only holders of the database's key can compute from it.

        Without keys, the SHA-256.
        """
        if not self.on:
            return hashlib.sha256(data).hexdigest()
        return hmac.new(self.names, data, hashlib.sha256).hexdigest()


def sealed_under(data: bytes) -> str | None:
    """The id of the key that the data is sealed under; None where it is not sealed."""
    return data[len(MAGIC) : HEAD].hex() if data.startswith(MAGIC) else None


def text_sealed_under(text: str) -> str | None:
    """The id of the key that the text is sealed under; None where it is not sealed."""
    if not text.startswith(MARK):
        return None
    head = text[len(MARK) : len(MARK) + 24]
    try:
        return sealed_under(base64.b64decode(head, validate=True))
    except binascii.Error:
        return None


OPEN: Final = Seals()
"""What seals nothing."""


def place_of_file(path: Path) -> str:
    """The place that a sealed file is bound to: its folder and name."""
    return f"file {path.parent.name}/{path.name}"


def _bound(place: str) -> bytes:
    return b"cogwork " + place.encode("utf-8", "surrogatepass")
