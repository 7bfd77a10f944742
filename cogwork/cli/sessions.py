"""The commands around sessions and memory: ``sessions`` list, show and end; ``memory`` list, search, add and forget."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from cogwork.cli import context, render, talking

if TYPE_CHECKING:
    from cogwork.sessions.entries import Level, Place
    from cogwork.sessions.records import Session

sessions = typer.Typer(name="sessions", no_args_is_help=False, invoke_without_command=True)
memory = typer.Typer(name="memory", no_args_is_help=False, invoke_without_command=True)
SessionName = Annotated[str, typer.Argument(metavar="SESSION", help="Id of a session.", show_default=False)]
Types = Annotated[
    list[str], typer.Option("--type", "-t", default_factory=list, help="Only of that type.", show_default=False)
]
Tags = Annotated[list[str], typer.Option("--tag", default_factory=list, help="Only with that tag.", show_default=False)]
InSession = Annotated[
    str | None, typer.Option("--session", "-s", metavar="ID", help="Of that session too.", show_default=False)
]
InProject = Annotated[str | None, typer.Option(metavar="NAME", help="Of that project too.", show_default=False)]
_STYLES = {"active": "green", "ended": "dim", "expired": "yellow"}


# -- sessions ------------------------------------------------------------------------------------------------------


@sessions.callback(invoke_without_command=True)
def list_sessions(
    ctx: typer.Context,
    user: Annotated[str | None, typer.Option("--user", "-u", help="Only of that user.", show_default=False)] = None,
    status: Annotated[str | None, typer.Option(help="active, ended or expired.", show_default=False)] = None,
    limit: context.Limit = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.", show_default=False)] = None,
    json: context.Json = False,
) -> None:
    """The sessions, the newest first."""
    if ctx.invoked_subcommand is not None:
        return
    with talking.talking(context.opened()) as talk:
        page = asyncio.run(
            talk.sessions.list(user_id=user, status=status, limit=min(limit, 1000), cursor=cursor)  # type: ignore[arg-type]
        )
    if json:
        render.write_json({"sessions": [each.to_dict() for each in page], "cursor": page.cursor})
        return
    if not page.items:
        render.say("no sessions; begin one with: cogwork chat")
        return
    render.columns([_row(each) for each in page], ("SESSION", "STATUS", "USER", "MODE", "LAST USED", "EXPIRES"))
    if page.cursor:
        render.note((f"more with --cursor {page.cursor}", "dim"))


def _row(each: Session) -> list[str | tuple[str, str]]:
    until = f"{each.expires_at:%Y-%m-%d %H:%M}" if each.expires_at is not None else "never"
    used = f"{each.active_at:%Y-%m-%d %H:%M}"
    return [(each.id, "cyan"), (each.status, _STYLES[each.status]), each.user_id or "", each.mode or "", used, until]


@sessions.command()
def show(session: SessionName, limit: context.Limit = 10, json: context.Json = False) -> None:
    """A session with what was counted of it, and the last messages of each of its latest conversations."""
    from cogwork.cli.chat_commands import show_messages

    with talking.talking(context.opened()) as talk:
        found = asyncio.run(talk.sessions.find(session))
        metrics = asyncio.run(talk.sessions.metrics(session))
        latest = asyncio.run(talk.conversations.list(session, limit=5)).items
        said = [asyncio.run(talk.conversations.messages(each.id, min(limit, 1000))).items for each in latest]
    told = {**found.to_dict(), "metrics": metrics.to_dict()}
    if json:
        talks = [
            {**each.to_dict(), "messages": [message.to_dict() for message in messages]}
            for each, messages in zip(latest, said, strict=True)
        ]
        render.write_json({**told, "conversations": talks})
        return
    render.value({name: value for name, value in told.items() if value not in (None, {}, "")})
    for each, messages in zip(latest, said, strict=True):
        render.say()
        render.say(("conversation ", "bold"), each.title or each.id, (" (ended)" if each.ended_at else "", "dim"))
        show_messages(messages)


@sessions.command()
def end(session: SessionName, json: context.Json = False) -> None:
    """End a session and its conversations; what was said is kept for as long as the settings say."""
    with talking.talking(context.opened()) as talk:
        ended = asyncio.run(talk.sessions.end(session))
    render.write_json(ended.to_dict()) if json else render.note(f"{session} has {ended.status}")


# -- memory --------------------------------------------------------------------------------------------------------


@memory.callback(invoke_without_command=True)
def list_memory(
    ctx: typer.Context,
    types: Types,
    tags: Tags,
    user: talking.User = talking.LOCAL_USER,
    session: InSession = None,
    project: InProject = None,
    limit: context.Limit = 50,
    json: context.Json = False,
) -> None:
    """What is remembered of a user, the latest first."""
    from cogwork.cli.chat_commands import show_entries

    if ctx.invoked_subcommand is not None:
        return
    with talking.talking(context.opened()) as talk:
        held = talk.memory(_place(user, session, project))
        found = asyncio.run(held.entries(types=types, tags=tags, limit=min(limit, 200)))  # type: ignore[arg-type]
    render.write_json([each.to_dict() for each in found]) if json else show_entries(found)


@memory.command()
def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What it is about.", show_default=False)],
    types: Types,
    tags: Tags,
    user: talking.User = talking.LOCAL_USER,
    session: InSession = None,
    project: InProject = None,
    limit: context.Limit = 10,
    json: context.Json = False,
) -> None:
    """What of it suits a question best, by words and, with the setting embeddings, by meaning."""
    from cogwork.cli.chat_commands import show_entries

    with talking.talking(context.opened()) as talk:
        held = talk.memory(_place(user, session, project))
        asked = held.search(query, types=types, tags=tags, limit=min(limit, 200), count=False)  # type: ignore[arg-type]
        found = asyncio.run(asked)
    if held.trouble:
        render.note(("note: ", "bold yellow"), f"searched by words alone, as {held.trouble}")
    render.write_json([each.to_dict() for each in found]) if json else show_entries(found)


@memory.command()
def add(
    content: Annotated[str, typer.Argument(metavar="TEXT", help="What is to be remembered.", show_default=False)],
    tags: Tags,
    type: Annotated[str, typer.Option("--type", "-t", help="factual, procedural, episodic or preference.")] = "factual",
    relevance: Annotated[float | None, typer.Option(help="From 0 to 1.", show_default=False)] = None,
    user: talking.User = talking.LOCAL_USER,
    session: InSession = None,
    project: InProject = None,
    json: context.Json = False,
) -> None:
    """Remember something: of a user everywhere, or only in a project or session."""
    from cogwork.sessions.entries import type_of

    level: Level = "session" if session else "project" if project else "user"
    with talking.talking(context.opened()) as talk:
        held = talk.memory(_place(user, session, project))
        added = held.add(
            content, type=type_of(type), tags=tags, relevance=relevance, source="command line", level=level
        )
        entry = asyncio.run(added)
    render.write_json(entry.to_dict()) if json else render.say((entry.id[:8], "cyan"), f"  {entry.content}")


@memory.command()
def forget(
    entry: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the beginning of it.", show_default=False)],
    user: talking.User = talking.LOCAL_USER,
    session: InSession = None,
    project: InProject = None,
) -> None:
    """Forget something for good."""
    from cogwork.cli.chat_commands import named_entry

    async def forgotten(talk: talking.Talking) -> str:
        held = talk.memory(_place(user, session, project))
        found = await named_entry(held, entry)
        await held.forget(found.id)
        return found.content

    with talking.talking(context.opened()) as talk:
        render.note(f"forgotten: {asyncio.run(forgotten(talk))}")


def _place(user: str, session: str | None, project: str | None) -> Place:
    from cogwork.sessions.entries import Place

    return Place(user=user, session=session, project=project)
