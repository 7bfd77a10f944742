"""Tokens that were verified a moment ago, so that not every request reads the records."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Final

from cogwork.identity.roles import Principal

SECONDS: Final = 5.0
"""How long what was verified is believed: no longer lives a token that another process has revoked."""
MOST: Final = 4096
"""How many are remembered at most; the oldest go first."""


class Verified:
    """Principals by the digest of what they showed: the text itself is not kept in memory."""

    def __init__(self, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self.clock = seconds, clock
        self._kept: dict[bytes, tuple[Principal, float]] = {}

    def get(self, text: str) -> Principal | None:
        """Who showed this text, if that was found out a moment ago."""
        found = self._kept.get(_key(text))
        return found[0] if found is not None and self.clock() < found[1] else None

    def put(self, text: str, principal: Principal, since: float) -> None:
        """Believe it from ``since`` on, which is the time by ``clock`` before the records were asked."""
        key = _key(text)
        self._kept.pop(key, None)
        self._kept[key] = (principal, since + self._seconds)
        while len(self._kept) > MOST:
            self._kept.pop(next(iter(self._kept)), None)

    def forget(self, id: str) -> None:
        """Believe nothing of this principal."""
        for key in [key for key, (principal, _) in list(self._kept.items()) if principal.id == id]:
            self._kept.pop(key, None)


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
