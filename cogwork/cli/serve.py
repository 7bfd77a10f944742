"""The command ``serve``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cogwork.cli import context, exits, render

if TYPE_CHECKING:
    from cogwork.server.asgi import Application


def serve(
    host: Annotated[str | None, typer.Option(help="The address; server.host without it.", show_default=False)] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The port; 0 for any that is free.", show_default=False)
    ] = None,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Run no executions in this process.")] = False,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Ask nobody for a token; on loopback addresses only.")
    ] = False,
    stdio: Annotated[
        bool, typer.Option("--stdio", help="Serve MCP alone, over the standard streams, to whoever started it.")
    ] = False,
) -> None:
    """Serve the web page, HTTP and MCP, and run executions, until Ctrl-C or SIGTERM; what runs is handed on then."""
    if stdio:
        _serve_stdio()
        return
    changed: dict[str, Any] = {"host": host, "port": port}
    changed |= {"worker": False} if no_worker else {}
    changed |= {"auth": "none"} if no_auth else {}
    settings = context.opened().settings
    server = settings.server.model_copy(update={name: value for name, value in changed.items() if value is not None})
    settings = settings.model_copy(update={"server": server})
    from cogwork.server.running import serve as serving

    try:
        serving(settings, _ready)
    except KeyboardInterrupt:
        raise typer.Exit(exits.INTERRUPTED) from None


def _serve_stdio() -> None:
    import asyncio

    from cogwork.server.mcp.stdio import serve_stdio

    try:
        asyncio.run(serve_stdio(context.opened().settings))
    except KeyboardInterrupt:
        raise typer.Exit(exits.INTERRUPTED) from None


def _ready(address: str, application: Application) -> None:
    """Say where it listens, and how a person comes in."""
    render.note(("cogwork serves at ", ""), (address, "bold"), ("   HTTP /api/v1   MCP /mcp", "dim"))
    if application.settings.server.auth == "none":
        render.note(("Nobody is asked for a token", "yellow"))
        return
    code = application.api.state.doors.sign_in_code()
    render.note(("Sign in, once and within 15 minutes: ", ""), (f"{address}/sign-in?code={code}", "bold"))
