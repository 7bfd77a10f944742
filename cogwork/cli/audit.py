"""The command ``audit``: who did what, whether the log is as it was written, and the log as a file."""

from __future__ import annotations

import asyncio
import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cogwork.cli import context, exits, render

if TYPE_CHECKING:
    from cogwork.identity.chain import Entry, Followed, Mark

_HEADS: Final = ("#", "WHEN (UTC)", "WHO", "ROLE", "WHAT", "OUTCOME", "TARGET", "DOOR", "ABOUT")
_STYLES: Final = {"done": "green", "denied": "bold red", "begun": "dim"}


def audit(
    who: Annotated[str | None, typer.Option("--by", help="Name or id of who did it.", show_default=False)] = None,
    verb: Annotated[str | None, typer.Option(help="Such as executions.start.", show_default=False)] = None,
    outcome: Annotated[
        str | None, typer.Option(help="begun, done, denied, cancelled, failed, or a code.", show_default=False)
    ] = None,
    target: Annotated[str | None, typer.Option(help="What it was done to.", show_default=False)] = None,
    since: Annotated[str | None, typer.Option(help="At this instant (ISO 8601) or later.", show_default=False)] = None,
    until: Annotated[str | None, typer.Option(help="Before this instant.", show_default=False)] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.", show_default=False)] = None,
    limit: context.Limit = 20,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write the log to a new file as JSON Lines.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Whether the log is as it was written.")] = False,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="With --verify: an exported file instead.")
    ] = None,
    mark: Annotated[
        str | None, typer.Option("--mark", help="Begin after a mark that was kept: NUMBER:DIGEST.", show_default=False)
    ] = None,
    json: context.Json = False,
) -> None:
    """The audit log, the latest entry first; or with --verify or --export all of it, the oldest first."""
    if export is not None:
        _export(export, _mark(mark), json)
    elif verify or file is not None:
        _verify(file, _mark(mark), json)
    else:
        wanted = {"principal": who, "verb": verb, "outcome": outcome, "target": target, "cursor": cursor}
        _list({**wanted, "since": _instant(since), "until": _instant(until), "limit": min(limit, 1000)}, json)


def _list(wanted: dict[str, Any], json: bool) -> None:
    page = _called(lambda log: log.entries(**wanted))
    if json:
        render.write_json({"entries": [each.to_dict() for each in page], "cursor": page.cursor})
        return
    if not page.items:
        render.note(("nobody has done such a thing through the doors, or with cogwork token", "dim"))
        return
    render.columns([_row(each) for each in page], _HEADS)
    if page.cursor is not None:
        render.note(("more: --cursor ", "dim"), page.cursor)


def _row(each: Entry) -> list[str | tuple[str, str]]:
    user = each.details.get("user")
    who = f"{each.principal_name} ({user})" if isinstance(user, str) else each.principal_name
    style = _STYLES.get(each.outcome, "yellow")
    at = f"{each.at:%Y-%m-%d %H:%M:%S}"
    about = ", ".join(f"{name}: {_short(value)}" for name, value in each.details.items() if name != "user")
    what: list[str | tuple[str, str]] = [each.verb, (each.outcome, style), each.target, each.door, (about, "dim")]
    return [str(each.seq), at, (who, "cyan"), each.role, *what]


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json_module.dumps(value, ensure_ascii=False)


def _verify(file: Path | None, begin: Mark | None, json: bool) -> None:
    from cogwork.identity.exporting import follow_file

    found = follow_file(file, begin) if file is not None else _called(lambda log: log.verify_chain(begin))
    if json:
        broken = {"seq": found.broken.seq, "why": found.broken.why} if found.broken is not None else None
        render.write_json({"entries": found.entries, "mark": str(found.last), "broken": broken})
    else:
        _told(found)
    raise typer.Exit(exits.DONE if found.broken is None else exits.FAILED)


def _told(found: Followed) -> None:
    if found.broken is not None:
        render.say(("✗ ", "bold red"), f"entry {found.broken.seq} is not as it was written: {found.broken.why}")
        render.say(f"  the {found.entries} entries looked at before it are")
        return
    render.say(("✓ ", "green"), f"{found.entries} entries, all as they were written")
    render.say("  mark ", (str(found.last), "cyan"))
    render.note(
        (
            "  Keep the mark elsewhere: cogwork audit --verify --mark … proves later that all before it is unchanged.",
            "dim",
        )
    )


def _export(path: Path, begin: Mark | None, json: bool) -> None:
    last = _called(lambda log: log.export(path, begin.seq if begin is not None else 0))
    if json:
        render.write_json({"file": str(path), "mark": str(last) if last is not None else None})
    elif last is None:
        render.say(f"{path} is empty: there is no entry", " after the mark" if begin is not None else "")
    else:
        render.say(("✓ ", "green"), f"{path} ends with entry {last.seq}")
        render.say("  mark ", (str(last), "cyan"))


def _mark(text: str | None) -> Mark | None:
    from cogwork.identity.chain import Mark

    try:
        return Mark.read(text) if text is not None else None
    except ValueError as err:
        raise exits.Refusal(f"--mark {err}", "cogwork audit --verify shows the mark of the last entry") from err


def _instant(text: str | None) -> Any:
    from datetime import datetime

    from cogwork.executions.listing import aware

    try:
        return aware(datetime.fromisoformat(text)) if text is not None else None
    except ValueError as err:
        raise exits.Refusal(f"{text!r} is no instant", "write ISO 8601, such as 2027-01-31T08:00+00:00") from err


def _called(call: Any) -> Any:
    from cogwork.cli.auditing import opened_audit

    async def called() -> Any:
        async with opened_audit() as (_, log):
            return await _awaited(call(log))

    return asyncio.run(called())


async def _awaited(call: Any) -> Any:
    return await call
