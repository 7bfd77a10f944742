"""Tokens that live as long as the server does: for who has signed in where no other tokens are kept."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import timedelta

from cogwork.errors import EngineError
from cogwork.executions.store import utc_now
from cogwork.identity.roles import Principal, Role


@dataclass(slots=True)
class Issued:
    """The tokens of one process, by their hash."""

    _known: dict[str, Principal] = field(default_factory=dict)

    async def issue(self, name: str, role: Role, seconds: float) -> str:
        """A new token of that role, good for so long."""
        text, until = secrets.token_urlsafe(32), utc_now() + timedelta(seconds=seconds)
        made = Principal(id=f"session-{secrets.token_hex(4)}", name=name, role=role, via="page", expires_at=until)
        self._known[_hash(text)] = made
        return text

    async def verify(self, token: str) -> Principal:
        """Whose token it is.

        Raises:
            EngineError: ``unauthenticated``.
        """
        found = self._known.get(_hash(token))
        if found is None or (found.expires_at is not None and found.expires_at <= utc_now()):
            raise EngineError("unauthenticated", "The token is not valid: sign in again, or ask for a new one")
        return found


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
