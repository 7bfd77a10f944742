"""The commands that list what there is: ``workflows``, ``modes`` and ``tools``."""

from __future__ import annotations

import json as _json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cogwork.cli import context, render

if TYPE_CHECKING:
    from cogwork.app import App
    from graphs.language.load import Workflow


def workflows(
    name: Annotated[
        str | None, typer.Argument(metavar="[WORKFLOW]", help="Show one with its inputs.", show_default=False)
    ] = None,
    json: context.Json = False,
) -> None:
    """What `run` can name; or one workflow with its inputs."""
    app = context.opened()
    if name is not None:
        _show_workflow(app.load(name), name, json=json)
        return
    found = [(path, *_loaded(app, str(path))) for path in app.workflow_files()]
    if json:
        rows = [
            {"name": path.stem, "file": str(path), "mode": w.spec.mode, "description": w.spec.description}
            if w
            else {"name": path.stem, "file": str(path), "problem": fault}
            for path, w, fault in found
        ]
        render.write_json(rows)
        return
    render.columns(
        [
            [(path.stem, "cyan"), (w.spec.mode or "") if w else "", w.spec.description if w else (fault, "red")]
            for path, w, fault in found
        ],
        ("WORKFLOW", "MODE", "WHAT IT DOES"),
    )


def _loaded(app: App, source: str) -> tuple[Workflow | None, str]:
    from pathlib import Path

    from state.errors import SpecError

    try:
        return app.load(Path(source)), ""
    except SpecError as err:
        return None, f"{len(err.problems)} problems: cogwork check {source}"


def _show_workflow(workflow: Workflow, name: str, *, json: bool) -> None:
    spec = workflow.spec
    if json:
        render.write_json({"name": spec.name, "description": spec.description, "mode": spec.mode, "input": spec.input})
        return
    render.say((spec.name, "bold cyan"), f"  {spec.description}")
    render.say()
    if rows := _inputs(spec.input):
        render.columns(rows, ("INPUT", "TYPE", "DEFAULT", "MEANING"))
    else:
        render.say("takes no input")
    needed = [f" -i {each}=…" for each in spec.input.get("required", ())]
    render.say()
    render.say((f"  cogwork run {name}{''.join(needed)}", "bold cyan"))


def _inputs(schema: Mapping[str, Any]) -> list[list[str | tuple[str, str]]]:
    from cogwork.cli.asking import fields, kind

    return [
        [
            (name, "cyan"),
            kind(each),
            _json.dumps(each["default"], ensure_ascii=False) if "default" in each else "(needed)",
            str(each.get("description", "")),
        ]
        for name, each in fields(schema).items()
    ]


def modes(json: context.Json = False) -> None:
    """The five modes, with their prompts and workflows."""
    from graphs.language.spec import MODES

    app = context.opened()
    names = list(app.services.prompts.names())
    loaded = [(path.stem, _loaded(app, str(path))[0]) for path in app.workflow_files()]
    rows = [
        {
            "mode": mode,
            "model": app.settings.models.get(mode) or app.settings.model or _default(app, mode),
            "prompts": [name for name in names if name.startswith(f"{mode}/")],
            "workflows": [name for name, workflow in loaded if workflow is not None and workflow.spec.mode == mode],
        }
        for mode in MODES
    ]
    if json:
        render.write_json(rows)
        return
    render.columns(
        [[(str(r["mode"]), "cyan"), str(r["model"]), ", ".join(r["workflows"]), ", ".join(r["prompts"])] for r in rows],
        ("MODE", "MODEL", "WORKFLOWS", "PROMPTS"),
    )


def _default(app: App, mode: str) -> str:
    return "openai" if app.settings.openai_api_key or app.settings.openai_base_url else "offline"


def tools(json: context.Json = False) -> None:
    """The tools that workflows may name: what they do to the world, and their arguments."""
    app = context.opened()
    given = app.services.tools
    for why in (app.mcp.explore() if app.mcp is not None else {}).values():
        render.complain(why, "cogwork mcp")
    found = [tool for name in given.names() if (tool := given.find(name)) is not None]
    for trouble in getattr(given, "troubles", ()):
        render.note(("note: ", "bold yellow"), trouble)
    if json:
        render.write_json(
            [
                {
                    "name": tool.name,
                    "description": tool.description,
                    "effect": tool.effect,
                    "idempotent": tool.idempotent,
                    "args": tool.args_schema,
                    "output": tool.output_schema,
                }
                for tool in found
            ]
        )
        return
    effects = {"none": "green", "read": "green", "write": "yellow"}
    render.columns(
        [
            [
                (t.name, "cyan"),
                (t.effect, effects[t.effect]),
                _signature(t.args_schema),
                (t.description.split("\n")[0], "dim"),
            ]
            for t in found
        ],
        ("TOOL", "EFFECT", "ARGUMENTS", "WHAT IT DOES"),
    )


def _signature(schema: Mapping[str, Any]) -> str:
    needed = set(schema.get("required", ()))
    return ", ".join(name if name in needed else f"{name}?" for name in schema.get("properties", {}))
