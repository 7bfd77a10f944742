"""Tokens and roles for the graphs that a LangGraph server serves, beside the doors of cogwork."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any, Final, Protocol

from langgraph_sdk import Auth

from cogwork.errors import EngineError, Unauthenticated
from cogwork.identity.audit import Audit
from cogwork.identity.deeds import BEGUN
from cogwork.identity.roles import CHANGING, LEAST, LOCAL, ROLES, Principal, Verb
from cogwork.identity.tokens import Tokens
from cogwork.records import Records

DOOR: Final = "langgraph"
VERBS: Final[Mapping[tuple[str, str], Verb]] = {
    ("threads", "read"): "executions.read",
    ("threads", "search"): "executions.read",
    ("threads", "create"): "executions.start",
    ("threads", "create_run"): "executions.start",
    ("threads", "update"): "executions.move",
    ("threads", "delete"): "executions.clean",
    ("assistants", "read"): "workflows.read",
    ("assistants", "search"): "workflows.read",
    ("assistants", "create"): "workflows.write",
    ("assistants", "update"): "workflows.write",
    ("assistants", "delete"): "workflows.delete",
    ("crons", "read"): "schedules.read",
    ("crons", "search"): "schedules.read",
    ("crons", "create"): "schedules.write",
    ("crons", "update"): "schedules.write",
    ("crons", "delete"): "schedules.write",
    ("store", "get"): "sessions.read",
    ("store", "search"): "sessions.read",
    ("store", "list_namespaces"): "sessions.read",
    ("store", "put"): "sessions.write",
    ("store", "delete"): "sessions.write",
}
"""What each action of the server is among our verbs; one that is not here takes the role admin."""
UNKNOWN: Final[Verb] = "tokens.write"
_PEERS: Final = ("/a2a/", "/mcp")
"""Where the server starts runs in the name of nobody, so that no action of it asks for the role."""
_NAMED: Final = ("run_id", "thread_id", "assistant_id", "cron_id", "graph_id", "namespace")


class House(Protocol):
    """What the guard needs of cogwork as it is wired."""

    def records(self) -> Records:
        """The records, opened once."""


class Guard:
    """Who calls the server, and whether the role suffices; open without tokens where it is not ``on``."""

    def __init__(self, house: House, *, on: bool) -> None:
        self._house, self._on = house, on
        self._opened: tuple[Tokens, Audit] | None = None

    async def user(self, path: str, method: str, headers: Mapping[bytes, bytes]) -> dict[str, Any]:
        """The user of a request.

        Raises:
            HTTPException: 401 without a valid token, 403 where the role does not suffice for the path.
        """
        principal = await self._principal(headers) if self._on else LOCAL
        if method not in ("GET", "HEAD") and any(peer in path for peer in _PEERS):
            await self._allow(principal, "executions.start", path, "peers.call")
        return {
            "identity": principal.id,
            "display_name": principal.name,
            "is_authenticated": True,
            "permissions": [verb for verb in LEAST if principal.may(verb)],
            "role": principal.role,
            "via": principal.via,
        }

    async def allow(self, ctx: Auth.types.AuthContext, value: Any) -> None:
        """Let an action of the server happen, and write it down first where it changes something.

        Raises:
            HTTPException: 403 where the role does not suffice, 503 where it cannot be written down.
        """
        if not self._on:
            return
        verb = VERBS.get((ctx.resource, ctx.action), UNKNOWN)
        await self._allow(_principal_of(ctx.user), verb, _target(value), f"{ctx.resource}.{ctx.action}")

    async def _principal(self, headers: Mapping[bytes, bytes]) -> Principal:
        try:
            tokens, _ = await self._parts()
            return await tokens.verify(shown(headers))
        except Unauthenticated as err:
            challenge = {"WWW-Authenticate": "Bearer"}
            raise Auth.exceptions.HTTPException(status_code=401, detail=err.message, headers=challenge) from err
        except EngineError as err:
            raise _unavailable() from err

    async def _allow(self, principal: Principal, verb: Verb, target: str, action: str) -> None:
        if not self._on:
            return
        may = principal.may(verb)
        if verb in CHANGING or not may:
            try:
                _, audit = await self._parts()
                await audit.note(
                    principal,
                    verb,
                    target,
                    outcome=BEGUN if may else "denied",
                    door=DOOR,
                    request_id=f"req-{secrets.token_hex(6)}",
                    details={"action": action},
                )
            except EngineError as err:
                raise _unavailable() from err
        if not may:
            detail = f"{principal.name} is {principal.role}, and {action} takes the role {LEAST[verb]}"
            raise Auth.exceptions.HTTPException(status_code=403, detail=detail)

    async def _parts(self) -> tuple[Tokens, Audit]:
        if self._opened is None:
            records = await asyncio.to_thread(self._house.records)
            self._opened = self._opened or (Tokens(records), Audit(records))
        return self._opened


def auth_of(house: House, *, on: bool) -> Auth:
    """The object that ``langgraph.json`` names under ``auth.path``."""
    auth, guard = Auth(), Guard(house, on=on)

    @auth.authenticate
    async def authenticate(path: str, method: str, headers: dict[bytes, bytes]) -> dict[str, Any]:
        return await guard.user(path, method, headers)

    @auth.on
    async def authorise(ctx: Auth.types.AuthContext, value: Any) -> None:
        await guard.allow(ctx, value)

    return auth


def shown(headers: Mapping[bytes, bytes]) -> str:
    """The token of a request: ``Authorization: Bearer``, or ``x-api-key``, which is what LangGraph's clients send."""
    scheme, _, text = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        return text.strip()
    return headers.get(b"x-api-key", b"").decode("latin-1").strip()


def _principal_of(user: Any) -> Principal:
    """Who was authenticated; somebody whom another way of authentication let in has no role here, and is the least."""
    try:
        role, via = user["role"], user["via"]
    except (KeyError, TypeError, AttributeError):
        role, via = ROLES[0], "unknown"
    name = str(getattr(user, "display_name", "") or user.identity)
    return Principal(id=str(user.identity), name=name, role=role if role in ROLES else ROLES[0], via=str(via))


def _target(value: Any) -> str:
    if not isinstance(value, Mapping):
        return ""
    return ", ".join(f"{name} {value[name]}" for name in _NAMED if value.get(name))


def _unavailable() -> Exception:
    return Auth.exceptions.HTTPException(
        status_code=503, detail="Who calls cannot be looked up or written down just now"
    )
