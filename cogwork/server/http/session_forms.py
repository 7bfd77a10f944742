"""What is asked and told of sessions, conversations and memory over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from cogwork.server.http.forms import Form, Instant, Line, Name, Object, Tag, View

Mode = Literal["planning", "coding", "information", "debugging", "generic"]
Kind = Literal["factual", "procedural", "episodic", "preference"]
Level = Literal["user", "session", "project"]
Role = Literal["user", "assistant", "system", "tool"]
Ttl = Annotated[float, Field(gt=0, le=316_224_000, description="Seconds; null for one that lasts.")]


class CreateSession(Form):
    """A session to begin."""

    user_id: Name | None = None
    ttl: Ttl | None = None
    preferences: Object = Field(default_factory=dict)
    mode: Mode | None = None
    metadata: Object = Field(default_factory=dict)
    id: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:@-]+$")] | None = None


class UpdateSession(Form):
    """What is changed of a session; of preferences and metadata entry by entry, null takes one away."""

    preferences: Object | None = None
    metadata: Object | None = None
    mode: Mode | None = None
    ttl: Ttl | None = None


class SaveState(Form):
    """What is kept for a session."""

    state: Object
    expected: int | None = Field(None, ge=0, description="The revision that it was made from.")


class StartConversation(Form):
    """A conversation to begin."""

    title: Line = ""
    context: Object = Field(default_factory=dict)
    history_limit: int | None = Field(None, ge=1, le=10_000)


class Context(Form):
    """What is changed of a conversation's context; null takes an entry away."""

    context: Object


class AddMessage(Form):
    """Something that was said."""

    role: Role
    content: str = Field(max_length=1_000_000)
    id: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    execution_id: Name | None = None
    metadata: Object = Field(default_factory=dict)


class AddMessages(Form):
    """What was said, in its order."""

    messages: list[AddMessage] = Field(min_length=1, max_length=1000)


class NewTopic(Form):
    """A topic of a conversation."""

    topic: Name
    switch: bool = Field(False, description="Talk about it from now on.")


class SwitchTopic(Form):
    """What is talked about from now on."""

    topic: Line = Field("", description="The id or name of a topic; empty for none.")


class Remember(Form):
    """Something to remember."""

    content: str = Field(min_length=1, max_length=8000)
    type: Kind = "factual"
    tags: list[Tag] = Field(default_factory=list, max_length=32)
    relevance: float | None = Field(None, ge=0, le=1)
    source: Line = ""
    level: Level | None = None


class ChangeMemory(Form):
    """What is changed of something remembered."""

    content: str | None = Field(None, min_length=1, max_length=8000)
    type: Kind | None = None
    tags: list[Tag] | None = Field(None, max_length=32)
    relevance: float | None = Field(None, ge=0, le=1)
    source: Line | None = None


class SessionView(View):
    """A session."""

    id: str
    user_id: str | None
    status: Literal["active", "ended", "expired"]
    mode: str | None
    ttl: float | None
    expires_at: Instant | None
    preferences: dict[str, Any]
    metadata: dict[str, Any]
    created_at: Instant
    ended_at: Instant | None
    state_revision: int


class Sessions(View):
    """A page of sessions."""

    sessions: list[SessionView]
    cursor: str | None = None


class StateView(View):
    """What is kept for a session."""

    state: dict[str, Any]
    revision: int


class Revision(View):
    """The number of times that the state was saved."""

    revision: int


class SessionFigures(View):
    """What happened in a session."""

    conversations: int
    messages: int
    executions: int
    seconds: float


class ConversationView(View):
    """A conversation."""

    id: str
    session_id: str
    title: str
    topic_id: str | None
    context: dict[str, Any]
    created_at: Instant
    ended_at: Instant | None


class Conversations(View):
    """A page of conversations."""

    conversations: list[ConversationView]
    cursor: str | None = None


class MessageView(View):
    """A message."""

    id: str
    conversation_id: str
    number: int
    role: Role
    content: str
    at: Instant


class Messages(View):
    """Messages, the oldest first; `before` asks for those before them."""

    messages: list[MessageView]
    before: int | None = None


class TopicView(View):
    """A topic."""

    id: str
    conversation_id: str
    topic: str
    created_at: Instant


class Topics(View):
    """The topics of a conversation, and the one that is talked about."""

    topics: list[TopicView]
    active: TopicView | None


class MemoryView(View):
    """Something remembered."""

    id: str
    level: Level
    type: Kind
    content: str
    tags: list[str]
    relevance: float
    created_at: Instant
    updated_at: Instant


class Memories(View):
    """What is remembered."""

    memories: list[MemoryView]


class Cleared(View):
    """How much is forgotten."""

    forgotten: int
