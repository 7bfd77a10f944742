"""What the commands share: options that mean the same everywhere, and cogwork opened with its settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cogwork.cli.exits import Refusal

if TYPE_CHECKING:
    from cogwork.app import App
    from cogwork.store.checkpoints import SqliteCheckpoints
    from cogwork.store.postgres import PostgresCheckpoints
    from cogwork.store.runs import Runs, RunSummary
    from state.durable import RecordedCall

ORIGIN = "command line"
"""The door that executions are recorded to have come through."""
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="Thread id, run id, or the beginning of one.", show_default=False)
]
WorkflowName = Annotated[
    str, typer.Argument(metavar="WORKFLOW", help="Name of a workflow, or a YAML or JSON file.", show_default=False)
]

TOOLS: ContextVar[tuple[Any, ...]] = ContextVar("cogwork_cli_tools", default=())
"""What ``cogwork.cli.main`` was given besides the built-in tools."""


def opened() -> App:
    """cogwork with the settings of the environment, and the tools that the command line was begun with.

    Raises:
        Refusal: a setting is wrong.
    """
    from cogwork.app import app
    from cogwork.origins import WrongSettings

    try:
        return app(tools=TOOLS.get())
    except WrongSettings as err:
        raise Refusal(str(err), "cogwork config --defaults shows all settings, --explain NAME one of them") from err
    except ValueError as err:
        raise Refusal(
            f"The settings cannot be read: {err}", "see cogwork.toml and COGWORK_… in the environment"
        ) from err


def runs_of(saver: SqliteCheckpoints | PostgresCheckpoints) -> Runs:
    """The runs that are kept there."""
    from cogwork.store.runs import Runs

    return Runs(saver, saver.owners.alive)


@contextmanager
def kept_runs(app: App) -> Iterator[Runs]:
    """The runs of the checkpoint file.

    Raises:
        StoreError: the file cannot be used.
    """
    with app.checkpoints() as saver:
        yield runs_of(saver)


def calls_of(saver: Any, summary: RunSummary) -> Mapping[str, RecordedCall]:
    """The recorded calls of a run, by key; none where its store keeps no record."""
    import asyncio

    from state.durable import Durable

    return asyncio.run(saver.calls.of_run(summary.thread, summary.run)) if isinstance(saver, Durable) else {}
