"""How long to wait before a server that could not be reached is tried again."""

from __future__ import annotations

import asyncio
from typing import Final

FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 5.0
"""Seconds between two attempts, doubled with each that fails."""


class Spacing:
    """Keeps attempts apart that fail in a row; the first after a success waits for nothing."""

    def __init__(self) -> None:
        self._failures, self._not_before = 0, 0.0

    async def wait(self) -> None:
        """Until the next attempt may be made."""
        left = self._not_before - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)

    def failed(self) -> None:
        """An attempt has failed."""
        self._failures += 1
        longer = min(FIRST_WAIT * 2.0 ** min(self._failures - 1, 10), LONGEST_WAIT)
        self._not_before = asyncio.get_running_loop().time() + longer

    def succeeded(self) -> None:
        """An attempt has led to a session."""
        self._failures, self._not_before = 0, 0.0
