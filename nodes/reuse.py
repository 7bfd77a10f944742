"""Results kept for other runs in LangGraph's cache; a cache that is broken, slow or full is as good as an empty one."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from state.values import Json, normalise

if TYPE_CHECKING:
    from langgraph.cache.base import BaseCache

PATIENCE: Final = 1.0
"""Seconds that a step waits for the cache before it goes on without."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """A result that is still in the cache."""

    value: Json


@dataclass(frozen=True, slots=True)
class Reuse:
    """Where a result is kept, and for how many seconds.

    ``about`` is all that the result depends on: what is called, with which settings and evaluated arguments.
    """

    kind: str
    about: Json
    seconds: float

    @property
    def address(self) -> tuple[tuple[str, ...], str]:
        """The namespace and key within the cache."""
        return ("cogwork", self.kind), digest(self.about)

    async def find(self, cache: BaseCache[Any]) -> Found | None:
        """The kept result; None also where the cache cannot be read or what it gives is not what was put in."""
        try:
            async with asyncio.timeout(PATIENCE):
                entry = (await cache.aget([self.address])).get(self.address)
            if entry is None:
                return None
            value = normalise(entry["value"])
            if entry["sha256"] == digest(value):
                return Found(value)
        except Exception as error:
            log.warning("The cache could not be read: %s: %s", type(error).__name__, error)
        return None

    async def keep(self, cache: BaseCache[Any], value: Json) -> None:
        """Keep the result, if that is possible."""
        entry = {"value": value, "sha256": digest(value)}
        try:
            async with asyncio.timeout(PATIENCE):
                await cache.aset({self.address: (entry, math.ceil(self.seconds))})
        except Exception as error:
            log.warning("The cache could not be written: %s: %s", type(error).__name__, error)


def digest(value: Json) -> str:
    """The SHA-256 of a value, whatever the order of its keys; what is no JSON counts as its text."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
