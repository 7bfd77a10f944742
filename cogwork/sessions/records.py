"""What sessions and conversations are, as data, and the limits that hold for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias, get_args

from cogwork.errors import EngineError
from state.values import Json, UnfitValue, normalise

SessionStatus: TypeAlias = Literal["active", "ended", "expired"]
STATUSES: Final[tuple[str, ...]] = get_args(SessionStatus)
Role: TypeAlias = Literal["user", "assistant", "system", "tool"]
ROLES: Final[tuple[str, ...]] = get_args(Role)
MODES: Final = ("planning", "coding", "information", "debugging", "generic")
MAX_NAME: Final = 255
MAX_ID: Final = 64
MAX_STATE_BYTES: Final = 1024 * 1024
MAX_PLAIN_BYTES: Final = 64 * 1024
"""Of preferences, metadata and a conversation's context, each."""
MAX_CONTENT_BYTES: Final = 1024 * 1024
"""Of one message."""
MAX_ADDED: Final = 1_000
"""Messages that are added at once."""
MAX_TTL: Final = 10 * 366 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPolicy:
    """How long sessions last.

    ``ttl`` is in seconds, for sessions that are created without one; None lets them last. With ``sliding`` each use begins it
    anew, else it counts from the creation. Ended and expired sessions are kept for ``retention`` and then deleted with all
    that was said in them; None keeps them for good.
    """

    ttl: float | None = 86_400.0
    sliding: bool = True
    retention: timedelta | None = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One user's time with the engine. ``expires_at`` is None for one that lasts until it is ended."""

    id: str
    user_id: str | None
    status: SessionStatus
    mode: str | None
    ttl: float | None
    expires_at: datetime | None
    preferences: Mapping[str, Json]
    metadata: Mapping[str, Json]
    created_at: datetime
    updated_at: datetime
    active_at: datetime
    ended_at: datetime | None
    state_revision: int

    def to_dict(self) -> dict[str, Json]:
        """As plain JSON."""
        return _told(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedState:
    """What was kept for a session, with its revision: the number of times that it was saved."""

    value: dict[str, Json]
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionMetrics:
    """What happened in a session: ``seconds`` from its creation to its end, or to now; ``working_seconds`` is the sum over its
    executions that have ended."""

    conversations: int
    topics: int
    messages: int
    messages_by_role: Mapping[str, int]
    executions: int
    executions_by_status: Mapping[str, int]
    seconds: float
    idle_seconds: float
    working_seconds: float

    def to_dict(self) -> dict[str, Json]:
        """As plain JSON."""
        return _told(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A thread within a conversation, with messages and a summary of its own."""

    id: str
    conversation_id: str
    topic: str
    created_at: datetime

    def to_dict(self) -> dict[str, Json]:
        """As plain JSON."""
        return _told(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What is said in a session, from a beginning to an end. ``topic_id`` is the topic that is talked about, None outside all."""

    id: str
    session_id: str
    title: str
    topic_id: str | None
    history_limit: int | None
    context: Mapping[str, Json]
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None

    def to_dict(self) -> dict[str, Json]:
        """As plain JSON."""
        return _told(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message to add. One whose ``id`` is there already is not added again."""

    role: Role
    content: str
    id: str | None = None
    execution_id: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What somebody said; ``number`` counts the conversation's messages from 1 without gaps."""

    id: str
    conversation_id: str
    number: int
    topic_id: str | None
    role: Role
    content: str
    at: datetime
    execution_id: str | None
    metadata: Mapping[str, Json]

    def to_dict(self) -> dict[str, Json]:
        """As plain JSON."""
        return _told(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """Some messages of a conversation, the oldest first; ``before`` asks for the ones before them, None where there are none."""

    items: tuple[Message, ...]
    before: int | None = None


# -- what is handed in ---------------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """Text that every database keeps: NUL and halves of characters are shown as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")


def named(value: Any, what: str, *, limit: int = MAX_NAME, empty: bool = False) -> str:
    """A short text on one line.

    Raises:
        EngineError: ``invalid_input``.
    """
    if not isinstance(value, str) or (not empty and not value.strip()) or len(value) > limit:
        raise EngineError("invalid_input", f"The {what} must be a text of 1 to {limit} characters")
    if any(ord(each) < 32 or 0xD800 <= ord(each) <= 0xDFFF for each in value):
        raise EngineError("invalid_input", f"The {what} must be on one line, without control characters")
    return value


def plain(value: Any, what: str, limit: int = MAX_PLAIN_BYTES) -> dict[str, Json]:
    """A bounded object of plain JSON.

    Raises:
        EngineError: ``invalid_input``.
    """
    try:
        made = normalise(value, max_bytes=limit)
    except UnfitValue as err:
        raise EngineError("invalid_input", f"The {what} cannot be kept: {err}") from err
    if not isinstance(made, dict):
        raise EngineError("invalid_input", f"The {what} must be an object, not {type(value).__name__}")
    return made


def chosen_mode(mode: Any) -> str | None:
    """One of the modes, or None.

    Raises:
        EngineError: ``invalid_input``.
    """
    if mode is not None and mode not in MODES:
        raise EngineError("invalid_input", f"There is no mode {str(mode)[:60]!r}: the modes are {', '.join(MODES)}")
    return None if mode is None else str(mode)


def positive(value: Any, what: str, limit: float) -> float:
    """A number above 0.

    Raises:
        EngineError: ``invalid_input``.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= limit:
        raise EngineError("invalid_input", f"The {what} must be a number above 0 and at most {limit:,.0f}")
    return float(value)


def patched(before: Mapping[str, Json], patch: Mapping[str, Json]) -> dict[str, Json]:
    """The entries with those of ``patch`` over them; null takes one away."""
    return {key: value for key, value in {**before, **patch}.items() if value is not None}


def _told(record: Any) -> dict[str, Json]:
    told: dict[str, Json] = {}
    for name in record.__dataclass_fields__:
        value = getattr(record, name)
        told[name] = value.isoformat() if isinstance(value, datetime) else value
    return told
