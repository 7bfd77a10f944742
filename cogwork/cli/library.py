"""The commands of ``cogwork library``: publishing workflows, their versions and labels, and who uses what."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cogwork.cli import context, exits, render

if TYPE_CHECKING:
    from cogwork.app import App
    from cogwork.library import Library, VersionRecord, WorkflowRecord

library = typer.Typer(
    name="library",
    help="Published workflows: versions that never change, labels that say which one is meant, and who uses what.",
    no_args_is_help=True,
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name or id of a published workflow.", show_default=False)]
Which = Annotated[str, typer.Argument(metavar="NAME[@WHICH]", help="A workflow, perhaps with a version or label.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="A number or a label.", show_default=False)]
Author = Annotated[str, typer.Option("--author", help="Who does this.")]
Note = Annotated[str, typer.Option("--note", "-m", help="Why there is this version.")]


@contextmanager
def opened_library(app: App) -> Iterator[Library]:
    """The library in the records of the settings.

    Raises:
        EngineError: ``database_error``.
    """
    from cogwork.library import Library
    from cogwork.records.database import opened

    chosen = app.settings
    path = chosen.state_dir / "records.sqlite"
    with opened(path, chosen.database_url, synchronous=chosen.synchronous, ring=app.ring) as records:
        yield Library(records, app)


def _done(call: Coroutine[Any, Any, Any]) -> Any:
    import asyncio

    return asyncio.run(call)


@library.command()
def publish(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A workflow's file, or its name.", show_default=False)],
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", help="Let this label stand at the version.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Publish it under this name.")] = None,
    expect: Annotated[int | None, typer.Option("--expect", help="Refuse if this is not the current version.")] = None,
    note: Note = "",
    author: Author = "",
    json: context.Json = False,
) -> None:
    """Publish a workflow as a new version; the first time it is created. Nothing new is no new version."""
    app = context.opened()
    with opened_library(app) as known:
        record = _done(_published(known, app, file, name, expect, label or [], author, note))
    if json:
        render.write_json(record.to_dict())
    else:
        labels = ", ".join(each for each, at in record.labels.items() if at == record.version)
        render.say((record.name, "cyan"), f" is at version {record.version} ({labels})")


async def _published(
    known: Library,
    app: App,
    file: str,
    name: str | None,
    expect: int | None,
    labels: Sequence[str],
    author: str,
    note: str,
) -> WorkflowRecord:
    from cogwork.errors import EngineError

    source = Path(file) if file.endswith((".yaml", ".yml", ".json")) else file
    workflow = app.load(source)
    named = name or workflow.spec.name
    try:
        await known.get(named)
    except EngineError as err:
        if err.code != "workflow_not_found" or expect is not None:
            raise
        record = await known.create(workflow, name=name, author=author, note=note)
    else:
        record = await known.update(named, workflow, expected_version=expect, author=author, note=note)
    for label in labels:
        record = await known.label(record.id, label, record.version, author=author)
    return record


@library.command("list")
def list_(
    tag: Annotated[
        list[str] | None, typer.Option("--tag", "-t", help="Only those with this tag; may be repeated.")
    ] = None,
    status: Annotated[str | None, typer.Option("--status", help="active or archived.")] = None,
    text: Annotated[
        str | None, typer.Option("--text", help="Only those that say this in name, title, description.")
    ] = None,
    limit: context.Limit = 50,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Go on where a list ended.")] = None,
    json: context.Json = False,
) -> None:
    """The published workflows, the latest first."""
    with opened_library(context.opened()) as known:
        page = _done(known.list(tags=tag or [], status=status, text=text, limit=limit, cursor=cursor))
    if json:
        render.write_json({"workflows": [each.to_dict() for each in page], "cursor": page.cursor})
        return
    rows = [
        [(each.name, "cyan"), str(each.version), each.status, ", ".join(each.tags), each.title or each.description]
        for each in page
    ]
    render.columns(rows, ("WORKFLOW", "VERSION", "STATUS", "TAGS", "WHAT IT DOES"))
    if page.cursor:
        render.note((f"more: cogwork library list --cursor {page.cursor}", "dim"))


@library.command()
def versions(
    name: Name,
    moves: Annotated[bool, typer.Option("--moves", help="How the labels moved.")] = False,
    json: context.Json = False,
) -> None:
    """The versions of a workflow, the newest first; with `--moves` how its labels have moved."""
    with opened_library(context.opened()) as known:
        found = _done(known.label_moves(name) if moves else known.versions(name))
    if json:
        render.write_json([each.to_dict() for each in found])
    elif moves:
        rows = [
            [
                str(each.number),
                (each.label, "cyan"),
                f"{each.before or '–'} → {each.after or '–'}",
                _at(each.moved_at),
                each.author,
            ]
            for each in found
        ]
        render.columns(rows, ("MOVE", "LABEL", "VERSION", "WHEN", "WHO"))
    else:
        render.columns([_version_row(each) for each in found], ("VERSION", "LABELS", "DIGEST", "WHEN", "WHO", "NOTE"))


def _version_row(each: VersionRecord) -> list[str | tuple[str, str]]:
    labels = (", ".join(each.labels), "cyan")
    return [str(each.version), labels, (each.digest[:12], "dim"), _at(each.created_at), each.author, each.note]


def _at(when: Any) -> str:
    return f"{when:%Y-%m-%d %H:%M}"


@library.command()
def label(
    name: Name,
    label: Annotated[str, typer.Argument(metavar="LABEL", help="Such as prod.", show_default=False)],
    version: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="A number or another label.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the label away.")] = False,
    author: Author = "",
    json: context.Json = False,
) -> None:
    """Let a label stand at a version (the current one without VERSION), or take it away."""
    with opened_library(context.opened()) as known:
        call = known.unlabel(name, label, author=author) if remove else known.label(name, label, version, author=author)
        _tell(_done(call), json=json)


@library.command()
def rollback(
    name: Name,
    version: Version,
    label: Annotated[str, typer.Option("--label", "-l", help="The label that goes back.")] = "latest",
    author: Author = "",
    json: context.Json = False,
) -> None:
    """Go back to an earlier version; executions that have begun keep theirs."""
    with opened_library(context.opened()) as known:
        _tell(_done(known.rollback(name, version, label=label, author=author)), json=json)


@library.command()
def archive(
    name: Name,
    restore: Annotated[bool, typer.Option("--restore", help="Take it into use again.")] = False,
    json: context.Json = False,
) -> None:
    """Take a workflow out of use, or with `--restore` into use again (a deleted one by its id)."""
    with opened_library(context.opened()) as known:
        _tell(_done(known.restore(name) if restore else known.archive(name)), json=json)


@library.command()
def delete(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Also where it is in use.")] = False,
    json: context.Json = False,
) -> None:
    """Delete a workflow; refused while it has open executions or others use it."""

    async def deleted(known: Library) -> WorkflowRecord:
        record = await known.get(name)
        await known.delete(name, force=force)
        return record

    with opened_library(context.opened()) as known:
        record = _done(deleted(known))
    if json:
        render.write_json({"deleted": record.id, "name": record.name})
    else:
        render.say(
            (record.name, "cyan"), f" is deleted; back again with: cogwork library archive --restore {record.id}"
        )


def _tell(record: WorkflowRecord, *, json: bool) -> None:
    if json:
        render.write_json(record.to_dict())
        return
    labels = ", ".join(f"{label} {at}" for label, at in record.labels.items())
    render.say((record.name, "cyan"), f" ({record.status}): {labels}")


@library.command()
def uses(
    name: Which,
    depth: Annotated[
        int | None, typer.Option("--depth", min=1, help="Only so deep; 1 is what it names itself.")
    ] = None,
    json: context.Json = False,
) -> None:
    """What a workflow uses: workflows, tools, agents, models, prompts and modes."""
    with opened_library(context.opened()) as known:
        found = _done(known.uses(name, depth=depth))
    if json:
        render.write_json([each.to_dict() for each in found])
    else:
        rows: list[list[str | tuple[str, str]]] = [[each.kind, (each.name, "cyan"), str(each.depth)] for each in found]
        render.columns(rows, ("KIND", "NAME", "DEPTH"))


@library.command()
def users(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="workflow, tool, agent, model, prompt or mode.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.", show_default=False)],
    every: Annotated[bool, typer.Option("--all", help="Also versions at which no label stands.")] = False,
    json: context.Json = False,
) -> None:
    """Which workflows use something, themselves or through others."""
    with opened_library(context.opened()) as known:
        found = _done(known.users(kind, name, every_version=every))
    if json:
        render.write_json([each.to_dict() for each in found])
        return
    rows: list[list[str | tuple[str, str]]] = [
        [(each.workflow, "cyan"), str(each.version), ", ".join(each.labels), str(each.depth)] for each in found
    ]
    render.columns(rows, ("WORKFLOW", "VERSION", "LABELS", "DEPTH"))


@library.command()
def compare(
    name: Name,
    a: Annotated[str, typer.Argument(metavar="A", help="The earlier version.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="The later one.")] = "latest",
    json: context.Json = False,
) -> None:
    """What changes for callers between two versions. Exits with 1 if something breaks for them."""
    with opened_library(context.opened()) as known:
        found = _done(known.diff(name, a, b))
    styles = {"breaking": "bold red", "compatible": "yellow", "internal": "dim"}
    if json:
        render.write_json(found.to_dict())
    for each in () if json else found.changes:
        render.say((f"{each.impact:10} ", styles[each.impact]), f"{each.area} ", (each.place, "cyan"), f" {each.told}")
    raise typer.Exit(exits.FAILED if found.impact == "breaking" else exits.DONE)
