"""The commands ``schedules``: the times at which workflows are started, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

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
    object_of,
    schedule_data,
    show_firings,
    shown,
    state,
    told,
)

if TYPE_CHECKING:
    from cogwork.schedules.rows import ScheduleRecord
    from cogwork.schedules.store import Schedules

schedules = typer.Typer(name="schedules", help="The times at which workflows are started.", no_args_is_help=True)


@contextmanager
def opened_schedules() -> Iterator[Schedules]:
    """The schedules of the settings; what they fire is left to the workers."""
    from cogwork.records.database import opened
    from cogwork.schedules.store import Schedules

    app = context.opened()
    with opened(app.settings.state_dir / "records.sqlite", app.settings.database_url, ring=app.ring) as records:
        yield Schedules(records)


@schedules.command("list")
def list_schedules(
    workflow: Annotated[str | None, typer.Option("--workflow", "-w", help="Only those of this workflow.")] = None,
    limit: context.Limit = 50,
    json: context.Json = False,
) -> None:
    """The schedules, the latest first."""
    found = called(opened_schedules, lambda opened: opened.list(workflow=workflow, limit=limit))
    if json:
        render.write_json([schedule_data(each) for each in found])
    elif not found.items:
        render.say("there is no schedule; add one with: cogwork schedules add NAME WORKFLOW --cron '0 2 * * *'")
    else:
        render.columns(
            [
                [(each.name, "cyan"), each.workflow, _when(each), shown(each.next_at), state(each), each.source]
                for each in found
            ],
            ("SCHEDULE", "WORKFLOW", "WHEN", "NEXT", "STATE", "SOURCE"),
        )


@schedules.command("add")
def add_schedule(
    name: Name,
    workflow: Workflow,
    cron: Annotated[str | None, typer.Option("--cron", help="Such as '0 2 * * 1-5' or @daily.")] = None,
    every: Annotated[str | None, typer.Option("--every", help="Such as 30m or 1h30m.")] = None,
    timezone: Annotated[str, typer.Option("--timezone", "-z", help="Such as Europe/Berlin.")] = "UTC",
    fields: Fields = None,
    version: Version = "",
    input: Input = None,
    options: Options = None,
    json: context.Json = False,
) -> None:
    """Add a schedule; catch_up, overlap, start, end and the others with --set."""
    given = {"cron": cron, "every": every, "timezone": timezone, **fields_of(fields)}
    definition = {field: value for field, value in given.items() if value is not None}
    asked = {"version": version, "input": object_of(input, "--input"), "options": object_of(options, "--options")}
    made = called(opened_schedules, lambda opened: opened.create(name, workflow, definition, **asked))
    told(schedule_data(made), f"{made.name} fires next at {shown(made.next_at)}", json)


@schedules.command("show")
def show_schedule(name: Name, json: context.Json = False) -> None:
    """What one is, and when it fires next."""
    data = schedule_data(called(opened_schedules, lambda opened: opened.get(name)))
    data["upcoming"] = [shown(at) for at in called(opened_schedules, lambda opened: opened.upcoming(name))]
    render.write_json(data) if json else render.value(data)


@schedules.command("upcoming")
def upcoming(name: Name, limit: context.Limit = 10, json: context.Json = False) -> None:
    """When one fires next."""
    found = called(opened_schedules, lambda opened: opened.upcoming(name, limit))
    if json:
        render.write_json([shown(at) for at in found])
        return
    for at in found:
        render.say(shown(at))


@schedules.command("enable")
def enable_schedule(name: Name) -> None:
    """Let one fire from now on."""
    called(opened_schedules, lambda opened: opened.enable(name))
    render.note(f"{name} is enabled")


@schedules.command("disable")
def disable_schedule(name: Name) -> None:
    """Let one fire no more."""
    called(opened_schedules, lambda opened: opened.disable(name))
    render.note(f"{name} is disabled")


@schedules.command("remove")
def remove_schedule(name: Name) -> None:
    """Delete one."""
    called(opened_schedules, lambda opened: opened.delete(name))
    render.note(f"{name} is removed")


@schedules.command("firings")
def schedule_firings(name: Name, limit: context.Limit = 20, json: context.Json = False) -> None:
    """What became of its firings, the latest first."""
    show_firings(called(opened_schedules, lambda opened: opened.firings(name, limit)).items, json)


@schedules.command("run")
def run_schedule(name: Name, json: context.Json = False) -> None:
    """Have one fired once, by the next worker."""
    firing = called(opened_schedules, lambda opened: opened.run_now(name))
    told(firing_data(firing), f"{firing.id} is {firing.outcome}", json)


def _when(each: ScheduleRecord) -> str:
    definition = each.definition
    return (
        f"{definition.cron} {definition.timezone}" if definition.cron is not None else f"every {definition.every:g} s"
    )
