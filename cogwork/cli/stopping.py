"""The commands that stop a run from another terminal: ``pause`` and ``cancel``."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cogwork.cli import context, exits, render
from cogwork.cli.exits import MISSING, Refusal
from cogwork.cli.reasons import aftermath, brief_status

if TYPE_CHECKING:
    from cogwork.store.runs import Runs, RunSummary

Wait = Annotated[bool, typer.Option("--wait", help="Wait until the run has stopped, and show how.")]
LOOKING: Final = 0.1
"""Seconds between two looks at a run that is waited for."""
ENDED: Final = ("completed", "failed", "cancelled")


def pause(
    name: context.RunName,
    reason: Annotated[str, typer.Option(help="Why; kept with the run.", show_default=False)] = "",
    wait: Wait = False,
    json: context.Json = False,
) -> None:
    """Let a run rest that another process works on; `cogwork resume` goes on with it.

    Nothing new begins; reads and model calls in flight are given up and made again later, writes in flight end first.
    """
    from cogwork.cli.runs import kept_graph

    app = context.opened()
    with context.kept_runs(app) as runs:
        summary = runs.find(name)
        if summary.status != "running":
            raise Refusal(f"Nothing to pause: run {summary.thread} {_stands(summary)}", _hint(summary), MISSING)
        graph: Any = kept_graph(app, summary, runs.saver)
        asyncio.run(graph.apause(_config(summary), reason=reason))
        after = _awaited(runs, summary) if wait else summary
        _tell(after, "pause", json=json, waited=wait)
    raise typer.Exit(_code(after, "paused") if wait else exits.DONE)


def cancel(
    name: context.RunName,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take back what its finished steps did, the last first.")
    ] = False,
    wait: Wait = False,
    json: context.Json = False,
) -> None:
    """End a run, whether a process works on it or it rests: `on_failure` and `finally` run, and then it is over.

    Writes in flight end first. A run that nobody works on is brought to its end by this command.
    """
    from cogwork.cli.answers import Given
    from cogwork.cli.runs import drive, kept_graph

    app = context.opened()
    with context.kept_runs(app) as runs:
        summary = runs.find(name)
        if summary.status in ENDED:
            raise Refusal(f"Nothing to cancel: run {summary.thread} {_stands(summary)}", _hint(summary), MISSING)
        graph: Any = kept_graph(app, summary, runs.saver)
        asyncio.run(graph.acancel(_config(summary), undo=undo))
        after = runs.of(summary.thread) or summary
        if after.status not in (*ENDED, "running"):
            drive(graph, summary.thread, None, Given(), json=json, no_input=True)
        after = _awaited(runs, summary) if wait else after
        _tell(after, "cancel", json=json, waited=wait)
    raise typer.Exit(_code(after, "cancelled") if wait else exits.DONE)


def _config(summary: RunSummary) -> Any:
    return {"configurable": {"thread_id": summary.thread}}


def _awaited(runs: Runs, summary: RunSummary) -> RunSummary:
    """The run once nobody works on it any more."""
    while (now := runs.of(summary.thread)) is not None and now.status == "running":
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


def _tell(summary: RunSummary, verb: str, *, json: bool, waited: bool) -> None:
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
    if waited and summary.status == "paused":
        render.say("Go on with:")
        render.say((f"  cogwork resume {summary.thread}", "bold cyan"))


def _code(summary: RunSummary, wanted: str) -> int:
    """0 where the run came to what was asked; else what it came to."""
    codes = {"failed": exits.FAILED, "cancelled": exits.CANCELLED, "paused": exits.RESTS, "unfinished": exits.FAILED}
    return exits.DONE if summary.status == wanted else codes.get(summary.status, exits.DONE)
