"""Every configured MCP server: tools by name, resources and prompts, health, and the end of it all."""

from __future__ import annotations

import asyncio
import difflib
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from mcp_types import (
    ClientRequest,
    GetPromptRequest,
    GetPromptRequestParams,
    ListPromptsRequest,
    ListResourcesRequest,
    ListResourceTemplatesRequest,
    PaginatedRequestParams,
    ReadResourceRequest,
    ReadResourceRequestParams,
)

from cogwork.breaker import Breakers
from cogwork.tools.mcp.config import McpServer, Sources
from cogwork.tools.mcp.results import block, resource
from cogwork.tools.mcp.server import Server
from cogwork.tools.mcp.thread import LoopThread
from cogwork.tools.mcp.tool import McpTool
from state.errors import Fault
from state.values import Json, normalise

T = TypeVar("T")
REMEMBERED: Final = 5.0
"""Seconds for which a server that could not be reached is not tried again by whoever only looks a name up."""
CLOSE_SECONDS: Final = 6.0
MAX_LISTED: Final = 10_000


class Servers:
    """The MCP servers of the settings; may be used from any thread and event loop.

    Args:
        configured: the servers by name.
        sources: where the values come from that the settings refer to.
        breakers: holds one for each server, ``mcp:NAME``.

    Raises:
        ValueError: two servers have one prefix.
    """

    def __init__(self, configured: Mapping[str, McpServer], sources: Sources, breakers: Breakers) -> None:
        self._thread = LoopThread()
        self._servers: dict[str, Server] = {}
        self._by_prefix: dict[str, Server] = {}
        self._made: dict[str, McpTool] = {}
        self._tried: dict[str, float] = {}
        for name, config in configured.items():
            server = Server(name, config, sources, breakers.of(f"mcp:{name}"))
            if (prefix := config.prefix or name) in self._by_prefix:
                other = self._by_prefix[prefix].name
                raise ValueError(f"The MCP servers {other} and {name} have one prefix, {prefix}; change one of them")
            self._servers[name] = self._by_prefix[prefix] = server
        self._end = weakref.finalize(self, _closed, self._thread, tuple(self._servers.values()))

    def __iter__(self) -> Any:
        return iter(sorted(self._servers))

    @property
    def prefixes(self) -> frozenset[str]:
        """What the names of their tools begin with, up to the first dot."""
        return frozenset(self._by_prefix)

    # -- tools ---------------------------------------------------------------------------------------------

    def find(self, name: str) -> McpTool | None:
        """The tool of that name, or None.

        Where nobody has asked for the server's tools before, it is connected to, and the caller waits for that, at most
        for its connect timeout.
        """
        server, tool = self._split(name)
        if server is None:
            return None
        if server.listing is None:
            self._look(server)
        listed = server.listing.tools.get(tool) if server.listing is not None else None
        if listed is None:
            return None
        made = self._made.get(name)
        if made is None or made.listed is not listed:
            if listed.unfit is not None:
                return None
            made = self._made[name] = McpTool(name=name, listed=listed, server=server, thread=self._thread)
        return made

    def names(self) -> list[str]:
        """The names of all tools that are known by now; opens no connection."""
        return sorted(
            f"{prefix}.{tool}"
            for prefix, server in self._by_prefix.items()
            if server.listing is not None
            for tool in server.listing.tools
        )

    def problem(self, name: str) -> str | None:
        """Why ``find`` has nothing: the server is out of reach, or what it says of the tool cannot be used."""
        server, tool = self._split(name)
        if server is None:
            return None
        if server.listing is None:
            return server.trouble.message if server.trouble is not None else None
        listed = server.listing.tools.get(tool)
        if listed is None:
            return f"MCP server {server.name} no longer offers {tool}" if name in self._made else None
        return f"MCP server {server.name} offers {tool}, but {listed.unfit}" if listed.unfit else None

    def explore(self) -> dict[str, str]:
        """Ask every server for its tools that has not been asked, all at once; says of which they cannot be had, and why."""
        unknown = [server for server in self._servers.values() if server.listing is None]
        pending = [(server, self._thread.submit(server.list())) for server in unknown]
        for server, future in pending:
            self._waited(server, future.result)
        return {server.name: server.trouble.message for server in unknown if server.trouble is not None}

    def offered(self, server: str) -> list[dict[str, Json]]:
        """What a server offers, tool by tool: as what it is taken, what the server claims, and why it is unfit, if it is.

        Raises:
            Fault: the list cannot be had; ``invalid_input`` for an unknown server.
        """
        asked = self._named(server)
        if asked.listing is None:
            self._look(asked)
        if asked.listing is None:
            raise asked.trouble or Fault("unavailable", f"MCP server {server} lists no tools", origin="tool")
        return [
            {
                "name": self.name_of(server, each.name),
                "description": each.description,
                "effect": each.effect,
                "idempotent": each.idempotent,
                "annotations": dict(each.annotations),
                "unfit": each.unfit or "",
                "args": each.args_schema,
                "output": each.output_schema,
            }
            for each in asked.listing.tools.values()
        ]

    def name_of(self, server: str, tool: str) -> str:
        """What workflows call that tool of that server.

        Raises:
            Fault: ``invalid_input`` for an unknown server.
        """
        return f"{self._named(server).config.prefix or server}.{tool}"

    def _split(self, name: str) -> tuple[Server | None, str]:
        prefix, dot, tool = name.partition(".")
        return (self._by_prefix.get(prefix) if dot and tool else None), tool

    def _look(self, server: Server) -> None:
        if time.monotonic() - self._tried.get(server.name, -REMEMBERED) < REMEMBERED:
            return
        self._waited(server, self._thread.submit(server.list()).result)
        if server.listing is None:
            self._tried[server.name] = time.monotonic()

    def _waited(self, server: Server, result: Callable[[float], None]) -> None:
        """Wait for a list; a failure is the server's ``trouble``."""
        longest = 2 * server.config.connect_timeout + CLOSE_SECONDS
        try:
            result(longest)
        except Fault as fault:
            server.trouble = fault
        except TimeoutError:
            server.trouble = Fault("timeout", f"MCP server {server.name} did not list its tools", origin="tool")

    # -- resources and prompts -----------------------------------------------------------------------------

    async def resources(self, server: str) -> list[Json]:
        """The resources of a server, and its templates of them.

        Raises:
            Fault: typed; ``invalid_input`` for an unknown server.
        """
        asked = self._named(server)
        found = await self._pages(asked, ListResourcesRequest, "resources")
        templates = await self._pages(asked, ListResourceTemplatesRequest, "resourceTemplates")
        return [
            *({**resource(each), "description": each.get("description", "")} for each in found),
            *({"template": each["uriTemplate"], **resource(each)} for each in templates),
        ]

    async def read(self, server: str, uri: str) -> list[Json]:
        """The contents of a resource: ``{uri, mime, text | data}``, data in base64.

        Raises:
            Fault: typed; ``invalid_input`` for an unknown server or resource.
        """
        asked = self._named(server)
        request = ReadResourceRequest(params=ReadResourceRequestParams(uri=uri))
        result = await self._guarded(asked, request, f"reading {uri[:200]}")
        parts: list[Json] = self._plain(asked, [resource(each) for each in result.get("contents") or []])
        return parts

    async def prompts(self, server: str) -> list[Json]:
        """The prompts of a server: ``{name, description, arguments}``.

        Raises:
            Fault: typed; ``invalid_input`` for an unknown server.
        """
        asked = self._named(server)
        found = await self._pages(asked, ListPromptsRequest, "prompts")
        return [
            {"name": p["name"], "description": p.get("description", ""), "arguments": p.get("arguments") or []}
            for p in found
        ]

    async def prompt(self, server: str, name: str, args: Mapping[str, str]) -> dict[str, Json]:
        """A prompt filled in: ``{description, messages: [{role, content}]}``; content is text, or an object.

        Raises:
            Fault: typed; ``invalid_input`` for an unknown server or prompt.
        """
        asked = self._named(server)
        request = GetPromptRequest(params=GetPromptRequestParams(name=name, arguments=dict(args)))
        result = await self._guarded(asked, request, f"filling in its prompt {name[:200]}")
        messages = [
            {"role": m.get("role"), "content": block(m.get("content") or {})} for m in result.get("messages") or []
        ]
        return dict(self._plain(asked, {"description": result.get("description") or "", "messages": messages}))

    async def _pages(self, server: Server, kind: Any, what: str) -> list[Json]:
        found: list[Json] = []
        cursor, seen = None, set[str | None]()
        while cursor not in seen and len(found) < MAX_LISTED:
            seen.add(cursor)
            params = PaginatedRequestParams(cursor=cursor) if cursor is not None else None
            try:
                result = await self._guarded(server, kind(params=params), f"listing its {what}")
            except Fault as fault:
                if fault.fault_class == "invalid_input" and cursor is None:
                    return []  # a server that has none need not know the question
                raise
            found += result.get(what) or []
            cursor = result.get("nextCursor")
            if cursor is None:
                break
        plain: list[Json] = self._plain(server, found)
        return plain

    async def _guarded(self, server: Server, request: ClientRequest, doing: str) -> dict[str, Json]:
        async with server.breaker.guarding("tool"):
            return await self._thread.run(server.request(request, doing))

    def _plain(self, server: Server, value: Json) -> Json:
        return server.redaction.value(normalise(value, max_bytes=server.config.max_result_bytes))

    def _named(self, name: str) -> Server:
        if (server := self._servers.get(name)) is not None:
            return server
        close = difflib.get_close_matches(name, self._servers, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(self._servers)) or 'none'}"
        raise Fault("invalid_input", f"There is no MCP server {name!r}: {hint}", origin="tool", stage="arguments")

    # -- all of them ---------------------------------------------------------------------------------------

    async def release(self, run: str) -> None:
        """Close the sessions that were held for that run alone."""
        for server in self._servers.values():
            if server.config.session == "run":
                await self._thread.run(server.release(run))

    def health(self) -> list[dict[str, Json]]:
        """How each of them stands, breaker included, sorted by name; opens no connection."""
        return [self._servers[name].health() for name in sorted(self._servers)]

    def close(self) -> None:
        """Close every session and end every process that was started; nothing can be called any more."""
        self._end()


def _closed(thread: LoopThread, servers: tuple[Server, ...]) -> None:
    async def all_of_them() -> None:
        await asyncio.gather(*(server.close() for server in servers), return_exceptions=True)

    thread.stop(all_of_them(), CLOSE_SECONDS)
