"""The tools that the settings allow, by name; ``checked_call`` is the way to call one."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Protocol

from cogwork.tools.function import FunctionTool, tool
from nodes.calls import checked_call
from state.errors import CogworkError
from state.services import Tool

__all__ = ["FunctionTool", "Toolbox", "checked_call", "tool"]


class Further(Protocol):
    """Tools that are made when they are looked for."""

    def find(self, name: str) -> Tool | None:
        """The tool of that name, or None."""

    def names(self) -> list[str]:
        """The names of all of them."""

    def problem(self, name: str) -> str | None:
        """Why ``find`` has nothing, where more is known than that nobody has heard of the name."""


class TwoTools(CogworkError, ValueError):
    """Two tools have one name; ``places`` says where each of them is from."""

    def __init__(self, name: str, places: list[str]) -> None:
        self.name, self.places = name, places
        told = " and ".join(places)
        super().__init__(f"There are two tools named {name}: {told}; rename one or leave one out.")


def place_of(tool: Tool) -> str:
    """Where a tool is from: the file and line of its function, else its kind."""
    return getattr(tool, "place", "") or f"a {type(tool).__name__}"


class Toolbox:
    """Tools by name; ``allowed`` holds names or patterns such as ``git.*``, None allows all.

    Raises:
        TwoTools: two tools have one name.
    """

    def __init__(
        self, tools: Iterable[Tool], *, allowed: Iterable[str] | None = None, further: Further | None = None
    ) -> None:
        self._patterns = None if allowed is None else tuple(allowed)
        self._further = further
        self._tools: dict[str, Tool] = {}
        for each in tools:
            if each.name in self._tools:
                raise TwoTools(each.name, [place_of(self._tools[each.name]), place_of(each)])
            if self._allows(each.name):
                self._tools[each.name] = each

    def _allows(self, name: str) -> bool:
        return self._patterns is None or any(fnmatchcase(name, pattern) for pattern in self._patterns)

    def find(self, name: str) -> Tool | None:
        """The tool of that name, or None."""
        own = self._tools.get(name)
        if own is not None or self._further is None or not self._allows(name):
            return own
        return self._further.find(name)

    def names(self) -> list[str]:
        """All names, sorted."""
        more = self._further.names() if self._further is not None else []
        return sorted({*self._tools, *filter(self._allows, more)})

    def problem(self, name: str) -> str | None:
        """Why ``find`` has nothing, where more is known than that nobody has heard of the name."""
        if self._further is None or name in self._tools or not self._allows(name):
            return None
        return self._further.problem(name)

    async def release(self, run: str) -> None:
        """Nothing is held for a run alone."""
