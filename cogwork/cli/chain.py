"""The commands ``chain`` and ``call``: tool calls run as a workflow, their results told as one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cogwork.cli import context, exits, render
from cogwork.cli.runs import Answers, Fields, NoInput, Pairs, Whole, new_thread

if TYPE_CHECKING:
    from cogwork.app import App
    from graphs.language.load import Workflow
    from state.values import Json


def chain(
    request: Annotated[
        str,
        typer.Argument(metavar="FILE|JSON", help="A chain: a YAML or JSON file, or JSON itself.", show_default=False),
    ],
    pairs: Pairs,
    fields: Fields,
    answers: Answers,
    given: Whole = None,
    no_input: NoInput = False,
    json: context.Json = False,
) -> None:
    """Run a chain of tool calls; exits with 1 unless every call that was to be made succeeded."""
    from cogwork.chains import loaded
    from cogwork.cli.answers import Given
    from cogwork.cli.values import gathered, parsed

    app = context.opened()
    workflow = loaded(app, parsed(request, "The chain") if request.lstrip()[:1] in ("{", "[") else Path(request))
    inputs = gathered(workflow.spec.input, pairs, given, "The chain")
    options = Given(fields=tuple(fields), whole=tuple(answers))
    raise typer.Exit(_run(app, workflow, inputs, options, json=json, no_input=no_input))


def call(
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="Name of a tool.", show_default=False)],
    pairs: Pairs,
    fields: Fields,
    answers: Answers,
    given: Whole = None,
    no_input: NoInput = False,
    json: context.Json = False,
) -> None:
    """Call one tool, as a workflow of one step does: checked before, recorded, and asked about where that is needed."""
    from cogwork.cli.answers import Given
    from cogwork.cli.runs import drive
    from cogwork.cli.values import gathered
    from graphs.language.dialects.entry import as_name

    app = context.opened()
    found = app.services.tools.find(tool)
    args = gathered(found.args_schema if found is not None else {}, pairs, given, tool)
    # The values are data: they reach the tool as input, so that no text in them is read as an expression.
    named = {name: f"{{{{ input['{name}'] }}}}" for name in args}
    taken: dict[str, Json] = {name: {} for name in args}
    step: dict[str, Json] = {"type": "tool", "tool": tool, "args": named}
    spec: dict[str, Json] = {"cogwork": "v1", "name": as_name(tool), "input": taken, "nodes": {"call": step}}
    with app.checkpoints() as saver:
        graph = app.compile(spec, checkpointer=saver)
        app.specs().keep(graph)
        graph.observer = app.recorder(context.ORIGIN)
        options = Given(fields=tuple(fields), whole=tuple(answers))
        drive(graph, new_thread(graph), args, options, json=json, no_input=no_input)


def _run(app: App, workflow: Workflow, inputs: dict[str, Json], given: Any, *, json: bool, no_input: bool) -> int:
    """Run a chain and tell its results; the exit code."""
    from cogwork.chains import outcome
    from cogwork.cli.asking import can_ask
    from cogwork.cli.drive import Drive

    interactive = not (no_input or json) and can_ask()
    with app.checkpoints() as saver:
        graph = app.compile(workflow, checkpointer=saver)
        app.specs().keep(graph)
        graph.observer = app.recorder(context.ORIGIN)
        driven = Drive(graph=graph, thread=new_thread(graph), given=given, json=json, interactive=interactive)
        code = driven.go(inputs)
        failed = code == exits.DONE and outcome(graph, driven.config).get("status") != "complete"
        if failed and not json:
            for each in outcome(graph, driven.config).get("failed", ()):
                render.complain(f"{each['tool']}: {each['message']} [{each['class']}]")
    return exits.FAILED if failed else code
