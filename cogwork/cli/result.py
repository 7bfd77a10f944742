"""The command ``result``: what an execution has come to, for people, as JSON, or in the form that is wanted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cogwork.cli import context, elsewhere, render, shown
from cogwork.cli.engine import Name, opened
from cogwork.cli.exits import Refusal

if TYPE_CHECKING:
    from cogwork.executions.result import ExecutionResult
    from cogwork.settings import Settings

Form = Literal["text", "markdown", "html", "json", "xml", "yaml"]
Format = Annotated[
    Form | None, typer.Option("--format", "-f", help="As a response, written in this form.", show_default=False)
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there.", show_default=False)
]
Whole = Annotated[bool, typer.Option("--whole", help="Shorten nothing, however large.")]


def result(
    name: Name, form: Format = None, output: Output = None, whole: Whole = False, json: context.Json = False
) -> None:
    """What an execution has come to: its output, errors, warnings, artifacts, and what can be done next.

    With `--format` it is a response: the form says how it is written, `--output` where to, and large results are shortened
    unless it is to be `--whole`. With `--json` it is the record, with each step.
    """
    _refuse(form, output, whole=whole, json=json)
    found, settings = asyncio.run(_found(name))
    if form is not None:
        _respond(found, settings, form, output, whole=whole)
    elif json:
        render.write_json(found.to_dict())
    else:
        _told(found)
    raise typer.Exit(shown.code(found.execution))


def _refuse(form: Form | None, output: Path | None, *, whole: bool, json: bool) -> None:
    if json and form is not None:
        raise Refusal("--json and --format exclude each other", "--json is the record, --format json the response")
    if form is None and (output is not None or whole):
        raise Refusal("--output and --whole go with --format", "say which, such as --format markdown")


async def _found(name: str) -> tuple[ExecutionResult, Settings]:
    from cogwork.engine.results import result_for

    async with opened() as parts:
        if (await parts.executions.get(name)).mode == "remote":
            await elsewhere.attended(parts, name, elsewhere.MOMENT)
        return await result_for(parts, name), parts.house.settings


def _respond(found: ExecutionResult, settings: Settings, form: Form, output: Path | None, *, whole: bool) -> None:
    from cogwork.responses import USUAL, WHOLE, rendered, response_of
    from cogwork.tools.roots import Roots

    made = response_of(found, roots=Roots(settings.write_roots), bounds=WHOLE if whole else USUAL)
    text = rendered(made, form)
    if output is None:
        render.write(render.safe(text) if render.out().is_terminal else text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as err:
        raise Refusal(f"{output} cannot be written: {err.strerror}", "name another file with --output") from err
    render.note(("written to ", "dim"), str(output))


def _told(found: ExecutionResult) -> None:
    shown.told(found.execution)
    if found.output is not None:
        render.value(found.output, title="Output")
    for warning in found.warnings:
        render.note(("warning: ", "yellow"), f"{warning.get('node')}: {warning.get('message')}")
