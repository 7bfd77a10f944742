"""The command ``instances``: the other instances of the settings, and how they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cogwork.cli import context, render
from cogwork.cli.exits import DONE, FAILED, RESTS

if TYPE_CHECKING:
    from cogwork.remote.instances import Looked
    from state.values import Json


def instances(
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that each has to answer.")] = 5.0,
    json: context.Json = False,
) -> None:
    """Other instances that may run executions, and how they stand; exit code 0 all are ready, 3 some, 1 none."""
    import asyncio

    found = context.opened().instances
    looked = asyncio.run(found.look(seconds=timeout))
    told = [_row(each) for each in looked]
    if json:
        render.write_json({"instances": told})
    elif not told:
        render.note(("no other instances: see docs/remote.md", "dim"))
    else:
        render.columns(
            [_cells(row) for row in told],
            ("INSTANCE", "STATUS", "RUNS", "WAIT", "LABELS", "BREAKER", "ADDRESS", "ABOUT"),
        )
    ready = sum(each.ready for each in looked)
    raise typer.Exit(DONE if ready == len(looked) else RESTS if ready else FAILED)


def _row(looked: Looked) -> dict[str, Json]:
    standing, instance = looked.standing, looked.instance
    status = "unreachable" if standing is None else "ready" if standing.accepting else "draining"
    return {
        "name": instance.name,
        "url": instance.section.url,
        "status": status,
        "labels": list(instance.section.labels),
        "running": standing.running if standing is not None else None,
        "waiting": standing.waiting if standing is not None else None,
        "version": standing.version if standing is not None else None,
        "breaker": instance.breaker.state,
        "trouble": looked.trouble or _unlike(looked),
    }


def _unlike(looked: Looked) -> str:
    """What the settings say of its labels that it does not say itself."""
    known = set(looked.standing.labels) if looked.standing is not None else set[str]()
    missing = sorted(set(looked.instance.section.labels) - known)
    return f"it does not call itself {', '.join(missing)}" if missing else ""


def _cells(row: dict[str, Any]) -> list[str | tuple[str, str]]:
    styles = {"ready": "green", "draining": "yellow", "unreachable": "bold red"}
    return [
        (row["name"], "cyan"),
        (row["status"], styles[row["status"]]),
        "" if row["running"] is None else str(row["running"]),
        "" if row["waiting"] is None else str(row["waiting"]),
        ", ".join(row["labels"]),
        row["breaker"],
        row["url"],
        (row["trouble"][:100], "dim"),
    ]
