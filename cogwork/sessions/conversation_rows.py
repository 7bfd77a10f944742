"""The rows of conversations and topics, within the transactions of who calls."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError, not_found
from cogwork.records.tables.sessions import CONVERSATIONS, MESSAGES, TOPICS
from cogwork.sessions.records import Conversation, Topic

MAIN: Final = ""
"""Names what is said outside all topics."""


def found_conversation(connection: Connection, conversation_id: str, *, lock: bool = False) -> Conversation:
    """The conversation as it is; with ``lock``, within a write, nobody else changes it meanwhile.

    Raises:
        EngineError: ``conversation_not_found``.
    """
    query = sa.select(CONVERSATIONS).where(CONVERSATIONS.c.id == conversation_id)
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    if row is None:
        recent = sa.select(CONVERSATIONS.c.id).order_by(CONVERSATIONS.c.id).limit(200)
        known = connection.execute(recent).scalars()
        raise not_found("conversation_not_found", "conversation", str(conversation_id), known)
    return conversation_of(row)


def open_conversation(connection: Connection, conversation_id: str) -> Conversation:
    """The conversation, if it may be changed; nobody else changes it meanwhile.

    Raises:
        EngineError: ``conversation_not_found``, or ``illegal_move`` where it has ended.
    """
    conversation = found_conversation(connection, conversation_id, lock=True)
    if conversation.ended_at is not None:
        when = conversation.ended_at.isoformat(timespec="seconds")
        raise EngineError(
            "illegal_move", f"Conversation {conversation_id!r} ended at {when}: start another one", ended_at=when
        )
    return conversation


def of_topic(topic_id: str | None) -> sa.ColumnElement[bool]:
    """Whether a message belongs to the topic, or with None to no topic."""
    return MESSAGES.c.topic_id.is_(None) if topic_id is None else MESSAGES.c.topic_id == topic_id


def change_conversation(connection: Connection, conversation_id: str, at: datetime, **values: Any) -> None:
    """Write these values, and that it was changed."""
    changed = CONVERSATIONS.update().where(CONVERSATIONS.c.id == conversation_id)
    connection.execute(changed.values(updated_at=at, **values))


def topics_of(connection: Connection, conversation_id: str) -> tuple[Topic, ...]:
    """The conversation's topics, in the order in which they were made."""
    query = sa.select(TOPICS).where(TOPICS.c.conversation_id == conversation_id)
    rows = connection.execute(query.order_by(TOPICS.c.created_at, TOPICS.c.id)).mappings()
    return tuple(_topic_of(row) for row in rows)


def topic_by_id(connection: Connection, conversation_id: str, topic_id: str | None) -> Topic | None:
    """The topic of that id; None for none."""
    return next((each for each in topics_of(connection, conversation_id) if each.id == topic_id), None)


def topic_id_of(connection: Connection, conversation_id: str, topic: str) -> str | None:
    """The id of the topic of that id or name; None for ``MAIN``.

    Raises:
        EngineError: ``conversation_not_found``.
    """
    if topic == MAIN:
        return None
    known = topics_of(connection, conversation_id)
    for each in known:
        if topic in (each.id, each.topic):
            return each.id
    raise not_found("conversation_not_found", "topic", topic, [each.topic for each in known], topic=topic[:200])


def _topic_of(row: Mapping[Any, Any]) -> Topic:
    return Topic(id=row["id"], conversation_id=row["conversation_id"], topic=row["topic"], created_at=row["created_at"])


def conversation_of(row: Mapping[Any, Any]) -> Conversation:
    """The conversation of a row."""
    return Conversation(
        id=row["id"],
        session_id=row["session_id"],
        title=row["title"],
        topic_id=row["topic_id"],
        history_limit=row["history_limit"],
        context=row["context"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        ended_at=row["ended_at"],
    )
