"""The command ``chat``: talk to a workflow in a session, which goes on another day."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cogwork.cli import context, exits, render, runs, talking

if TYPE_CHECKING:
    from cogwork.cli.chatting import Chat
    from cogwork.sessions.records import Session

USUAL: Final = "generic"
"""The workflow that is talked to where neither the command, the session nor its mode names one."""


def chat(
    pairs: runs.Pairs,
    workflow: Annotated[
        str | None,
        typer.Argument(
            metavar="[WORKFLOW]", help="Name of a workflow, or a file; that of the mode without it.", show_default=False
        ),
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", "-s", metavar="ID", help="Go on with that session.", show_default=False)
    ] = None,
    field: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The input that holds what you say; its one text without it.", show_default=False
        ),
    ] = None,
    user: talking.User = talking.LOCAL_USER,
    project: Annotated[
        str | None, typer.Option(metavar="NAME", help="The project whose memory counts too.", show_default=False)
    ] = None,
    no_input: Annotated[bool, typer.Option("--no-input", help="Leave what the workflow asks open.")] = False,
    json: context.Json = False,
) -> None:
    """Talk to a workflow: each line is a run that sees what was said before and what is remembered.

    Lines that begin with a slash are commands; /help tells them. Without a terminal every line of standard input is a message.
    """
    from cogwork.cli.chatting import Chat

    app = context.opened()
    with talking.talking(app) as talk, app.checkpoints() as saver:
        held = asyncio.run(_session(talk, session, workflow, user))
        talks = Chat(
            talk=talk,
            saver=saver,
            session=held,
            workflow=workflow or _named(held),
            input=field,
            pairs=tuple(pairs),
            project=project,
            json=json,
            answers=not (no_input or json),
        )
        talks.prepare()
        _loop(talks)


def _loop(talks: Chat) -> None:
    """Line by line until the end of the input, ``/quit``, or Ctrl-C at the prompt."""
    talks.greet()
    while True:
        try:
            said = _said(talks.prompt())
        except KeyboardInterrupt:
            said = None
        if said is None:
            break
        if said.strip() and not talks.hear(said):
            break
    talks.part()


def _said(prompt: str) -> str | None:
    """One message; a line that ends in a backslash goes on in the next."""
    lines: list[str] = []
    while True:
        line = render.line(prompt if not lines else "… ")
        if line is None:
            return "\n".join(lines) if lines else None
        lines.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            return "\n".join(lines)


async def _session(talk: talking.Talking, wanted: str | None, workflow: str | None, user: str) -> Session:
    if wanted is None:
        metadata = {"workflow": workflow} if workflow else {}
        return await talk.sessions.create(user, metadata=metadata, id=f"chat-{secrets.token_hex(4)}")
    found = await talk.sessions.get(wanted)
    if found.user_id not in (None, user) and user != talking.LOCAL_USER:
        raise exits.Refusal(f"Session {wanted} is not {user}'s", "leave out --user", exits.MISSING)
    if workflow and workflow != _named(found):
        return await talk.sessions.update(wanted, metadata={"workflow": workflow})
    return found


def _named(session: Session) -> str | None:
    named = session.metadata.get("workflow")
    return named if isinstance(named, str) else None
