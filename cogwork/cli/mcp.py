"""The command ``mcp``: the servers of the settings, what one of them offers, and single calls of its tools."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cogwork.cli import context, render
from cogwork.cli.exits import FAILED, Refusal

if TYPE_CHECKING:
    from cogwork.app import App
    from cogwork.tools.mcp.servers import Servers

_USAGE: Final = "cogwork mcp, cogwork mcp SERVER, or cogwork mcp call SERVER TOOL --args JSON"
_STYLES: Final = {"connected": "green", "unreachable": "bold red"}


def mcp(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SERVER | call SERVER TOOL]", help="One server, or one call.", show_default=False),
    ] = None,
    args: Annotated[str, typer.Option("--args", help="The arguments of a call, as JSON.")] = "{}",
    json: context.Json = False,
) -> None:
    """The MCP servers of the settings; what one offers; or one call of a tool."""
    app = context.opened()
    if app.mcp is None:
        raise Refusal("The settings name no MCP servers", "give [mcp_servers.NAME] in cogwork.toml a command or a url")
    try:
        match words or []:
            case []:
                _servers(app, app.mcp, json=json)
            case ["call", server, tool]:
                _call(app, app.mcp, server, tool, args)
            case [server]:
                _server(app, app.mcp, server, json=json)
            case _:
                raise Refusal("That is no way to use mcp", _USAGE)
    finally:
        app.close()


def _servers(app: App, servers: Servers, *, json: bool) -> None:
    servers.explore()
    found = servers.health()
    if json:
        render.write_json(found)
        return
    rows: list[list[str | tuple[str, str]]] = [
        [
            (each["server"], "cyan"),
            each["transport"],
            each["session"],
            (each["state"], _STYLES.get(each["state"], "")),
            "" if each["tools"] is None else str(each["tools"]),
            each["breaker"]["state"],
            each["trouble"] or each["is"],
        ]
        for each in found
    ]
    render.columns(rows, ("SERVER", "TRANSPORT", "SESSION", "STATE", "TOOLS", "BREAKER", "WHAT IT IS"))


def _server(app: App, servers: Servers, name: str, *, json: bool) -> None:
    offered = servers.offered(name)
    resources, prompts = asyncio.run(_held(servers, name))
    if json:
        render.write_json({"server": name, "tools": offered, "resources": resources, "prompts": prompts})
        return
    styles = {"none": "green", "read": "green", "write": "yellow"}
    rows: list[list[str | tuple[str, str]]] = [
        [
            (each["name"], "cyan"),
            (each["effect"], styles[each["effect"]]),
            "again" if each["idempotent"] else "once",
            each["unfit"] or _claims(each["annotations"]),
            (each["description"].split("\n")[0], "dim"),
        ]
        for each in offered
    ]
    render.columns(rows, ("TOOL", "TAKEN AS", "REPEATS", "THE SERVER SAYS", "WHAT IT DOES"))
    _listed("RESOURCE", [(r.get("uri") or r.get("template", ""), r.get("description", "")) for r in resources])
    _listed("PROMPT", [(p["name"], p["description"]) for p in prompts])


def _listed(title: str, rows: list[tuple[str, str]]) -> None:
    if rows:
        render.say()
        render.columns([[(name, "cyan"), (told.split("\n")[0], "dim")] for name, told in rows], (title, "WHAT IT IS"))


def _claims(annotations: dict[str, Any]) -> str:
    """What a server claims of a tool, which counts only where the settings believe it."""
    words = {
        ("readOnlyHint", True): "reads only",
        ("idempotentHint", True): "may be repeated",
        ("destructiveHint", False): "only adds",
    }
    return ", ".join(word for (hint, value), word in words.items() if annotations.get(hint) is value)


async def _held(servers: Servers, name: str) -> tuple[list[Any], list[Any]]:
    return await servers.resources(name), await servers.prompts(name)


def _call(app: App, servers: Servers, server: str, tool: str, args: str) -> None:
    import json
    import uuid

    from nodes.calls import checked_call
    from state.errors import Asked, Fault
    from state.services import CallContext

    try:
        given = json.loads(args)
    except ValueError as err:
        raise Refusal(f"--args is not JSON: {err}", _USAGE) from err
    name = servers.name_of(server, tool)
    found = app.services.tools.find(name)
    if found is None:
        raise Refusal(app.services.tools.problem(name) or f"There is no tool {name!r}", _nearest(app, name, server))
    key = f"cli:{uuid.uuid4().hex}"
    try:
        result = asyncio.run(checked_call(found, given, CallContext(run=key, step="cli", idempotency_key=key)))
    except Asked as question:
        raise Refusal(f"{question.message} (a call from here answers nothing)", "call it in a workflow") from question
    except Fault as fault:
        raise Refusal(f"{fault.message} [{fault.fault_class}]", "", FAILED) from fault
    render.write_json(result)


def _nearest(app: App, name: str, server: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, app.services.tools.names(), 1)
    return f"did you mean {close[0]!r}?" if close else f"see what there is: cogwork mcp {server}"
