"""What all doors of a server share: the engine, who may come in, and where it is written down."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cogwork.executions.store import utc_now
from cogwork.identity.deeds import Deed
from cogwork.identity.roles import LOCAL, Principal, Role
from cogwork.server.acting import Acting, AuditLog
from cogwork.server.feeds import Feeds
from cogwork.server.signing_in import Verify

if TYPE_CHECKING:
    from cogwork.settings import Settings
    from cogwork.workflow_engine import WorkflowEngine

CODE_LIVES = timedelta(minutes=15)
_FOR, _BROWSER = "for", "a browser"
Issue = Callable[[str, Role, float], Awaitable[str]]
"""A new token for a name, with a role, good for so many seconds."""


@dataclass(slots=True, kw_only=True)
class Doors:
    """The engine and the guards of one server; open for as long as it serves."""

    engine: WorkflowEngine
    settings: Settings
    verify: Verify
    issue: Issue
    forget: Callable[[Principal], Awaitable[None]]
    audit: AuditLog
    feeds: Feeds
    draining: bool = False
    _codes: dict[str, datetime] = field(default_factory=dict)

    def acting(self, principal: Principal, door: str, request_id: str) -> Acting:
        """The engine for one caller of one request."""
        return Acting(engine=self.engine, principal=principal, audit=self.audit, door=door, request_id=request_id)

    def sign_in_code(self) -> str:
        """A word that signs one person in as administrator, once and soon; for whoever has started the server."""
        code = secrets.token_urlsafe(24)
        self._codes[code] = utc_now() + CODE_LIVES
        return code

    def redeemed(self, code: str) -> bool:
        """Whether the word is good; it is no longer then."""
        until = self._codes.pop(code, None)
        return until is not None and utc_now() < until


@asynccontextmanager
async def opened(settings: Settings, engine: WorkflowEngine) -> AsyncIterator[Doors]:
    """The doors over an engine that is not open yet; closed, what runs in this process rests and is handed on.

    Raises:
        EngineError: the engine cannot be opened.
    """
    from cogwork.identity.audit import Audit
    from cogwork.identity.tokens import Tokens

    async with engine:
        records = engine.parts.records
        tokens, audit = Tokens(records), Audit(records, hide=engine.app.secrets.redact)
        feeds = Feeds(engine, settings.server.limits.listeners)

        async def issue(name: str, role: Role, seconds: float) -> str:
            own = f"{name}-{secrets.token_hex(4)}"

            async def made() -> str:
                return (await tokens.create(own, role, expires_in=seconds, metadata={_FOR: _BROWSER}))[0]

            about = {"role": role, "expires_in": seconds}
            return await _deed(LOCAL, own, audit, about).perform(made)

        async def forget(principal: Principal) -> None:
            if principal.metadata.get(_FOR) == _BROWSER:
                await _deed(principal, principal.name, audit, {}).perform(lambda: tokens.revoke(principal.id))

        try:
            yield Doors(
                engine=engine,
                settings=settings,
                verify=tokens.verify,
                issue=issue,
                forget=forget,
                audit=audit,
                feeds=feeds,
            )
        finally:
            audit.close()


def _deed(principal: Principal, target: str, audit: AuditLog, details: Mapping[str, Any]) -> Deed:
    """Signing in or out; whoever does it has shown that it may, so the role is nobody's business."""
    asked = replace(principal, role="admin")
    told = f"req-{secrets.token_hex(6)}"
    return Deed(
        principal=asked, verb="tokens.write", target=target, audit=audit, door="page", request_id=told, details=details
    )


def doors_of(scope: Mapping[str, Any]) -> Doors:
    """The doors of the application that serves a request."""
    found: Doors = scope["app"].state.doors
    return found
