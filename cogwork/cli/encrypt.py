"""The command ``encrypt``: seal what is kept under the first key of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cogwork.cli import context, exits, render

if TYPE_CHECKING:
    from cogwork.app import App


def encrypt(
    status: Annotated[bool, typer.Option("--status", help="Only say which keys are used.")] = False,
    json: context.Json = False,
) -> None:
    """Encrypt all that is kept under the first of the encryption_keys; may be broken off, and begun again.

    Exit code 3 where something plain was in use: run it again later.
    """
    app = context.opened()
    try:
        if status:
            _told(app, json)
        else:
            _encrypted(app, json)
    finally:
        app.close()


def _told(app: App, json: bool) -> None:
    app.records()  # Refuses where it is sealed with a key that is not at hand.
    keys = list(app.ring.ids)
    if json:
        render.write_json({"keys": keys})
    elif keys:
        render.say(f"new values are sealed under {keys[0]}; {len(keys)} keys are at hand: {', '.join(keys)}")
    else:
        render.say("nothing is encrypted: there is no key in the setting encryption_keys")


def _encrypted(app: App, json: bool) -> None:
    from cogwork.sealing.encrypting import encrypted

    looked: dict[str, int] = {}
    sealed: dict[str, int] = {}
    left = 0
    for step in encrypted(app):
        if step.part == "still in use":
            left = step.looked
            continue
        looked[step.part] = looked.get(step.part, 0) + step.looked
        sealed[step.part] = sealed.get(step.part, 0) + step.sealed
        if step.sealed and not json:
            render.note(f"{step.part}: {looked[step.part]:,} looked at, {sealed[step.part]:,} sealed")
    _shown(app, sealed, left, json)
    if left:
        raise typer.Exit(exits.RESTS)


def _shown(app: App, sealed: dict[str, int], left: int, json: bool) -> None:
    key = app.ring.ids[0]
    if json:
        render.write_json({"key": key, "sealed": sealed, "left": left})
        return
    render.say(f"{sum(sealed.values()):,} values were sealed; everything is under {key}")
    if left:
        render.note(f"{left:,} values or files were in use, and hold plain text still: run it again")
