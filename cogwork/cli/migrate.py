"""The command ``migrate``: which open runs of a workflow can go on with another version of it, and moving those that can."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cogwork.cli import context, exits, render
from cogwork.cli.exits import Refusal

if TYPE_CHECKING:
    from cogwork.app import App
    from cogwork.library import Library
    from cogwork.library.movable import Move
    from cogwork.store.runs import RunSummary
    from graphs.graph import WorkflowGraph


def migrate(
    workflow: Annotated[
        str, typer.Argument(metavar="WORKFLOW", help="A published workflow, or a name or file.", show_default=False)
    ],
    to: Annotated[
        str | None, typer.Option("--to", metavar="VERSION", help="A version or label of it; latest without.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say which can move; nothing is changed.")] = False,
    json: context.Json = False,
) -> None:
    """Let the open runs of a workflow go on with another version of it, where what they have done means the same there.

    Those that cannot keep the version that they began with. Exits with 1 if there are any.
    """
    import asyncio

    from cogwork.cli.library import opened_library

    app = context.opened()
    with opened_library(app) as known, app.checkpoints() as saver:
        graph, version = asyncio.run(_target(app, known, workflow, to, saver))
        runs = [
            each
            for each in context.runs_of(saver)
            if each.workflow == graph.plan.spec.name
            and each.status not in ("completed", "failed", "cancelled")
            and each.digest != graph.digest
        ]
        told = [(run, asyncio.run(_moved(app, known, graph, run, version, plan_only=plan))) for run in runs]
    if json:
        render.write_json(
            [{"thread": run.thread, "run": run.run, "moved": not plan and m.possible, **m.to_dict()} for run, m in told]
        )
    else:
        _show(told, plan=plan)
    raise typer.Exit(exits.DONE if all(move.possible for _, move in told) else exits.FAILED)


async def _target(
    app: App, known: Library, name: str, to: str | None, saver: Any
) -> tuple[WorkflowGraph, tuple[str, int] | None]:
    """The graph of the version that runs are to go on with, and which version of the library it is."""
    from cogwork.errors import EngineError
    from cogwork.library.pinned import compiled

    try:
        version = await known.version(name, to)
    except EngineError as err:
        if err.code != "workflow_not_found" or to is not None:
            raise
        return app.compile(name, checkpointer=saver), None
    bundle = await known.bundle(version.workflow_id, version.version)
    return compiled(app, bundle, checkpointer=saver), (version.workflow_id, version.version)


async def _moved(
    app: App, known: Library, graph: WorkflowGraph, run: RunSummary, version: tuple[str, int] | None, *, plan_only: bool
) -> Move:
    from cogwork.library.movable import Move
    from cogwork.library.moving import move
    from state.errors import Owned

    try:
        old = await _began_with(app, known, run)
    except Refusal as err:
        return Move(reasons=(str(err),))
    if not plan_only:
        app.specs().keep(graph)
    try:
        judged = await move(old.plan, graph, {"configurable": {"thread_id": run.thread}}, plan_only=plan_only)
    except Owned:
        return Move(reasons=("somebody works on it right now: pause it first",))
    if judged.possible and not plan_only and version is not None:
        from cogwork.library.executions import note_version

        await known.records.writing(_noting(note_version, run.thread, version, graph.digest))
    return judged


def _noting(note: Callable[..., None], thread: str, version: tuple[str, int], digest: str) -> Callable[[Any], None]:
    return lambda connection: note(connection, thread, version, digest)


async def _began_with(app: App, known: Library, run: RunSummary) -> WorkflowGraph:
    """The graph of the version that a run began with.

    Raises:
        Refusal: nothing is kept of it.
    """
    from cogwork.cli.runs import kept_graph
    from cogwork.library.pinned import compiled

    published = await known.of_digest(run.digest)
    if published is not None and published.kind == "spec":
        return compiled(app, await known.bundle(published.workflow_id, published.version))
    return kept_graph(app, run, None)


def _show(told: list[tuple[RunSummary, Move]], *, plan: bool) -> None:
    if not told:
        render.say("no open run is of another version")
        return
    word = "can move" if plan else "moved"
    rows: list[list[str | tuple[str, str]]] = [
        [
            (run.thread, "cyan"),
            run.status,
            (word, "green") if move.possible else ("stays", "yellow"),
            "; ".join(move.reasons),
        ]
        for run, move in told
    ]
    render.columns(rows, ("RUN", "STATUS", "", "WHY NOT"))
