"""The commands for those who write workflows: ``check``, ``draw``, ``schema`` and ``new``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from cogwork.cli import context, render
from cogwork.cli.exits import Refusal

OutFile = Annotated[Path | None, typer.Option("-o", "--output", help="Write to this file.", show_default=False)]
Format = Literal["text", "mermaid", "svg", "png"]

STARTER = """\
# yaml-language-server: $schema=%(schema)s
# A workflow to begin with. Look at it:  cogwork draw %(file)s    Check it:  cogwork check %(file)s
# Run it:  cogwork run %(file)s -i topic=retries
cogwork: v1
name: %(name)s
description: Write a short note on a topic, and keep it if a person likes it.

input:                                   # what a run is given; without a default it must be given
  topic: {type: string, default: retries, description: What the note is about.}
  notes:
    type: string
    default: Retry only what may pass by itself. Wait longer each time. Stop after a few attempts.
    description: What is known about it.

nodes:
  draft:                                 # ask a model; without a key the offline model answers from the material
    type: llm
    prompt: "What matters about {{ topic }}?\\n\\nMaterial:\\n{{ notes }}"
    with: {topic: "{{ input.topic }}", notes: "{{ input.notes }}"}

  approve:                               # rest until a person answers; the answer must fit the form
    type: human
    ask: "Keep this note on {{ input.topic }}?"
    show: "{{ draft }}"
    form:
      decision: {enum: [keep, drop]}
      comment: {type: string, default: ""}

  note:                                  # runs only if the person said so; otherwise it is skipped
    type: transform
    when: approve.decision == 'keep'
    set: {topic: "{{ input.topic }}", text: "{{ draft }}", comment: "{{ approve.comment }}"}

output:                                  # `note` may be skipped, so it is read with `?.`
  kept: "{{ approve.decision == 'keep' }}"
  text: "{{ note?.text | default: 'Nothing was kept.' }}"
"""


def check(
    names: Annotated[list[str], typer.Argument(metavar="WORKFLOW...", help="Files or names.", show_default=False)],
    json: context.Json = False,
) -> None:
    """Find everything that is wrong with workflows, before they run. Exits with 1 if there are errors."""
    from dataclasses import asdict

    from cogwork.cli.faults import code_of, show_problems

    app = context.opened()
    found = {name: app.check(name) for name in names}
    problems = [problem for each in found.values() for problem in each]
    if json:
        render.write_json([asdict(problem) for problem in problems])
    else:
        show_problems(problems, render.say)
        for name, each in found.items():
            errors = sum(problem.severity == "error" for problem in each)
            warnings = len(each) - errors
            said = (
                ", ".join(_count(n, word) for n, word in ((errors, "error"), (warnings, "warning")) if n)
                or "no problems"
            )
            style = "red" if errors else "yellow" if warnings else "green"
            render.say((f"{'✗' if errors else '✓'} ", style), f"{name}: {said}")
    raise typer.Exit(code_of(problems))


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def draw(
    workflow: Annotated[
        str | None,
        typer.Argument(metavar="[WORKFLOW]", help="Name or file; may be left out with --run.", show_default=False),
    ] = None,
    format: Annotated[
        Format | None, typer.Option("--format", "-f", help="text, or what -o ends in.", show_default=False)
    ] = None,
    output: OutFile = None,
    run: Annotated[
        str | None, typer.Option(help="Colour the steps by what they are in this run.", show_default=False)
    ] = None,
) -> None:
    """Draw a workflow, in the terminal or into a file; nothing is sent anywhere."""
    from cogwork.cli import pictures

    chosen = format or _format_of(output)
    states: Mapping[str, str] = {}
    if run is not None:
        plan, states = pictures.of_run(run)
    elif workflow is not None:
        plan = pictures.of_workflow(workflow)
    else:
        raise Refusal("Nothing to draw", "name a workflow, or a run with --run")
    if chosen == "text" and output is None:
        pictures.show_text(plan, states)
        return
    made = pictures.made(plan, states, chosen)
    if output is None and isinstance(made, bytes):
        raise Refusal("A PNG is not for the terminal", "name a file with -o")
    _deliver(made, output)


def _format_of(output: Path | None) -> Format:
    endings: dict[str, Format] = {".svg": "svg", ".png": "png", ".mmd": "mermaid", ".md": "mermaid"}
    return endings.get(output.suffix.lower(), "text") if output is not None else "text"


def _deliver(made: str | bytes, output: Path | None) -> None:
    if output is None:
        render.write(made if isinstance(made, str) else made.decode())
        return
    output.write_bytes(made if isinstance(made, bytes) else made.encode())
    render.note(("wrote ", "dim"), str(output))


def schema(
    tools: Annotated[bool, typer.Option("--tools", help="With the arguments of the tools that may be used.")] = False,
    output: OutFile = None,
) -> None:
    """The JSON Schema of the language, for editors."""
    import json

    from graphs.language.schema import language_schema

    made = language_schema(context.opened().services.tools if tools else None)
    _deliver(json.dumps(made, indent=2, ensure_ascii=False) + "\n", output)


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the workflow.", show_default=False)],
    output: OutFile = None,
) -> None:
    """Write a workflow to begin with, that checks and runs as it is."""
    if not re.fullmatch(r"[A-Za-z_][\w.-]{0,127}", name):
        raise Refusal(f"{name!r} cannot name a workflow", "use letters, digits, _, - and ., beginning with a letter")
    path = output or Path(f"{name}.yaml")
    if path.exists():
        raise Refusal(f"{path} is already there", "name another file with -o")
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.parent / ".cogwork"
    folder.mkdir(exist_ok=True, mode=0o700)
    (folder / "schema.json").write_text(_language(), encoding="utf-8")
    path.write_text(STARTER % {"name": name, "file": path, "schema": ".cogwork/schema.json"}, encoding="utf-8")
    render.say("wrote ", (str(path), "bold"))
    render.say("Run it with:")
    render.say((f"  cogwork run {path}", "bold cyan"))


def _language() -> str:
    import json

    from graphs.language.schema import language_schema

    return json.dumps(language_schema(context.opened().services.tools), ensure_ascii=False)
