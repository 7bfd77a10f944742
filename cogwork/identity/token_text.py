"""The text of a token: ``cw_<id>_<secret>``, made, read, and taken out of what is shown."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

SECRET_BYTES: Final = 32
"""256 bits, drawn by the operating system: nobody guesses them, so that a fast digest suffices at rest."""
_ID_BYTES: Final = 8
_WHOLE: Final = re.compile(r"cw_([0-9a-f]{16})_([0-9a-f]{64})")
_WITHIN: Final = re.compile(r"(?i)cw_([0-9a-f]{16})_[0-9a-f]{8,}")


def new_id() -> str:
    """An id for a token; it is no secret."""
    return secrets.token_hex(_ID_BYTES)


def new_secret() -> str:
    """A secret of ``SECRET_BYTES`` as hexadecimal digits."""
    return secrets.token_hex(SECRET_BYTES)


def text_of(id: str, secret: str) -> str:
    """What the holder of a token is given."""
    return f"cw_{id}_{secret}"


def read(text: str) -> tuple[str, str] | None:
    """Id and secret; None where the text is no token's."""
    found = _WHOLE.fullmatch(text)
    return (found[1], found[2]) if found else None


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}"


def without_tokens(text: str) -> str:
    """The text with the secret of every token in it left out."""
    return _WITHIN.sub(r"cw_\1_…", text)
