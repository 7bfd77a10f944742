"""Built-in tools that read what MCP servers hold besides tools: resources and prompts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from cogwork.tools.function import FunctionTool
from cogwork.tools.mcp.servers import Servers
from state.services import Tool

ServerName = Annotated[str, Field(description="The server's name in the settings.")]


def mcp_tools(servers: Servers) -> list[Tool]:
    """``mcp.resources``, ``mcp.read``, ``mcp.prompts`` and ``mcp.prompt``."""

    async def resources(server: ServerName) -> list[dict[str, Any]]:
        """The resources of an MCP server, and its templates of them."""
        return await servers.resources(server)

    async def read(server: ServerName, uri: str) -> list[dict[str, Any]]:
        """What a resource of an MCP server holds, part by part."""
        return await servers.read(server, uri)

    async def prompts(server: ServerName) -> list[dict[str, Any]]:
        """The prompts of an MCP server, with their arguments."""
        return await servers.prompts(server)

    async def prompt(server: ServerName, name: str, args: dict[str, str] | None = None) -> dict[str, Any]:
        """A prompt of an MCP server, filled in with these arguments."""
        return await servers.prompt(server, name, args or {})

    return [_reading(function) for function in (resources, read, prompts, prompt)]


def _reading(function: Callable[..., Any]) -> FunctionTool:
    return FunctionTool.from_function(function, name=f"mcp.{function.__name__}", effect="read")
