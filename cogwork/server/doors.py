"""What all doors of a server share: the engine, who may come in, and where it is written down."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cogwork.errors import EngineError
from cogwork.executions.store import utc_now
from cogwork.identity.roles import Principal, Verb
from cogwork.server.acting import Acting, AuditLog
from cogwork.server.feeds import Feeds
from cogwork.server.signing_in import Verify

if TYPE_CHECKING:
    from cogwork.settings import Settings
    from cogwork.workflow_engine import WorkflowEngine

CODE_LIVES = timedelta(minutes=15)


@dataclass(slots=True, kw_only=True)
class Doors:
    """The engine and the guards of one server; open for as long as it serves."""

    engine: WorkflowEngine
    settings: Settings
    verify: Verify
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
async def opened(settings: Settings, engine: WorkflowEngine | None = None) -> AsyncIterator[Doors]:
    """The doors over an engine of these settings; closed, what runs in this process rests and is handed on.

    Raises:
        EngineError: the engine cannot be opened.
    """
    from cogwork.workflow_engine import WorkflowEngine

    own = engine or WorkflowEngine(settings=settings, worker=settings.server.worker)
    async with own:
        feeds = Feeds(own, settings.server.limits.listeners)
        yield Doors(engine=own, settings=settings, verify=_nobody, audit=_Unwritten(), feeds=feeds)


async def _nobody(token: str) -> Principal:
    raise EngineError("unauthenticated", "The token is not valid")


class _Unwritten:
    async def note(self, principal: Principal, verb: Verb, target: str, **about: Any) -> None:
        """Nothing is kept."""


def doors_of(scope: Mapping[str, Any]) -> Doors:
    """The doors of the application that serves a request."""
    found: Doors = scope["app"].state.doors
    return found
