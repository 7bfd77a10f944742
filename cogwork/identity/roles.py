"""Roles, and what each verb of the doors asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TypeAlias, get_args

from cogwork.errors import EngineError

Role: TypeAlias = Literal["viewer", "operator", "author", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
"""From the least to the most: each may do what those before it may."""

Verb: TypeAlias = Literal[
    "workflows.read",
    "workflows.write",
    "workflows.delete",
    "executions.read",
    "executions.start",
    "executions.answer",
    "executions.move",
    "executions.clean",
    "agents.read",
    "agents.write",
    "handoffs.read",
    "handoffs.write",
    "sessions.read",
    "sessions.write",
    "schedules.read",
    "schedules.write",
    "metrics.read",
    "tools.read",
    "audit.read",
    "tokens.write",
]
LEAST: Final[Mapping[Verb, Role]] = {
    "workflows.read": "viewer",
    "workflows.write": "author",
    "workflows.delete": "author",
    "executions.read": "viewer",
    "executions.start": "operator",
    "executions.answer": "operator",
    "executions.move": "operator",
    "executions.clean": "admin",
    "agents.read": "viewer",
    "agents.write": "author",
    "handoffs.read": "viewer",
    "handoffs.write": "operator",
    "sessions.read": "viewer",
    "sessions.write": "operator",
    "schedules.read": "viewer",
    "schedules.write": "author",
    "metrics.read": "viewer",
    "tools.read": "viewer",
    "audit.read": "admin",
    "tokens.write": "admin",
}
"""The least role that may do what the verb says."""
CHANGING: Final[frozenset[Verb]] = frozenset(verb for verb in LEAST if not verb.endswith(".read"))
"""The verbs that change something; each use of one is in the audit log, and each refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls: ``id`` is that of the token, certificate or person, ``name`` what people call it."""

    id: str
    name: str
    role: Role
    via: str = "local"
    expires_at: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def may(self, verb: Verb) -> bool:
        """Whether the role suffices."""
        return ROLES.index(self.role) >= ROLES.index(LEAST[verb])

    def require(self, verb: Verb) -> None:
        """Go on only where the role suffices.

        Raises:
            EngineError: ``permission_denied``, with the role that it takes.
        """
        if not self.may(verb):
            raise EngineError(
                "permission_denied",
                f"{self.name} is {self.role}, and {verb} takes the role {LEAST[verb]}",
                verb=verb,
                role=self.role,
                required=LEAST[verb],
            )


LOCAL: Final = Principal(id="local", name="local", role="admin")
"""Who works on this machine without a token: the command line, and MCP over stdio."""
