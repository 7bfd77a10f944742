"""The tools that the settings allow, by name; ``checked_call`` is the way to call one."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from cogwork.tools.function import FunctionTool, tool
from nodes.calls import checked_call
from state.errors import CogworkError
from state.services import Tool

__all__ = ["FunctionTool", "Toolbox", "checked_call", "tool"]


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

    def __init__(self, tools: Iterable[Tool], *, allowed: Iterable[str] | None = None) -> None:
        patterns = None if allowed is None else tuple(allowed)
        self._tools: dict[str, Tool] = {}
        for each in tools:
            if each.name in self._tools:
                raise TwoTools(each.name, [place_of(self._tools[each.name]), place_of(each)])
            if patterns is None or any(fnmatchcase(each.name, pattern) for pattern in patterns):
                self._tools[each.name] = each

    def find(self, name: str) -> Tool | None:
        """The tool of that name, or None."""
        return self._tools.get(name)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._tools)

    def problem(self, name: str) -> str | None:
        """Nothing more is known of a name that ``find`` does not know."""
        return None

    async def release(self, run: str) -> None:
        """Nothing is held for a run alone."""
