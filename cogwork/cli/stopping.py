"""The commands that stop a run from another terminal: ``pause`` and ``cancel``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from cogwork.cli import context, elsewhere, exits, render
from cogwork.cli.exits import MISSING, Refusal
from cogwork.cli.reasons import aftermath, brief_status

if TYPE_CHECKING:
    from cogwork.store.runs import Runs, RunSummary
    from graphs.graph import WorkflowGraph

Wait = Annotated[bool, typer.Option("--wait", help="Wait until the run has stopped, and show how.")]
LOOKING: Final = 0.1
"""Seconds between two looks at a run that is waited for."""
MOMENT: Final = 1.0
"""Seconds that a run is given to stop before it is said that it has been asked to."""
ENDED: Final = ("completed", "failed", "cancelled")


def pause(
    name: context.RunName,
    wait: Wait = False,
    json: context.Json = False,
) -> None:
    """Let a run rest that another process works on; `cogwork resume` goes on with it.

    Nothing new begins; reads and model calls in flight are given up and made again later, writes in flight end first.
    """
    if (remote := elsewhere.remote_execution(name)) is not None:
        elsewhere.paused(remote, wait=wait, json=json)
    with context.kept_runs(context.opened()) as runs:
        summary = runs.find(name)
        if summary.status != "running":
            raise Refusal(f"Nothing to pause: run {summary.thread} {_stands(summary)}", _hint(summary), MISSING)
        _request(runs, summary, "pause")
        after = _awaited(runs, summary, None if wait else MOMENT)
        _tell(after, "pause", json=json)
    raise typer.Exit(_code(after, "paused"))


def cancel(
    name: context.RunName,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take back what its finished steps did, the last first.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why; kept with the run.", show_default=False)] = "",
    wait: Wait = False,
    json: context.Json = False,
) -> None:
    """End a run, whether a process works on it or it rests: `on_failure` and `finally` run, and then it is over.

    Writes in flight end first. A run that nobody works on is brought to its end by this command.
    """
    from cogwork.cli.runs import kept_graph

    if (remote := elsewhere.remote_execution(name)) is not None:
        elsewhere.cancelled(remote, reason=reason, undo=undo, wait=wait, json=json)
    app = context.opened()
    with context.kept_runs(app) as runs:
        summary = runs.find(name)
        if summary.status in ENDED:
            raise Refusal(f"Nothing to cancel: run {summary.thread} {_stands(summary)}", _hint(summary), MISSING)
        graph = kept_graph(app, summary, runs.saver)
        _request(runs, summary, "cancel", reason, undo=undo)
        after = _awaited(runs, summary, None if wait else MOMENT)
        if after.status not in (*ENDED, "running"):
            after = _brought_to_its_end(graph, runs, after, json=json)
        _tell(after, "cancel", json=json)
    raise typer.Exit(_code(after, "cancelled"))


def _request(
    runs: Runs, summary: RunSummary, kind: Literal["pause", "cancel"], reason: str = "", *, undo: bool = False
) -> None:
    """Leave the request for whoever works on the run, now or next."""
    import asyncio

    from graphs.keeping import request

    saver: Any = runs.saver
    asyncio.run(saver.requests.make(summary.thread, request(kind, reason, undo=undo)))


def _brought_to_its_end(graph: WorkflowGraph, runs: Runs, summary: RunSummary, *, json: bool) -> RunSummary:
    """The run, which nobody works on, once its request has been heeded; the progress is shown unless JSON is wanted."""
    from cogwork.cli.drive import followed

    followed(graph, summary.thread, quiet=json)
    return runs.of(summary.thread) or summary


def _awaited(runs: Runs, summary: RunSummary, patience: float | None) -> RunSummary:
    """The run once nobody works on it any more, or after so many seconds; without ``patience`` however long that takes."""
    until = None if patience is None else time.monotonic() + patience
    while (now := runs.of(summary.thread)) is not None and now.status == "running":
        if until is not None and time.monotonic() > until:
            break
        time.sleep(LOOKING)
    return now or summary


def _stands(summary: RunSummary) -> str:
    match summary.status:
        case "unfinished":
            return "was interrupted, and nobody works on it"
        case "paused":
            return f"rests already ({brief_status('paused', summary.reason)})"
        case "cancelled":
            return "was cancelled"
        case _:
            return f"has {summary.status}"


def _hint(summary: RunSummary) -> str:
    """What to do with a run that cannot be stopped as it was asked."""
    if summary.status in ENDED:
        return f"see it with: cogwork show {summary.thread}"
    return f"go on with it: cogwork resume {summary.thread}; or end it: cogwork cancel {summary.thread}"


def _tell(summary: RunSummary, verb: str, *, json: bool) -> None:
    if json:
        render.write_json({"requested": verb, **summary.to_dict()})
        return
    if summary.status == "running":
        render.say(f"Asked run {summary.thread} to {verb}. Writes in flight end first; see it with:")
        render.say((f"  cogwork status {summary.thread}", "bold cyan"))
        return
    mark = f"{render.MARKS[summary.status]} {brief_status(summary.status, summary.reason)}"
    render.say((mark, render.STYLES[summary.status]), f"  {summary.thread}")
    for line in aftermath(summary.values.get("run", {})):
        render.say(line)
    if summary.status == "paused":
        from cogwork.cli.asking import show_way_on

        show_way_on(summary)


def _code(summary: RunSummary, wanted: str) -> int:
    """0 where the run came to what was asked, or has only been asked; else what it came to."""
    codes = {"failed": exits.FAILED, "cancelled": exits.CANCELLED, "paused": exits.RESTS, "unfinished": exits.FAILED}
    return exits.DONE if summary.status == wanted else codes.get(summary.status, exits.DONE)
