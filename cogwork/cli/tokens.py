"""The commands ``token``: make, list, rotate and revoke the tokens that callers of the doors show."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from cogwork.cli import context, render
from cogwork.cli.exits import Refusal

if TYPE_CHECKING:
    from cogwork.identity.token_rows import Token
    from cogwork.identity.tokens import Tokens

T = TypeVar("T")
token = typer.Typer(name="token", help="The tokens that callers over HTTP and MCP show.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="TOKEN", help="Its name or id.", show_default=False)]
_STYLES: Final = {"valid": "green", "expired": "yellow", "revoked": "dim"}


@token.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.", show_default=False)],
    role: Annotated[str, typer.Option("--role", "-r", help="viewer, operator, author or admin.")] = "viewer",
    expires: Annotated[str, typer.Option("--expires", help="After this time, such as 12h or 90d; or never.")] = "90d",
    meta: Annotated[
        list[str] | None, typer.Option("--meta", metavar="KEY=VALUE", help="Told to who looks at it; may be repeated.")
    ] = None,
    json: context.Json = False,
) -> None:
    """Make a token and print it: it is shown this once and kept nowhere."""
    asked: Any = {"expires_in": _seconds(expires, "--expires"), "metadata": _metadata(meta or [])}
    details = {"action": "create", "role": role, "expires": expires}
    text, made = _deed(name, details, lambda tokens: tokens.create(name, role, **asked))  # type: ignore[arg-type]
    _shown_once(text, made, json, f"{made.name} ({made.id}) is {made.role} and {_until(made.expires_at)}")


@token.command("list")
def list_tokens(
    everyone: Annotated[bool, typer.Option("--all", "-a", help="Those too that are revoked or expired.")] = False,
    role: Annotated[str | None, typer.Option("--role", "-r", help="Only those of this role.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.", show_default=False)] = None,
    limit: context.Limit = 50,
    json: context.Json = False,
) -> None:
    """The tokens, the latest first; never their secrets."""
    options: Any = {"role": role, "ended": everyone, "limit": limit, "cursor": cursor}
    page = _called(lambda tokens, _: tokens.list(**options))
    now = datetime.now(UTC)
    if json:
        render.write_json({"tokens": [each.to_dict(now) for each in page], "cursor": page.cursor})
        return
    if not page.items:
        render.say("there is no token; make one with: cogwork token create NAME --role operator")
        return
    render.columns(
        [_row(each, now) for each in page.items], ("NAME", "ROLE", "STATE", "EXPIRES", "LAST USED", "ID", "ABOUT")
    )
    if page.cursor is not None:
        render.note(("more: --cursor ", "dim"), page.cursor)


@token.command("revoke")
def revoke(name: Name, json: context.Json = False) -> None:
    """End a token for good; whoever shows it is refused within five seconds."""
    gone = _deed(name, {"action": "revoke"}, lambda tokens: _of(tokens, name, tokens.revoke))
    if json:
        render.write_json(gone.to_dict(datetime.now(UTC)))
    else:
        render.note(f"{gone.name} ({gone.id}) is revoked")


@token.command("rotate")
def rotate(
    name: Name,
    grace: Annotated[str, typer.Option(help="How long the secret of before still holds; 0 for no longer.")] = "1h",
    expires: Annotated[
        str | None, typer.Option("--expires", help="A new end, such as 90d; else it stays.", show_default=False)
    ] = None,
    json: context.Json = False,
) -> None:
    """Give a token a new secret and print it: it is shown this once."""
    before = 0.0 if grace.strip() in ("0", "0s") else _seconds(grace, "--grace") or 0.0
    end = _seconds(expires, "--expires") if expires is not None else None

    async def rotated(tokens: Tokens) -> tuple[str, Token]:
        return await _of(tokens, name, lambda id: tokens.rotate(id, grace=before, expires_in=end))

    text, made = _deed(name, {"action": "rotate", "grace": grace}, rotated)
    holds = f"; the secret of before holds until {_instant(made.earlier_until)}" if before else ""
    _shown_once(text, made, json, f"{made.name} ({made.id}) has a new secret{holds}")


def _shown_once(text: str, made: Token, json: bool, sentence: str) -> None:
    if json:
        render.write_json({**made.to_dict(datetime.now(UTC)), "token": text})
        return
    render.write(text)
    render.note(("✓ ", "green"), sentence)
    render.note(("  Keep it now: it is not shown again.", "bold"))


def _row(each: Token, now: datetime) -> list[str | tuple[str, str]]:
    state = each.state(now)
    about = ", ".join(f"{name}={value}" for name, value in each.metadata.items())
    used = _instant(each.last_used_at) if each.last_used_at is not None else "never"
    expires = _instant(each.expires_at) if each.expires_at is not None else "never"
    return [(each.name, "cyan"), each.role, (state, _STYLES[state]), expires, used, each.id, (about, "dim")]


def _until(at: datetime | None) -> str:
    return f"holds until {_instant(at)}" if at is not None else "holds until it is revoked"


def _instant(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at is not None else ""


def _seconds(text: str, option: str) -> float | None:
    from cogwork.sections import lasting

    try:
        return None if text.strip().lower() == "never" else lasting(text)
    except ValueError as err:
        raise Refusal(f"{option} {text!r} {err}", f"write {option} 90d, or never") from err


def _metadata(given: list[str]) -> dict[str, str]:
    from cogwork.cli.values import pair

    return dict(pair(each, "--meta") for each in given)


async def _of(tokens: Tokens, name: str, do: Callable[[str], Awaitable[T]]) -> T:
    """What a verb does with the token of that name or id."""
    return await do((await tokens.named(name)).id)


def _deed(target: str, details: dict[str, Any], work: Callable[[Tokens], Awaitable[T]]) -> T:
    """What ``work`` comes to, in the audit log as done by whoever is at this machine."""
    from cogwork.cli.auditing import by_local

    return _called(lambda tokens, audit: by_local(audit, "tokens.write", target, details, lambda: work(tokens)))


def _called(call: Callable[[Tokens, Any], Awaitable[T]]) -> T:
    """What a verb returns, over the records of the settings."""
    from cogwork.cli.auditing import opened_audit
    from cogwork.identity.tokens import Tokens

    async def called() -> T:
        async with opened_audit() as (records, audit):
            return await call(Tokens(records), audit)

    return asyncio.run(called())
