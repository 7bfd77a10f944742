"""The messages of a conversation, put into its table in order, each once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.records.tables.sessions import MESSAGES
from cogwork.sessions.records import (
    MAX_CONTENT_BYTES,
    MAX_ID,
    ROLES,
    Conversation,
    Message,
    NewMessage,
    clean,
    named,
    plain,
)


def ready(message: NewMessage, ids: Callable[[], str]) -> dict[str, Any]:
    """The row of a message, without its place.

    Raises:
        EngineError: ``invalid_input``.
    """
    if message.role not in ROLES:
        raise EngineError("invalid_input", f"The role {message.role!r} is none of {', '.join(ROLES)}")
    if not isinstance(message.content, str):
        raise EngineError("invalid_input", f"A message's content must be text, not {type(message.content).__name__}")
    content = clean(message.content)
    if (size := len(content.encode())) > MAX_CONTENT_BYTES:
        raise EngineError(
            "invalid_input",
            f"The message has {size:,} bytes, and at most {MAX_CONTENT_BYTES:,} are kept: hand in a file or an address",
            bytes=size,
            limit=MAX_CONTENT_BYTES,
        )
    return {
        "id": named(message.id, "id of the message", limit=MAX_ID) if message.id is not None else ids(),
        "role": message.role,
        "content": content,
        "execution_id": message.execution_id,
        "metadata": plain(message.metadata, "metadata"),
    }


def added(
    connection: Connection, conversation: Conversation, rows: Sequence[dict[str, Any]], at: datetime
) -> tuple[Message, ...]:
    """The messages of the rows, those that are new appended; the conversation is locked by the caller.

    Raises:
        EngineError: ``conflict``.
    """
    wanted = [row["id"] for row in rows]
    if len(set(wanted)) < len(wanted):
        raise EngineError("invalid_input", "Two of the messages have the same id")
    known = {
        row["id"]: message_of(row)
        for row in connection.execute(sa.select(MESSAGES).where(MESSAGES.c.id.in_(wanted))).mappings()
    }
    last = sa.select(sa.func.max(MESSAGES.c.number)).where(MESSAGES.c.conversation_id == conversation.id)
    number = int(connection.execute(last).scalar() or 0)
    made: list[Message] = []
    new: list[dict[str, Any]] = []
    for row in rows:
        if (there := known.get(row["id"])) is not None:
            made.append(_same(there, row, conversation))
            continue
        number += 1
        place = {"conversation_id": conversation.id, "number": number, "topic_id": conversation.topic_id, "at": at}
        new.append({**row, **place})
        made.append(message_of(new[-1]))
    if new:
        connection.execute(MESSAGES.insert(), new)
    return tuple(made)


def _same(there: Message, row: Mapping[str, Any], conversation: Conversation) -> Message:
    same = (there.conversation_id, there.role, there.content) == (conversation.id, row["role"], row["content"])
    if not same:
        where = "" if there.conversation_id == conversation.id else ", in another conversation"
        raise EngineError(
            "conflict", f"There is another message with the id {there.id!r}{where}: give each its own", id=there.id
        )
    return there


def message_of(row: Mapping[Any, Any]) -> Message:
    """The message of a row."""
    return Message(
        id=row["id"],
        conversation_id=row["conversation_id"],
        number=row["number"],
        topic_id=row["topic_id"],
        role=row["role"],
        content=row["content"],
        at=row["at"],
        execution_id=row["execution_id"],
        metadata=row["metadata"],
    )
