"""The command ``fork``: a new run from a past step of another one, with changed values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from cogwork.cli import context, render
from cogwork.cli.answers import Given
from cogwork.cli.exits import MISSING, Refusal
from cogwork.cli.runs import Answers, Fields, NoInput

if TYPE_CHECKING:
    from cogwork.cli.changes import Changes
    from cogwork.store.runs import RunSummary
    from graphs.graph import WorkflowGraph

Side: TypeAlias = Literal["before", "after"]
At = Annotated[str, typer.Option("--at", metavar="STEP", help="The step of the past run that the new one begins at.")]
Before = Annotated[bool, typer.Option("--before", help="Begin before that step, so that it runs again (the default).")]
After = Annotated[bool, typer.Option("--after", help="Begin once it has ended, keeping its result.")]
Sets = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="STEP[.FIELD]=VALUE",
        default_factory=list,
        help="Another value for a step that has ended by then, or for input.FIELD.",
        show_default=False,
    ),
]
As = Annotated[str | None, typer.Option("--as", metavar="THREAD", help="The new run's thread.", show_default=False)]


def fork(
    name: context.RunName,
    at: At,
    sets: Sets,
    fields: Fields,
    answers: Answers,
    before: Before = False,
    after: After = False,
    thread: As = None,
    no_run: Annotated[bool, typer.Option("--no-run", help="Only make it; `cogwork resume` runs it.")] = False,
    no_input: NoInput = False,
    json: context.Json = False,
) -> None:
    """Begin a new run at a past step of another one, perhaps with changed values; the other one stays as it is.

    What had ended by then is taken over and not done again; what comes later is done anew, writes included. With
    `--set STEP=VALUE` of the step itself, it has that value, whether it ended or not.
    """
    import asyncio

    from cogwork.cli.runs import drive, kept_graph, new_thread

    if before and after:
        raise Refusal("--before and --after exclude each other")
    app = context.opened()
    with app.checkpoints() as saver:
        summary = context.runs_of(saver).find(name)
        graph = kept_graph(app, summary, saver)
        target = thread or new_thread(graph)
        _refuse_taken(saver, target)
        path = past_step(graph, summary, at)
        state, made = _origin(graph, summary, path, sets, "before" if before else "after" if after else None)
        run = asyncio.run(_begin(graph, target, state, made, path))
        _tell(graph, summary, target, run, path, state, made, json=json, no_run=no_run)
        if not no_run:
            drive(graph, target, None, Given(fields=tuple(fields), whole=tuple(answers)), json=json, no_input=no_input)


def past_step(graph: WorkflowGraph, summary: RunSummary, name: str) -> str:
    """The path in the run that ``name`` means.

    Raises:
        Refusal: no such step has run; says which have.
    """
    from cogwork.cli.deciding import step_id

    nodes: Mapping[str, Any] = summary.values.get("nodes", {})
    if name in nodes:
        return name
    inside = [path for path in nodes if step_id(path) == name]
    if len(inside) == 1:
        return inside[0]
    if inside:
        raise Refusal(f"{name} ran {len(inside)} times in run {summary.thread}", f"name one, such as --at {inside[0]}")
    ran = ", ".join(path for path in nodes if "[" not in path) or "none"
    what = "never ran" if step_id(name) in graph.plan.steps else "is no step"
    raise Refusal(f"{name!r} {what} in run {summary.thread}: it cannot be forked there", f"these did: {ran}", MISSING)


def _origin(
    graph: WorkflowGraph, summary: RunSummary, path: str, sets: Sequence[str], side: Side | None
) -> tuple[Mapping[str, Any], Changes]:
    """The state that the new run begins with, and what is changed in it."""
    from cogwork.cli.changes import changed, target

    nodes = summary.values["nodes"]
    named = {target(text, nodes)[0] for text in sets}
    done = nodes[path].get("status") == "done"
    here = any(name == path or name.startswith(f"{path}[") for name in named)
    if here and side == "before":
        raise Refusal(f"--set {path} and --before: it runs anew there, so that its value would be lost", "use --after")
    stands_in = path in named and not done
    chosen: Side = side or ("after" if here else "before")
    state = _state(graph, summary, path, "before" if stands_in else chosen)
    _refuse_failing(summary, state, path)
    return state, changed(graph, state, sets, nodes, path if stands_in else "")


def _refuse_failing(summary: RunSummary, state: Mapping[str, Any], path: str) -> None:
    """Refuse a state in which the run was at its end already: nothing of its own would go on from there."""
    error = state["run"].get("error")
    if error:
        node = error.get("node")
        how = f"had failed at {node}" if node else "was failing or cancelled"
        hint = f"cogwork fork {summary.thread} --at {node}" if node else "fork it at a step that was over before"
        raise Refusal(f"Run {summary.thread} {how} before {path} began: no run can go on from there", hint)


def _state(graph: WorkflowGraph, summary: RunSummary, path: str, side: Side) -> Mapping[str, Any]:
    from cogwork.store import past

    saver: Any = graph.checkpointer
    found = (past.before if side == "before" else past.after)(saver, summary.thread, path)
    if found is not None:
        return found
    if side == "after":
        status = summary.values["nodes"][path].get("status")
        raise Refusal(f"{path} has not ended in run {summary.thread}: it is {status}", "fork it --before that step")
    origin = summary.values.get("run", {}).get("forked_from")
    raise Refusal(
        f"Nothing is kept of run {summary.thread} from before {path}",
        f"it was forked later than that; fork the run it came from: cogwork fork {origin} --at {path}"
        if origin
        else "",
        MISSING,
    )


def _config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


def _refuse_taken(saver: Any, thread: str) -> None:
    if saver.get_tuple(_config(thread)) is not None:
        raise Refusal(f"Thread {thread!r} holds a run already", "name another one with --as, or leave it out")


async def _begin(graph: WorkflowGraph, thread: str, state: Mapping[str, Any], made: Changes, path: str) -> str:
    """Write the new run's first state on its thread; its id.

    Raises:
        Owned: somebody else begins a run there.
        Refusal: somebody else has begun one there.
    """
    from graphs.calls import classify
    from graphs.forks import written

    saver: Any = graph.checkpointer
    config: Any = {"configurable": {"thread_id": thread}}
    async with saver.owners.held(thread):
        _refuse_taken(saver, thread)
        await written(graph, config, _values(state, made, path))
        return str((await classify(graph, None, config, None)).scheduler.about["id"])


def _values(state: Mapping[str, Any], made: Changes, path: str) -> dict[str, Any]:
    """The past state with what is changed, as one that goes on; what makes a fork of it is up to the graph."""
    from datetime import UTC, datetime

    from graphs.forks import fresh

    now, past = datetime.now(UTC).isoformat(), state["run"]
    by_hand = {step: {**made.nodes[step], "status": "done", "ended_at": now} for step in made.path}
    return {
        "input": made.input,
        "run": {**past, **fresh(past), "id": past["id"], "started_at": now, "forked_at": path},
        "nodes": {**state.get("nodes", {}), **made.nodes, **by_hand},
        "results": {**state.get("results", {}), **made.results},
        "path": [*state.get("path", ()), *made.path],
        "messages": list(state.get("messages", ())),
    }


def _tell(
    graph: WorkflowGraph,
    summary: RunSummary,
    thread: str,
    run: str,
    path: str,
    state: Mapping[str, Any],
    made: Changes,
    *,
    json: bool,
    no_run: bool,
) -> None:
    again = _written_again(graph, summary, state, made)
    if json:
        about = {"event": "fork", "thread": thread, "run": run, "forked_from": summary.run, "at": path}
        render.write_json({**about, "set": dict(made.results), "writes_again": again}, indent=None)
        return
    render.note(("forked ", "dim"), summary.thread, (" at ", "dim"), path, (" as ", "dim"), (thread, "bold"))
    if undone := _undone(summary, state):
        render.note((f"undone since, and taken as done here: {', '.join(undone)}", "yellow"))
    if again:
        render.note((f"done by {summary.thread} already, and done again: {', '.join(again)}", "yellow"))
    if no_run:
        render.say("Run it with:")
        render.say((f"  cogwork resume {thread}", "bold cyan"))


def _written_again(graph: WorkflowGraph, summary: RunSummary, state: Mapping[str, Any], made: Changes) -> list[str]:
    """The steps that changed the world in the past run and will do so again."""
    from cogwork.cli.deciding import step_id

    kept = {path for path, record in state.get("nodes", {}).items() if record.get("status") == "done"}
    found = []
    for path, record in summary.values.get("nodes", {}).items():
        planned = graph.plan.steps.get(step_id(path))
        writes = planned is not None and planned.node and planned.node.effect_of(graph.services) == "write"
        if writes and record.get("status") == "done" and path not in kept and path not in made.path:
            found.append(path)
    return found


def _undone(summary: RunSummary, state: Mapping[str, Any]) -> list[str]:
    undo = summary.values.get("run", {}).get("undo") or {}
    return [path for path in undo.get("done", ()) if path in state.get("nodes", {})]
