"""The commands ``backup`` and ``restore``: all that is kept in one archive, and back again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cogwork.cli import context, exits, render

if TYPE_CHECKING:
    from cogwork.backup.errors import BackupError
    from cogwork.backup.manifest import Manifest

Archive = Annotated[
    Path, typer.Argument(metavar="FILE", help="The archive, such as cogwork.tar.gz.", show_default=False)
]


def backup(
    file: Archive,
    verify: Annotated[bool, typer.Option("--verify", help="Check an archive that is there, and make none.")] = False,
    json: context.Json = False,
) -> None:
    """Put all that is kept into one archive, as of one instant; the engine may be at work meanwhile."""
    from cogwork.backup.archive import checked
    from cogwork.backup.errors import BackupError
    from cogwork.backup.saving import save

    try:
        manifest = checked(file) if verify else save(context.opened().settings, file)
    except BackupError as err:
        raise _refused(err) from err
    if json:
        render.write_json({"file": str(file), **manifest.to_dict()})
        return
    render.say(f"{file} is in order" if verify else f"{file} was written")
    _told(manifest)


def restore(
    file: Archive,
    into: Annotated[
        Path | None, typer.Option("--into", help="The state folder; that of the settings without it.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Let what is there make place; a folder is moved aside.")
    ] = False,
    json: context.Json = False,
) -> None:
    """Put a backup back; nothing is changed unless all of it is in order and fits."""
    from cogwork.backup.errors import BackupError
    from cogwork.backup.restoring import restore as put_back

    settings = context.opened().settings
    try:
        done = put_back(file, into or settings.state_dir, settings.database_url, force=force)
    except BackupError as err:
        raise _refused(err) from err
    if json:
        before = str(done.before) if done.before is not None else None
        render.write_json({"into": str(done.into), "before": before, **done.manifest.to_dict()})
        return
    render.say(f"{file} was restored into {done.into}")
    if done.manifest.database == "postgresql":
        render.say(f"and into the schemas {', '.join(done.manifest.schemas)} of the database")
    if done.before is not None:
        render.say(f"what was there before is in {done.before}")
    _told(done.manifest)
    if done.manifest.keys:
        render.note("the setting encryption_keys must give the keys before anything is opened")


def _refused(error: BackupError) -> exits.Refusal:
    from cogwork.backup.errors import Missing, Occupied

    codes = {Occupied: exits.USAGE, Missing: exits.MISSING}
    return exits.Refusal(str(error), code=codes.get(type(error), exits.FAILED))


def _told(manifest: Manifest) -> None:
    rows: list[list[str | tuple[str, str]]] = [
        ["made", (manifest.made_at, "cyan")],
        ["by", f"cogwork {manifest.cogwork}"],
        ["of", f"{manifest.database}, {len(manifest.members)} files, {manifest.size:,} bytes"],
        ["keys needed", ", ".join(manifest.keys) or "none: it is not encrypted"],
    ]
    render.columns(rows)
