"""The tools that the settings allow, by name; ``checked_call`` is the way to call one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase, translate
from typing import Protocol

from cogwork.tools.function import FunctionTool, tool
from nodes.calls import checked_call
from nodes.conversation import is_pattern
from state.errors import CogworkError
from state.services import Tool

__all__ = ["Found", "FunctionTool", "ToolServers", "Toolbox", "TwoTools", "checked_call", "place_of", "tool"]


class Found(Protocol):
    """Tools that are made, or asked for, when they are looked for."""

    def find(self, name: str) -> Tool | None:
        """The tool of that name, or None; may have to ask a server, once."""

    def names(self) -> list[str]:
        """The names that are known by now."""

    def problem(self, name: str) -> str | None:
        """Why ``find`` has nothing, where more is known than that nobody has heard of the name."""


class ToolServers(Found, Protocol):
    """Servers whose tools become known only when they are asked."""

    @property
    def prefixes(self) -> frozenset[str]:
        """What the names of their tools begin with, up to the first dot."""

    def explore(self) -> dict[str, str]:
        """Ask all of them; says of which the tools cannot be had, and why."""

    async def release(self, run: str) -> None:
        """Let go of what is held for that run."""


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

    ``troubles`` says why tools are missing that one might look for: by name, or for all whose names begin so (``shop.``).
    ``further`` are looked up after the tools themselves, ``servers`` last of all.

    Raises:
        TwoTools: two tools have one name.
        ValueError: a server's tools would be named like others.
    """

    def __init__(
        self,
        tools: Iterable[Tool],
        *,
        allowed: Iterable[str] | None = None,
        troubles: Mapping[str, str] | None = None,
        further: Sequence[Found] = (),
        servers: ToolServers | None = None,
    ) -> None:
        self._troubles = dict(troubles or {})
        self._fits = None if allowed is None else re.compile("|".join(map(translate, allowed)) or r"\Z.")
        self._servers = servers
        self._further: tuple[Found, ...] = (*further, *([servers] if servers is not None else []))
        self._tools: dict[str, Tool] = {}
        for each in tools:
            if each.name in self._tools:
                raise TwoTools(each.name, [place_of(self._tools[each.name]), place_of(each)])
            if servers is not None and (prefix := each.name.partition(".")[0]) in servers.prefixes:
                message = f"The MCP server with the prefix {prefix} would have tools named like {each.name}"
                raise ValueError(f"{message}; give the server another prefix.")
            self._tools[each.name] = each
        self._tools = {name: each for name, each in self._tools.items() if self._allows(name)}
        self._names = sorted(self._tools)

    def _allows(self, name: str) -> bool:
        return self._fits is None or self._fits.match(name) is not None

    def find(self, name: str) -> Tool | None:
        """The tool of that name, or None; asks a server for its tools where nobody has yet."""
        own = self._tools.get(name)
        if own is not None or not self._allows(name):
            return own
        return next((found for each in self._further if (found := each.find(name)) is not None), None)

    def names(self) -> list[str]:
        """All names, sorted; those of servers' tools as far as they are known by now."""
        if not self._further:
            return list(self._names)
        return sorted({*self._names, *(name for each in self._further for name in each.names() if self._allows(name))})

    def explore(self) -> dict[str, str]:
        """Ask every server for its tools, so that ``names`` has them all; says which could not be reached, and why."""
        return self._servers.explore() if self._servers is not None else {}

    def problem(self, name: str) -> str | None:
        """Why ``find`` has nothing, where more is known than that: the tool's server is out of reach, say."""
        if name in self._tools:
            return None
        at = next((at for at in self._troubles if name == at or (at.endswith(".") and name.startswith(at))), None)
        if at is not None:
            return self._troubles[at]
        if not self._allows(name):
            return None
        return next((why for each in self._further if (why := each.problem(name)) is not None), None)

    def matching(self, pattern: str) -> list[str]:
        """The names that a pattern such as ``git.*`` fits, sorted; servers that it may mean are asked for their tools, once."""
        if self._servers is not None:
            if is_pattern(pattern.partition(".")[0]):
                self._servers.explore()
            else:
                self._servers.find(pattern)
        return [name for name in self.names() if fnmatchcase(name, pattern)]

    @property
    def troubles(self) -> list[str]:
        """Why tools are missing, one sentence each."""
        return list(self._troubles.values())

    async def release(self, run: str) -> None:
        """Let go of what is held for that run alone: sessions with servers."""
        if self._servers is not None:
            await self._servers.release(run)
