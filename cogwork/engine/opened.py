"""What every group of verbs stands on: the parts, once they are open."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cogwork.errors import EngineError

if TYPE_CHECKING:
    from cogwork.app import App
    from cogwork.engine.parts import Parts, Shared
    from cogwork.library.library import Library


class Opened:
    """An engine that may be open."""

    app: App
    _shared: Shared | None
    _parts: Parts | None
    _here: set[asyncio.Task[Any]]

    @property
    def parts(self) -> Parts:
        """The parts, once ``initialize`` has opened them.

        Raises:
            EngineError: ``conflict``; it has not, or ``shutdown`` has closed them.
        """
        if self._parts is None:
            raise _closed()
        return self._parts

    @cached_property
    def library(self) -> Library:
        """The workflows with their versions, labels and users."""
        if self._shared is None:
            raise _closed()
        return self._shared.library()


def _closed() -> EngineError:
    return EngineError("conflict", "The engine is not open: use it in `async with`, or call initialize() first")
