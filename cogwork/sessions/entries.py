"""What memory holds: entries of four types, where each belongs, and how much each matters for a question."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias, get_args

from cogwork.errors import EngineError
from cogwork.sessions.records import clean, named
from state.values import Json

EntryType: TypeAlias = Literal["factual", "procedural", "episodic", "preference"]
TYPES: Final[tuple[str, ...]] = get_args(EntryType)
Level: TypeAlias = Literal["user", "session", "project"]
HALF_LIFE: Final[Mapping[str, float]] = {"factual": 180.0, "procedural": 365.0, "preference": 365.0, "episodic": 30.0}
"""Days after which an entry of the type has lost half of its recency."""
MAX_CONTENT: Final = 8_000
"""Characters of one entry."""
MAX_TAGS: Final = 32
MAX_TAG: Final = 64
USUAL_RELEVANCE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing remembered: ``relevance`` is what it was given, from 0 to 1; ``score`` how well it suits a question."""

    id: str
    level: Level
    type: EntryType
    content: str
    tags: tuple[str, ...]
    relevance: float
    source: str
    created_at: datetime
    updated_at: datetime
    uses: int = 0
    used_at: datetime | None = None
    score: float | None = None

    def to_dict(self) -> dict[str, Json]:
        """As plain JSON."""
        return {
            "id": self.id,
            "level": self.level,
            "type": self.type,
            "content": self.content,
            "tags": [*self.tags],
            "relevance": self.relevance,
            "source": self.source,
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
            "uses": self.uses,
            "used_at": self.used_at.isoformat() if self.used_at is not None else None,
            "score": self.score,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Whose memory it is: what a user is remembered by everywhere, within one session, within one project.

    Without a user there is a session's memory only.
    """

    user: str | None = None
    session: str | None = None
    project: str | None = None

    def levels(self) -> tuple[Level, ...]:
        """The levels that there are here."""
        given = {"user": self.user, "session": self.session, "project": self.user and self.project}
        return tuple(level for level in get_args(Level) if given[level])

    def namespace(self, level: Level, head: str = "memory") -> tuple[str, ...]:
        """LangGraph's namespace of a level.

        Raises:
            EngineError: ``invalid_input``; there is no such level here.
        """
        if level not in self.levels():
            has = ", ".join(self.levels()) or "none: name a user or a session"
            raise EngineError("invalid_input", f"There is no memory of the {level!s} here; there is {has}")
        user = f"u-{_label(self.user)}" if self.user else "nobody"
        match level:
            case "user":
                return (head, user, "all")
            case "session":
                return (head, user, "session", f"s-{_label(self.session or '')}")
            case "project":
                return (head, user, "project", f"p-{_label(self.project or '')}")


def _label(name: str) -> str:
    """A name as a label of a namespace, which holds no full stop."""
    return named(name, "name of a memory's owner").replace("%", "%25").replace(".", "%2E")


# -- how much an entry matters -------------------------------------------------------------------------------------


def score(entry: Entry, similarity: float, at: datetime) -> float:
    """From 0 to 1: ``similarity × recency × usage × given``, where

    - ``recency`` falls from 1 towards ½ with the days since the entry was said or changed, by half per ``HALF_LIFE``;
    - ``usage`` rises from 0.8 towards 1 with the times that it was found, halfway after five;
    - ``given`` rises from ½ to 1 with the relevance that it was given.
    """
    days = max(0.0, (at - entry.updated_at).total_seconds() / 86_400)
    recency: float = 0.5 + 0.5 * 0.5 ** (days / HALF_LIFE[entry.type])
    usage = 0.8 + 0.2 * entry.uses / (entry.uses + 5)
    return max(0.0, min(1.0, similarity)) * recency * usage * (0.5 + 0.5 * entry.relevance)


# -- what is handed in, and what is kept ---------------------------------------------------------------------------


def content_of(text: Any) -> str:
    """The content of an entry.

    Raises:
        EngineError: ``invalid_input``.
    """
    if not isinstance(text, str) or not text.strip():
        raise EngineError("invalid_input", "What is to be remembered must be a text")
    if len(text) > MAX_CONTENT:
        raise EngineError(
            "invalid_input",
            f"What is to be remembered has {len(text):,} characters, and at most {MAX_CONTENT:,} are kept: say it shorter",
            characters=len(text),
            limit=MAX_CONTENT,
        )
    return clean(text.strip())


def type_of(value: Any) -> EntryType:
    """One of the types.

    Raises:
        EngineError: ``invalid_input``.
    """
    if value not in TYPES:
        raise EngineError("invalid_input", f"There is no memory of type {str(value)[:60]!r}: it is {', '.join(TYPES)}")
    found: EntryType = value
    return found


def tags_of(values: Iterable[str]) -> tuple[str, ...]:
    """Tags, each once and in order.

    Raises:
        EngineError: ``invalid_input``.
    """
    made = tuple(sorted({named(value, "tag", limit=MAX_TAG).strip().lower() for value in values}))
    if len(made) > MAX_TAGS:
        raise EngineError("invalid_input", f"{len(made)} tags: an entry has at most {MAX_TAGS}")
    return made


def relevance_of(value: Any) -> float:
    """A relevance from 0 to 1.

    Raises:
        EngineError: ``invalid_input``.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise EngineError("invalid_input", f"The relevance is {value!r}: it must be a number from 0 to 1")
    return float(value)


def digest(content: str) -> str:
    """The same for contents that differ in case and spaces only."""
    return sha256(re.sub(r"\s+", " ", content).strip().casefold().encode()).hexdigest()[:32]


def kept(entry: Entry) -> dict[str, Json]:
    """The entry as the store keeps it; its usage is kept beside it, so that counting does not change it."""
    return {
        "type": entry.type,
        "content": entry.content,
        "digest": digest(entry.content),
        "tags": [*entry.tags],
        "relevance": entry.relevance,
        "source": entry.source,
        "created_at": entry.created_at.isoformat(),
        "updated_at": entry.updated_at.isoformat(),
    }


def entry_of(key: str, level: Level, value: Mapping[str, Any], usage: Mapping[str, Any] | None = None) -> Entry | None:
    """The entry that the store kept; None for what is none, as anybody may have written it."""
    try:
        used = usage or {}
        used_at = used.get("at")
        return Entry(
            id=key,
            level=level,
            type=type_of(value["type"]),
            content=content_of(value["content"]),
            tags=tuple(str(tag) for tag in value["tags"]),
            relevance=relevance_of(value["relevance"]),
            source=str(value["source"]),
            created_at=datetime.fromisoformat(value["created_at"]),
            updated_at=datetime.fromisoformat(value["updated_at"]),
            uses=max(0, int(used.get("uses", 0))),
            used_at=datetime.fromisoformat(used_at) if used_at else None,
        )
    except (KeyError, TypeError, ValueError, EngineError):
        return None
