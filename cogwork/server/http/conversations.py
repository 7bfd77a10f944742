"""Conversations over HTTP: messages, topics, context."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from cogwork.server.http.forms import ONE_LINE, Caller, Cursor, Limit, Text, errors, located, named, shown
from cogwork.server.http.session_forms import (
    AddMessages,
    Context,
    Conversations,
    ConversationView,
    Messages,
    NewTopic,
    StartConversation,
    SwitchTopic,
    Topics,
    TopicView,
)
from cogwork.server.http.sessions import Id as SessionId
from cogwork.workflow_engine import WorkflowEngine

of_session = APIRouter(prefix="/sessions/{session}", tags=["conversations"])
router = APIRouter(prefix="/conversations", tags=["conversations"])
Id = Annotated[str, named("conversation's id")]


@of_session.get("/conversations", response_model=Conversations, responses=errors())
async def list_conversations(acting: Caller, session: SessionId, limit: Limit = 50, cursor: Cursor = None) -> Any:
    """A page of a session's conversations, the newest first."""

    async def read(engine: WorkflowEngine) -> Any:
        await engine.sessions.find(session)
        page = await engine.conversations.list(session, limit=limit, cursor=cursor)
        return shown(page.items, "conversations", page.cursor)

    return await acting.perform("sessions.read", session, read)


@of_session.post("/conversations", status_code=201, response_model=ConversationView, responses=errors())
async def start_conversation(
    acting: Caller, session: SessionId, body: StartConversation, response: Response, request: Request
) -> Any:
    """Begin a conversation in an active session."""

    async def start(engine: WorkflowEngine) -> Any:
        return (await engine.conversations.start(session, **body.model_dump())).to_dict()

    told = await acting.perform("sessions.write", session, start)
    response.headers["Location"] = located(request, "get_conversation", told["id"])
    return told


@of_session.get("/messages", response_model=Messages, responses=errors())
async def search_messages(
    acting: Caller,
    session: SessionId,
    words: Annotated[str, Query(min_length=1, max_length=500, pattern=ONE_LINE)],
    limit: Limit = 20,
) -> Any:
    """The session's messages that have all the words, the latest first."""

    async def search(engine: WorkflowEngine) -> Any:
        await engine.sessions.find(session)
        found = await engine.conversations.search(session, words, limit=limit)
        return {"messages": [each.to_dict() for each in found], "before": None}

    return await acting.perform("sessions.read", session, search)


@router.get("/{conversation}", response_model=ConversationView, responses=errors())
async def get_conversation(acting: Caller, conversation: Id) -> Any:
    """A conversation, with its context."""

    async def read(engine: WorkflowEngine) -> Any:
        return (await engine.conversations.get(conversation)).to_dict()

    return await acting.perform("sessions.read", conversation, read)


@router.patch("/{conversation}/context", response_model=ConversationView, responses=errors())
async def update_context(acting: Caller, conversation: Id, body: Context) -> Any:
    """Change what is kept beside the messages."""

    async def update(engine: WorkflowEngine) -> Any:
        await engine.conversations.update_context(conversation, body.context)
        return (await engine.conversations.get(conversation)).to_dict()

    return await acting.perform("sessions.write", conversation, update)


@router.post("/{conversation}/end", response_model=ConversationView, responses=errors())
async def end_conversation(acting: Caller, conversation: Id) -> Any:
    """End a conversation: it is kept, and nothing is added any more."""

    async def end(engine: WorkflowEngine) -> Any:
        return (await engine.conversations.end(conversation)).to_dict()

    return await acting.perform("sessions.write", conversation, end)


@router.get("/{conversation}/messages", response_model=Messages, responses=errors())
async def list_messages(
    acting: Caller,
    conversation: Id,
    topic: Text = None,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    limit: Limit = 50,
) -> Any:
    """The latest messages, the oldest of them first; of one topic with its id or name, empty for none."""

    async def read(engine: WorkflowEngine) -> Any:
        found = await engine.conversations.messages(conversation, limit, topic=topic, before=before)
        return {"messages": [each.to_dict() for each in found.items], "before": found.before}

    return await acting.perform("sessions.read", conversation, read)


@router.post("/{conversation}/messages", status_code=201, response_model=Messages, responses=errors())
async def add_messages(acting: Caller, conversation: Id, body: AddMessages) -> Any:
    """Append messages, in their order; one whose id is there already is not added again."""
    from cogwork.sessions.records import NewMessage

    made = [NewMessage(**each.model_dump()) for each in body.messages]

    async def add(engine: WorkflowEngine) -> Any:
        return {"messages": [each.to_dict() for each in await engine.conversations.add(conversation, *made)]}

    return await acting.perform("sessions.write", conversation, add)


@router.get("/{conversation}/topics", response_model=Topics, responses=errors())
async def list_topics(acting: Caller, conversation: Id) -> Any:
    """The topics, and the one that is talked about."""

    async def read(engine: WorkflowEngine) -> Any:
        topics = await engine.conversations.topics(conversation)
        active = await engine.conversations.active_topic(conversation)
        return {"topics": [each.to_dict() for each in topics], "active": active.to_dict() if active else None}

    return await acting.perform("sessions.read", conversation, read)


@router.post("/{conversation}/topics", status_code=201, response_model=TopicView, responses=errors())
async def new_topic(acting: Caller, conversation: Id, body: NewTopic) -> Any:
    """Make a topic; one that is there by that name is returned."""

    async def make(engine: WorkflowEngine) -> Any:
        return (await engine.conversations.new_topic(conversation, body.topic, switch=body.switch)).to_dict()

    return await acting.perform("sessions.write", conversation, make)


@router.put("/{conversation}/topic", response_model=ConversationView, responses=errors())
async def switch_topic(acting: Caller, conversation: Id, body: SwitchTopic) -> Any:
    """Talk about a topic from now on, or about none."""

    async def switch(engine: WorkflowEngine) -> Any:
        await engine.conversations.switch(conversation, body.topic)
        return (await engine.conversations.get(conversation)).to_dict()

    return await acting.perform("sessions.write", conversation, switch)
