"""The tools that the settings allow, by name; ``checked_call`` is the way to call one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase, translate
from typing import Protocol

from cogwork.tools.function import FunctionTool, tool
from nodes.calls import checked_call
from nodes.conversation import is_pattern
from state.services import Tool

__all__ = ["FunctionTool", "Toolbox", "checked_call", "tool"]


class ToolServers(Protocol):
    """Servers whose tools become known only when they are asked."""

    @property
    def prefixes(self) -> frozenset[str]:
        """What the names of their tools begin with, up to the first dot."""

    def find(self, name: str) -> Tool | None:
        """The tool of that name, or None; may have to ask its server, once."""

    def names(self) -> list[str]:
        """The names that are known by now."""

    def problem(self, name: str) -> str | None:
        """Why ``find`` has nothing, where more is known."""

    def explore(self) -> dict[str, str]:
        """Ask all of them; says of which the tools cannot be had, and why."""

    async def release(self, run: str) -> None:
        """Let go of what is held for that run."""


class Toolbox:
    """Tools by name; ``allowed`` holds names or patterns such as ``git.*``, None allows all.

    ``troubles`` says why tools are missing that one might look for: by name, or for all whose names begin so (``shop.``).

    Raises:
        ValueError: two tools have one name, or a server's tools would be named like others.
    """

    def __init__(
        self,
        tools: Iterable[Tool],
        *,
        allowed: Iterable[str] | None = None,
        troubles: Mapping[str, str] | None = None,
        servers: ToolServers | None = None,
    ) -> None:
        self._troubles = dict(troubles or {})
        self._fits = None if allowed is None else re.compile("|".join(map(translate, allowed)) or r"\Z.")
        self._servers = servers
        self._tools: dict[str, Tool] = {}
        for each in tools:
            if each.name in self._tools:
                raise ValueError(f"There are two tools named {each.name}; rename one or leave one out.")
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
        if own is not None or self._servers is None or not self._allows(name):
            return own
        return self._servers.find(name)

    def names(self) -> list[str]:
        """All names, sorted; those of servers' tools as far as they are known by now."""
        if self._servers is None:
            return list(self._names)
        return sorted([*self._names, *filter(self._allows, self._servers.names())])

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
        return self._servers.problem(name) if self._servers is not None and self._allows(name) else None

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
