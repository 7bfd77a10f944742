"""The commands ``triggers``: the events that start workflows, and what became of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cogwork.cli import context, render
from cogwork.cli.firing_views import (
    Fields,
    Input,
    Name,
    Options,
    Version,
    Workflow,
    called,
    fields_of,
    firing_data,
    halves,
    object_of,
    show_firings,
    state,
    told,
    trigger_data,
)

if TYPE_CHECKING:
    from cogwork.schedules.triggers import Triggers

triggers = typer.Typer(name="triggers", help="The events that start workflows.", no_args_is_help=True)


@contextmanager
def opened_triggers() -> Iterator[Triggers]:
    """The triggers of the settings; what they fire is left to the workers."""
    from cogwork.records.database import opened
    from cogwork.schedules.triggers import Triggers

    app = context.opened()
    with opened(app.settings.state_dir / "records.sqlite", app.settings.database_url, ring=app.ring) as records:
        yield Triggers(records, secrets=app.services.secrets, roots=app.settings.roots)


@triggers.command("list")
def list_triggers(
    workflow: Annotated[str | None, typer.Option("--workflow", "-w", help="Only those of this workflow.")] = None,
    limit: context.Limit = 50,
    json: context.Json = False,
) -> None:
    """The triggers, the latest first."""
    found = called(opened_triggers, lambda opened: opened.list(workflow=workflow, limit=limit))
    if json:
        render.write_json([trigger_data(each) for each in found])
    elif not found.items:
        render.say(
            "there is no trigger; add one with: cogwork triggers add NAME WORKFLOW file --set 'path=inbox/*.csv'"
        )
    else:
        render.columns(
            [[(each.name, "cyan"), each.workflow, each.kind, state(each), each.source] for each in found],
            ("TRIGGER", "WORKFLOW", "KIND", "STATE", "SOURCE"),
        )


@triggers.command("add")
def add_trigger(
    name: Name,
    workflow: Workflow,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="webhook, file, postgres or workflow.")],
    fields: Fields = None,
    version: Version = "",
    input: Input = None,
    options: Options = None,
    json: context.Json = False,
) -> None:
    """Add a trigger; its fields with --set, as docs/schedules.md tells them."""
    definition: dict[str, Any] = {"type": kind, **fields_of(fields)}
    for field, value in (("input", object_of(input, "--input")), ("options", object_of(options, "--options"))):
        if value is not None:
            definition[field] = value
    made = called(opened_triggers, lambda opened: opened.create(name, workflow, definition, version=version))
    told(trigger_data(made), f"{made.name} is added", json)


@triggers.command("show")
def show_trigger(name: Name, json: context.Json = False) -> None:
    """What one is."""
    data = trigger_data(called(opened_triggers, lambda opened: opened.get(name)))
    render.write_json(data) if json else render.value(data)


@triggers.command("enable")
def enable_trigger(name: Name) -> None:
    """Let one listen from now on."""
    called(opened_triggers, lambda opened: opened.enable(name))
    render.note(f"{name} is enabled")


@triggers.command("disable")
def disable_trigger(name: Name) -> None:
    """Let one listen no more."""
    called(opened_triggers, lambda opened: opened.disable(name))
    render.note(f"{name} is disabled")


@triggers.command("remove")
def remove_trigger(name: Name) -> None:
    """Delete one."""
    called(opened_triggers, lambda opened: opened.delete(name))
    render.note(f"{name} is removed")


@triggers.command("firings")
def trigger_firings(name: Name, limit: context.Limit = 20, json: context.Json = False) -> None:
    """What became of its events, the latest first."""
    show_firings(called(opened_triggers, lambda opened: opened.firings(name, limit)).items, json)


@triggers.command("deliver")
def deliver(
    name: Name,
    body: Annotated[str, typer.Option("--body", help="The body, as it was signed.")] = "{}",
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="A header.")
    ] = None,
    json: context.Json = False,
) -> None:
    """Hand a webhook a request by hand."""
    headers = dict(halves(each, ":", "--header") for each in header or [])
    firing = called(opened_triggers, lambda opened: opened.deliver(name, headers, body.encode()))
    told(firing_data(firing), f"{firing.id} is {firing.outcome}{' (known)' if firing.duplicate else ''}", json)
