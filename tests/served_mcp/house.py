"""A well-behaved MCP server made with the SDK: state, questions, progress, a list that changes, resources and prompts.

``python house.py`` talks over its standard streams, ``python house.py PORT`` over HTTP.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import mcp_types
from mcp.server.elicitation import AcceptedElicitation, ElicitationResult
from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from pydantic import BaseModel

server = MCPServer("house", version="1.2", log_level="CRITICAL")
counted: dict[str, int] = {}
done: set[str] = set()


class Size(BaseModel):
    """What the server asks for."""

    size: int


class Sure(BaseModel):
    """Whether the person is sure."""

    sure: bool


@server.tool(annotations=mcp_types.ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    """The sum of two numbers."""
    return a + b


@server.tool()
def count(name: str) -> int:
    """How often this was called with that name, within this process."""
    counted[name] = counted.get(name, 0) + 1
    return counted[name]


@server.tool()
def pid() -> int:
    """The process that answers."""
    return os.getpid()


@server.tool(annotations=mcp_types.ToolAnnotations(idempotent_hint=True, destructive_hint=False))
def once(context: Context) -> str:
    """Works once per key."""
    key = str((context.request_context.meta or {}).get("cogwork/idempotencyKey"))
    first = key not in done
    done.add(key)
    return f"{'did it' if first else 'had been done'} for {key}"


@server.tool()
async def walk(steps: int, context: Context) -> str:
    """Tells how far it has come."""
    for step in range(1, steps + 1):
        await context.report_progress(step, steps, f"step {step}")
    return "arrived"


def how_large(what: str) -> Elicit[Size]:
    """Asks for the size."""
    return Elicit(f"How large a {what}?", Size)


def really(size: Annotated[ElicitationResult[Size], Resolve(how_large)]) -> Elicit[Sure] | Sure:
    """Asks once more where it is large."""
    large = isinstance(size, AcceptedElicitation) and size.data.size > 10
    return Elicit(f"Really {size.data.size}?", Sure) if large else Sure(sure=True)


@server.tool()
def order(
    what: str,
    size: Annotated[ElicitationResult[Size], Resolve(how_large)],
    sure: Annotated[ElicitationResult[Sure], Resolve(really)],
) -> str:
    """Asks how large, and whether that is really wanted where it is large."""
    counted["tried"] = counted.get("tried", 0) + 1
    if not isinstance(size, AcceptedElicitation):
        return f"no {what}: {size.action}"
    if not isinstance(sure, AcceptedElicitation) or not sure.data.sure:
        return f"no {what} of {size.data.size}"
    counted["orders"] = counted.get("orders", 0) + 1
    return f"{what} of {size.data.size}, order {counted['orders']}"


@server.tool()
async def pair(context: Context) -> str:
    """Asks the same twice, in the middle of the call."""
    answers = [await context.elicit("Which size?", Size) for _ in range(2)]
    return ", ".join(str(each.data.size) if each.action == "accept" else each.action for each in answers)


@server.tool()
async def grow(name: str, context: Context) -> str:
    """Offers one tool more from now on."""

    def grown() -> str:
        return f"I am {name}"

    server.add_tool(grown, name=name, description="Has grown.")
    await context.notify_tools_changed()
    await context.session.send_tool_list_changed()
    return "grown"


@server.tool()
async def shrink(name: str, context: Context) -> str:
    """No longer offers that tool."""
    server.remove_tool(name)
    await context.notify_tools_changed()
    await context.session.send_tool_list_changed()
    return "shrunk"


@server.tool()
def fails() -> str:
    """Always fails."""
    raise ValueError("the cellar is flooded")


@server.tool(structured_output=False)
def show(what: str) -> Any:
    """Gives other things than text."""
    return what


@server.resource("house://garden")
def garden() -> str:
    """What grows there."""
    return "apples"


@server.resource("house://room/{name}")
def room(name: str) -> str:
    """A room of the house."""
    return f"the {name}"


@server.prompt()
def welcome(name: str) -> str:
    """Words of welcome."""
    return f"Welcome, {name}!"


if len(sys.argv) > 1:
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
else:
    server.run("stdio")
