"""The tools that the settings allow, by name; ``checked_call`` is the way to call one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from cogwork.tools.function import FunctionTool, tool
from nodes.calls import checked_call
from state.services import Tool

__all__ = ["FunctionTool", "Toolbox", "checked_call", "tool"]


class Toolbox:
    """Tools by name; ``allowed`` holds names or patterns such as ``git.*``, None allows all.

    ``troubles`` says why tools are missing that one might look for: by name, or for all whose names begin so (``shop.``).

    Raises:
        ValueError: two tools have one name.
    """

    def __init__(
        self, tools: Iterable[Tool], *, allowed: Iterable[str] | None = None, troubles: Mapping[str, str] | None = None
    ) -> None:
        self._troubles = dict(troubles or {})
        patterns = None if allowed is None else tuple(allowed)
        self._tools: dict[str, Tool] = {}
        for each in tools:
            if each.name in self._tools:
                raise ValueError(f"There are two tools named {each.name}; rename one or leave one out.")
            if patterns is None or any(fnmatchcase(each.name, pattern) for pattern in patterns):
                self._tools[each.name] = each

    def find(self, name: str) -> Tool | None:
        """The tool of that name, or None."""
        return self._tools.get(name)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._tools)

    def problem(self, name: str) -> str | None:
        """Why ``find`` has nothing of that name, where more is known than that nobody has heard of it."""
        if name in self._tools:
            return None
        at = next((at for at in self._troubles if name == at or (at.endswith(".") and name.startswith(at))), None)
        return None if at is None else self._troubles[at]

    @property
    def troubles(self) -> list[str]:
        """Why tools are missing, one sentence each."""
        return list(self._troubles.values())

    async def release(self, run: str) -> None:
        """Nothing is held for a run alone."""
