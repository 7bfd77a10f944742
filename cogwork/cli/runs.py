"""The commands that move a run: ``run`` and ``resume``."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cogwork.cli import context, elsewhere, overriding
from cogwork.cli.answers import Given
from cogwork.cli.exits import MISSING, Refusal

if TYPE_CHECKING:
    from cogwork.app import App
    from cogwork.store.runs import RunSummary
    from graphs.graph import WorkflowGraph

Fields = Annotated[
    list[str],
    typer.Option(
        "--answer-field",
        "-a",
        metavar="[STEP.]FIELD=VALUE",
        default_factory=list,
        help="One field of an answer.",
        show_default=False,
    ),
]
Answers = Annotated[
    list[str],
    typer.Option("--answer", metavar="STEP=JSON", default_factory=list, help="A whole answer.", show_default=False),
]
Limits = Annotated[
    list[str],
    typer.Option(
        "--limit",
        metavar="NAME=VALUE",
        default_factory=list,
        help="A higher limit for a run that rests at one: timeout=10m, max_tokens=80000 …",
        show_default=False,
    ),
]
Pairs = Annotated[
    list[str],
    typer.Option(
        "-i",
        metavar="KEY=VALUE",
        default_factory=list,
        help="One input; lists may be repeated.",
        show_default=False,
    ),
]
Whole = Annotated[
    str | None, typer.Option("--input", metavar="FILE|-|JSON", help="All inputs as an object.", show_default=False)
]
NoInput = Annotated[bool, typer.Option("--no-input", help="Never ask at the terminal; rest instead.")]


def run(
    workflow: context.WorkflowName,
    pairs: Pairs,
    fields: Fields,
    answers: Answers,
    sets: overriding.Sets,
    overrides: overriding.File = None,
    given: Whole = None,
    thread: Annotated[
        str | None, typer.Option(help="Thread to run on; a new one without it.", show_default=False)
    ] = None,
    tool_results: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-|JSON",
            help="Results of tools that were called already, by step or tool.",
            show_default=False,
        ),
    ] = None,
    no_checkpoint: Annotated[bool, typer.Option("--no-checkpoint", help="Keep nothing; cannot be resumed.")] = False,
    no_input: NoInput = False,
    json: context.Json = False,
) -> None:
    """Run a workflow; it rests where a person is asked, and is resumed by another command.

    Progress goes to standard error, the result to standard output.
    """
    from cogwork.cli.values import beside, gathered

    app = context.opened()
    loaded = overriding.loaded(app, workflow, sets, overrides)
    inputs = gathered(loaded.spec.input, pairs, given)
    options, handed = Given(fields=tuple(fields), whole=tuple(answers)), beside(tool_results)
    if no_checkpoint:
        from langgraph.checkpoint.memory import InMemorySaver

        graph = app.compile(loaded, checkpointer=InMemorySaver())
        name = thread or new_thread(graph)
        drive(graph, name, inputs, options, json=json, no_input=no_input, kept=False, context=handed)
    with app.checkpoints() as saver:
        graph = app.compile(loaded, checkpointer=saver)
        name = thread or new_thread(graph)
        app.specs().keep(graph)
        graph.observer = app.recorder(context.ORIGIN)
        drive(graph, name, inputs, options, json=json, no_input=no_input, context=handed)


def resume(
    name: context.RunName,
    fields: Fields,
    answers: Answers,
    limits: Limits,
    no_input: NoInput = False,
    json: context.Json = False,
) -> None:
    """Go on with a run: answer what it asks, raise the limit it rests at, or continue what was paused, stopped or crashed.

    The run goes on with the workflow as it was when the run began.
    """
    options = Given(fields=tuple(fields), whole=tuple(answers), limits=tuple(limits))
    if (remote := elsewhere.remote_execution(name)) is not None:
        elsewhere.resumed(remote, options, json=json)
    app = context.opened()
    with app.checkpoints() as saver:
        summary = context.runs_of(saver).find(name)
        _refuse_ended(summary)
        graph = kept_graph(app, summary, saver)
        _resume(graph, summary, options, json=json, no_input=no_input)


def _resume(graph: WorkflowGraph, summary: RunSummary, given: Given, *, json: bool, no_input: bool) -> None:
    from langgraph.types import Command

    first: Any = None
    if given and summary.questions:
        taken = given.answers(summary.questions)
        ids = {str(i.value["at"]): i.id for i in graph.get_state(_config(summary.thread)).interrupts}
        first, given = Command(resume={ids[path]: answer for path, answer in taken.items()}), Given()
    drive(graph, summary.thread, first, given, json=json, no_input=no_input)


def _config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def drive(
    graph: WorkflowGraph,
    thread: str,
    input: Any,
    given: Given,
    *,
    json: bool,
    no_input: bool,
    kept: bool = True,
    context: dict[str, Any] | None = None,
) -> NoReturn:
    """Run or resume the graph on its thread until it ends or rests, and leave with the exit code that says how."""
    from cogwork.cli.asking import can_ask
    from cogwork.cli.drive import Drive

    asking = not (no_input or json) and can_ask()
    driven = Drive(graph=graph, thread=thread, given=given, json=json, interactive=asking, kept=kept, context=context)
    raise typer.Exit(driven.go(input))


def _refuse_ended(summary: RunSummary) -> None:
    if summary.status in ("completed", "failed", "cancelled"):
        has = "was" if summary.status == "cancelled" else "has"
        again = f"again from one of its steps: cogwork fork {summary.thread} --at STEP"
        hint = f"see it with: cogwork show {summary.thread}; {again}"
        raise Refusal(f"Run {summary.thread} {has} {summary.status} and cannot be resumed", hint, MISSING)


def new_thread(graph: WorkflowGraph) -> str:
    """A short id for a new run's thread."""
    return f"{graph.plan.spec.name}-{secrets.token_hex(3)}"


def kept_graph(app: App, summary: RunSummary, saver: Any) -> WorkflowGraph:
    """The graph of the workflow that the run began with.

    Raises:
        Refusal: it was not kept, and the workflow of that name is another by now.
    """
    graph = _found_graph(app, summary, saver)
    graph.observer = app.recorder(context.ORIGIN)
    return graph


def _found_graph(app: App, summary: RunSummary, saver: Any) -> WorkflowGraph:
    from cogwork.store.checkpoints import StoreError
    from state.errors import SpecError

    try:
        workflow, resolve = app.specs().find(summary.digest)
        return app.compile(workflow, checkpointer=saver, resolve=resolve)
    except StoreError as err:
        missing = err
    if (published := _published_graph(app, summary.digest, saver)) is not None:
        return published
    try:
        graph = app.compile(summary.workflow, checkpointer=saver)
    except SpecError:
        graph = None
    if graph is None or graph.digest != summary.digest:
        raise Refusal(
            f"Run {summary.thread} cannot go on: {missing}",
            "restore the records (records.sqlite of the state folder, or the database)",
            MISSING,
        )
    return graph


def _published_graph(app: App, digest: str, saver: Any) -> WorkflowGraph | None:
    """The graph of the version of the library that has this digest; None where there is none, or it is code."""
    import asyncio

    from cogwork.library.library import Library
    from cogwork.library.pinned import compiled

    library: Library = Library(app.records(), app)

    async def found() -> Any:
        version = await library.of_digest(digest)
        return (await library.content(version.workflow_id, version.version)).bundle if version is not None else None

    bundle = asyncio.run(found())
    return compiled(app, bundle, checkpointer=saver) if bundle is not None else None
