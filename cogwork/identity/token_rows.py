"""A token as it is known, and what may be said of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from cogwork.errors import EngineError
from cogwork.identity.roles import ROLES, Principal, Role
from state.values import Json

LONGEST_SECONDS: Final = 100 * 366 * 86400.0
METADATA_CHARACTERS: Final = 4096
State: TypeAlias = Literal["valid", "expired", "revoked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What is known of a token; never its secret."""

    id: str
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    earlier_until: datetime | None = None
    """Until when the secret before the last rotation holds."""
    metadata: Mapping[str, str]

    def state(self, now: datetime) -> State:
        """What a caller who shows it would find."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and now >= self.expires_at else "valid"

    def principal(self, until: datetime | None = None) -> Principal:
        """Who shows it; ``until`` is when what was shown ends, where that is before the token does."""
        ends = [each for each in (self.expires_at, until) if each is not None]
        return Principal(
            id=self.id,
            name=self.name,
            role=self.role,
            via="token",
            expires_at=min(ends, default=None),
            metadata=self.metadata,
        )

    def to_dict(self, now: datetime) -> dict[str, Json]:
        """The token as plain JSON."""
        told: dict[str, Json] = {"id": self.id, "name": self.name, "role": self.role, "state": self.state(now)}
        for name in ("created_at", "expires_at", "revoked_at", "last_used_at", "earlier_until"):
            at: datetime | None = getattr(self, name)
            told[name] = at.isoformat() if at is not None else None
        return {**told, "metadata": dict(self.metadata)}


def token_of(row: Mapping[str, Any]) -> Token:
    """The token of a row."""
    ends = {name: row.get(name) for name in ("expires_at", "revoked_at", "last_used_at", "earlier_until")}
    metadata = dict(row["metadata"])
    return Token(
        id=row["id"], name=row["name"], role=row["role"], created_at=row["created_at"], metadata=metadata, **ends
    )


def checked_name(name: str) -> str:
    """The name without space around it.

    Raises:
        EngineError: ``invalid_input``; it is empty, too long, or holds what cannot be shown.
    """
    plain = name.strip()
    if not 1 <= len(plain) <= 255 or not plain.isprintable():
        raise EngineError("invalid_input", "A token's name has 1 to 255 characters that can be shown", name=name[:300])
    return plain


def checked_role(role: str) -> Role:
    """The role.

    Raises:
        EngineError: ``invalid_input``; there is none of that name.
    """
    for each in ROLES:
        if each == role:
            return each
    raise EngineError("invalid_input", f"There is no role {role[:80]!r}: there are {', '.join(ROLES)}", role=role[:80])


def checked_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Texts by name.

    Raises:
        EngineError: ``invalid_input``; it is something else, or too much.
    """
    if not all(isinstance(part, str) for pair in metadata.items() for part in pair):
        raise EngineError("invalid_input", "The metadata of a token are texts by name")
    if sum(len(name) + len(value) for name, value in metadata.items()) > METADATA_CHARACTERS:
        raise EngineError("invalid_input", f"The metadata of a token have at most {METADATA_CHARACTERS} characters")
    return dict(metadata)


def end_after(at: datetime, seconds: float | None) -> datetime | None:
    """The instant so many seconds later; None for never.

    Raises:
        EngineError: ``invalid_input``; it is no time of more than zero and at most 100 years.
    """
    if seconds is None:
        return None
    if not 0 < seconds <= LONGEST_SECONDS:
        raise EngineError("invalid_input", "A token expires after more than 0 seconds, and at most 100 years")
    return at + timedelta(seconds=seconds)
