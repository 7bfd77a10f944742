"""The command ``cogwork``: its subcommands, and what becomes of errors."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cogwork.cli import (
    agents,
    audit,
    author,
    backup,
    catalog,
    chain,
    chat,
    clean,
    config,
    context,
    diff,
    encrypt,
    engine,
    exits,
    fork,
    health,
    inspect,
    instances,
    library,
    mcp,
    migrate,
    models,
    prompts,
    result,
    runs,
    schedules,
    serve,
    sessions,
    simulate,
    starting,
    stats,
    stopping,
    tokens,
    toolsearch,
    triggers,
)


class Door(TyperGroup):
    """Turns the errors that cogwork raises on purpose into a sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the subcommand; a traceback is shown only with ``--debug``."""
        from state.errors import CogworkError

        try:
            return super().invoke(ctx)
        except (CogworkError, OSError, KeyboardInterrupt) as error:
            if ctx.params.get("debug"):
                raise
            from cogwork.cli.faults import complained

            raise typer.Exit(complained(error)) from error


cli = typer.Typer(
    cls=Door,
    name="cogwork",
    help="Agent workflows as data: check them, run them, answer them, see them.",
    epilog=exits.EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        from cogwork.cli import render

        try:
            render.write(f"cogwork {version('cogwork')}")
        except PackageNotFoundError:
            render.write("cogwork (not installed)")
        raise typer.Exit


@cli.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Agent workflows as data: check them, run them, answer them, see them."""


_COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Runs": (
        *(runs.run, runs.resume, chain.chain, chain.call, stopping.pause, stopping.cancel, fork.fork),
        *(inspect.status, inspect.list_, inspect.show, inspect.why, diff.diff),
    ),
    "Executions": (
        *(starting.start, engine.batch, engine.executions, engine.follow, result.result, engine.worker, serve.serve),
        *(stats.stats, health.health, migrate.migrate, chat.chat),
    ),
    "Writing workflows": (author.new, author.check, simulate.simulate, simulate.test, author.draw, author.schema),
    "What there is": (catalog.workflows, catalog.modes, models.models, agents.agents, mcp.mcp, config.config),
    "Upkeep": (clean.clean, audit.audit, encrypt.encrypt, backup.backup, backup.restore),
}
for _panel, _commands in _COMMANDS.items():
    for _command in _commands:
        cli.command(_command.__name__.rstrip("_"), rich_help_panel=_panel)(_command)
cli.command("instances", rich_help_panel="Executions")(instances.instances)
cli.add_typer(library.library, rich_help_panel="What there is")
cli.add_typer(schedules.schedules, rich_help_panel="What there is")
cli.add_typer(triggers.triggers, rich_help_panel="What there is")
cli.add_typer(sessions.sessions, rich_help_panel="What there is")
cli.add_typer(sessions.memory, rich_help_panel="What there is")
cli.add_typer(toolsearch.tools, rich_help_panel="What there is")
cli.add_typer(prompts.prompts, rich_help_panel="What there is")
cli.add_typer(tokens.token, rich_help_panel="Upkeep")


def main(tools: tuple[Any, ...] = ()) -> None:
    """The entry point, with further tools; ``--debug`` may stand anywhere."""
    words = sys.argv[1:]
    options = words[: words.index("--")] if "--" in words else words
    if "--debug" in options:
        words.remove("--debug")
        words.insert(0, "--debug")
    context.TOOLS.set(tools)
    cli(args=words, prog_name="cogwork")
