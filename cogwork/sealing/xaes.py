"""XAES-256-GCM: AES-256-GCM under a key of its own for each message, so that nonces of 192 bits may be drawn at random.

The construction is that of the specification c2sp.org/XAES-256-GCM; ``tests/test_sealing.py`` holds its vectors.
"""

from __future__ import annotations

import secrets
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES: Final = 24
OVERHEAD: Final = NONCE_BYTES + 16
"""Bytes by which a sealed message is longer than the message: the nonce before it, the tag behind it."""
_HALF: Final = 12
_ODD: Final = 0x87
_BLOCK: Final = 1 << 128


class Xaes:
    """The cipher with a key of 32 bytes; safe to be used by any thread."""

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError("a key has 32 bytes")
        self._cipher = Cipher(algorithms.AES(key), modes.ECB())
        doubled = int.from_bytes(self._cipher.encryptor().update(bytes(16)), "big") << 1
        self._tweak = (doubled % _BLOCK) ^ (_ODD if doubled >= _BLOCK else 0)

    def sealed(self, message: bytes, bound: bytes, nonce: bytes | None = None) -> bytes:
        """Nonce, message and tag; ``bound`` must be given again to open it. Only tests give a nonce."""
        drawn = secrets.token_bytes(NONCE_BYTES) if nonce is None else nonce
        return drawn + self._of(drawn).encrypt(drawn[_HALF:], message, bound)

    def opened(self, sealed: bytes, bound: bytes) -> bytes:
        """The message.

        Raises:
            cryptography.exceptions.InvalidTag: it was altered, or sealed under another key or for another place.
        """
        nonce = sealed[:NONCE_BYTES]
        return self._of(nonce).decrypt(nonce[_HALF:], sealed[NONCE_BYTES:], bound)

    def _of(self, nonce: bytes) -> AESGCM:
        """AES-GCM under the key that belongs to the first half of the nonce."""
        encryptor = self._cipher.encryptor()
        return AESGCM(encryptor.update(self._counted(1, nonce) + self._counted(2, nonce)))

    def _counted(self, number: int, nonce: bytes) -> bytes:
        block = bytes((0, number)) + b"X\x00" + nonce[:_HALF]
        return (int.from_bytes(block, "big") ^ self._tweak).to_bytes(16, "big")
