"""An execution in a session: what it is given of the session, and what is kept of it there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from cogwork.sessions.conversations import Conversations
from cogwork.sessions.memory import Memory
from cogwork.sessions.records import MAX_CONTENT_BYTES, Conversation, Message, NewMessage, Session
from cogwork.sessions.sessions import Sessions
from cogwork.sessions.summarising import EXTRACT, Summarise
from cogwork.sessions.window import Count, window
from prompts.tokens import estimated
from state.values import Json

USUAL_TOKENS: Final = 4_000
"""Of a conversation that a run is given, where nothing else is said."""
USUAL_HITS: Final = 5
AT_LEAST: Final = 0.1
"""The score of what is remembered, below which a run is not given it."""
_ANSWERS: Final = ("answer", "response", "reply", "text", "message", "content", "result", "output")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionContext:
    """What a run in a session is called with: ``context``, and the ``mode`` that the session is in."""

    context: dict[str, Json]
    mode: str | None
    session: Session
    conversation: Conversation


async def session_context(
    sessions: Sessions,
    conversations: Conversations,
    session_id: str,
    *,
    conversation_id: str | None = None,
    request: str = "",
    memory: Memory | None = None,
    project: Json = None,
    environment: Json = None,
    tokens: int = USUAL_TOKENS,
    messages: int | None = None,
    hits: int = USUAL_HITS,
    summarise: Summarise = EXTRACT,
    count: Count = estimated,
) -> SessionContext:
    """The context of a run in the session, which counts as used by it.

    ``context.history`` is the window of the conversation (the session's newest where none is named, begun where there is
    none); ``context.session`` says ``id``, ``mode``, ``conversation``, ``topic``, ``metadata``, ``conversation_context`` and,
    in ``memory``, what is remembered that suits the request; ``context.user`` says ``id``.

    Raises:
        EngineError: ``session_not_found``, also for an expired one; ``illegal_move`` for an ended one;
            ``conversation_not_found``, also for one of another session.
    """
    session = await sessions.get(session_id)
    conversation = await _conversation(conversations, session_id, conversation_id)
    shown = await window(
        conversations, conversation.id, tokens=tokens, messages=messages, summarise=summarise, count=count
    )
    topic = await conversations.active_topic(conversation.id)
    remembered = (
        await memory.search(request, limit=hits, at_least=AT_LEAST) if memory and request.strip() and hits else ()
    )
    context: dict[str, Json] = {
        "session": {
            "id": session.id,
            "mode": session.mode,
            "conversation": conversation.id,
            "topic": topic.topic if topic is not None else None,
            "metadata": dict(session.metadata),
            "conversation_context": dict(conversation.context),
            "memory": [_remembered(entry.to_dict()) for entry in remembered],
        },
        "user": {"id": session.user_id},
        "preferences": dict(session.preferences),
        "history": shown.history(),
    }
    beside = {"project": project, "environment": environment}
    context.update({name: value for name, value in beside.items() if value is not None})
    return SessionContext(context=context, mode=session.mode, session=session, conversation=conversation)


async def record_turn(
    conversations: Conversations,
    conversation_id: str,
    execution_id: str,
    request: str,
    output: Json = None,
    *,
    status: str = "completed",
) -> tuple[Message, ...]:
    """Append what the user asked and, where the execution has completed, what it answered; each once per execution.

    Called again when a paused execution has completed, it adds the answer.

    Raises:
        EngineError: ``conversation_not_found``, ``illegal_move``.
    """
    asked = NewMessage(
        role="user", content=_bounded(request), id=message_id(execution_id, "user"), execution_id=execution_id
    )
    said = spoken(output)
    if status != "completed" or not said.strip():
        return await conversations.add(conversation_id, asked)
    answer = NewMessage(
        role="assistant", content=_bounded(said), id=message_id(execution_id, "assistant"), execution_id=execution_id
    )
    return await conversations.add(conversation_id, asked, answer)


def message_id(execution_id: str, role: str) -> str:
    """The id of the message of that role of an execution."""
    return f"{role}-{sha256(execution_id.encode()).hexdigest()[:32]}"


def request_field(schema: Mapping[str, Any]) -> str | None:
    """The field of an input in which a person speaks: the one text that is needed, else the one text that there is."""
    properties = schema.get("properties")
    texts = [name for name, each in properties.items() if _is_text(each)] if isinstance(properties, Mapping) else []
    needed = [name for name in texts if name in schema.get("required", ())]
    for some in (needed, texts):
        if len(some) == 1:
            return str(some[0])
    return None


def spoken(output: Json) -> str:
    """What an output says: a text itself, of an object the field that holds the answer, else its JSON."""
    if isinstance(output, str):
        return output
    if output is None:
        return ""
    if isinstance(output, dict):
        texts = {name: value for name, value in output.items() if isinstance(value, str)}
        for name in _ANSWERS:
            if texts.get(name):
                return texts[name]
        if len(output) == 1 and texts:
            return next(iter(texts.values()))
    return json.dumps(output, ensure_ascii=False)


def _is_text(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "string" and "enum" not in schema


def _bounded(text: str) -> str:
    data = text.encode("utf-8", "replace")
    return text if len(data) <= MAX_CONTENT_BYTES else data[: MAX_CONTENT_BYTES - 4].decode("utf-8", "ignore") + "…"


def _remembered(entry: Mapping[str, Json]) -> dict[str, Json]:
    kept: Sequence[str] = ("id", "type", "content", "tags", "score", "updated_at")
    return {name: entry[name] for name in kept}


async def _conversation(conversations: Conversations, session_id: str, wanted: str | None) -> Conversation:
    if wanted is not None:
        found = await conversations.get(wanted)
        if found.session_id != session_id:
            from cogwork.errors import not_found

            raise not_found("conversation_not_found", f"conversation of session {session_id[:60]!r} named", wanted)
        return found
    return await conversations.current(session_id) or await conversations.start(session_id)
