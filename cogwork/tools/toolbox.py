"""The tools that the settings allow, by name; ``checked_call`` is the way to call one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate

from cogwork.tools.function import FunctionTool, tool
from nodes.calls import checked_call
from state.services import Tool

__all__ = ["FunctionTool", "Toolbox", "checked_call", "tool"]


class Toolbox:
    """Tools by name; ``allowed`` holds names or patterns such as ``git.*``, None allows all.

    Raises:
        ValueError: two tools have one name.
    """

    def __init__(self, tools: Iterable[Tool], *, allowed: Iterable[str] | None = None) -> None:
        fits = None if allowed is None else re.compile("|".join(map(translate, allowed)) or r"\Z.")
        self._tools: dict[str, Tool] = {}
        for each in tools:
            if each.name in self._tools:
                raise ValueError(f"There are two tools named {each.name}; rename one or leave one out.")
            if fits is None or fits.match(each.name):
                self._tools[each.name] = each
        self._names = sorted(self._tools)

    def find(self, name: str) -> Tool | None:
        """The tool of that name, or None."""
        return self._tools.get(name)

    def names(self) -> list[str]:
        """All names, sorted."""
        return list(self._names)

    def problem(self, name: str) -> str | None:
        """Nothing more is known of a name that ``find`` does not know."""
        return None

    async def release(self, run: str) -> None:
        """Nothing is held for a run alone."""
