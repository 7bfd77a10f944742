"""Conversations: begun in a session, filled with messages in order, parted into topics, looked through, ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.records.database import Records
from cogwork.records.pages import MAX_LIMIT, Page, paged
from cogwork.records.tables.sessions import CONVERSATIONS, MESSAGES, TOPICS
from cogwork.sessions.conversation_rows import (
    MAIN,
    change_conversation,
    conversation_of,
    found_conversation,
    of_topic,
    open_conversation,
    topic_by_id,
    topic_id_of,
    topics_of,
)
from cogwork.sessions.messages import added, message_of, ready
from cogwork.sessions.records import (
    MAX_ADDED,
    MAX_ID,
    Conversation,
    Message,
    Messages,
    NewMessage,
    Topic,
    named,
    patched,
    plain,
    positive,
)
from cogwork.sessions.session_rows import usable_session
from cogwork.sessions.sessions import new_id
from state.values import Json

MAX_TOPICS: Final = 500
_WORDS: Final = 16
_AT_ONCE: Final = 200


def _now() -> datetime:
    return datetime.now(UTC)


class Conversations:
    """The conversations of a database of records.

    Every verb raises ``EngineError``: ``conversation_not_found``, ``illegal_move`` for changes to one that has ended,
    ``invalid_input`` for values that do not fit, and where a session is needed what ``Sessions.get`` raises.
    """

    def __init__(
        self, records: Records, *, now: Callable[[], datetime] = _now, ids: Callable[[], str] = new_id
    ) -> None:
        self.records, self.now, self._ids = records, now, ids

    async def start(
        self,
        session_id: str,
        *,
        title: str = "",
        context: Mapping[str, Json] | None = None,
        history_limit: int | None = None,
        id: str | None = None,
    ) -> Conversation:
        """Begin a conversation in an active session; ``history_limit`` is how many of its latest messages a run is given.

        Raises:
            EngineError: ``conflict``; there is one of that ``id``.
        """
        at = self.now()
        row = {
            "id": named(id, "id of the conversation", limit=MAX_ID) if id is not None else self._ids(),
            "session_id": session_id,
            "title": named(title, "title", empty=True),
            "history_limit": None if history_limit is None else int(positive(history_limit, "history_limit", 10_000)),
            "context": plain(context or {}, "context"),
            "created_at": at,
            "updated_at": at,
        }

        def make(connection: Connection) -> Conversation:
            usable_session(connection, session_id, at)
            known = sa.select(CONVERSATIONS.c.id).where(CONVERSATIONS.c.id == row["id"])
            if connection.execute(known).first() is not None:
                raise EngineError("conflict", f"There is a conversation {row['id']!r} already", id=str(row["id"]))
            connection.execute(CONVERSATIONS.insert().values(**row))
            return found_conversation(connection, str(row["id"]))

        return await self.records.writing(make)

    async def get(self, conversation_id: str) -> Conversation:
        """The conversation, also one that has ended."""
        return await self.records.reading(lambda connection: found_conversation(connection, conversation_id))

    async def list(self, session_id: str, *, limit: int = 50, cursor: str | None = None) -> Page[Conversation]:
        """A page of a session's conversations, the newest first."""
        query = sa.select(CONVERSATIONS).where(CONVERSATIONS.c.session_id == session_id)
        at, key = CONVERSATIONS.c.created_at, CONVERSATIONS.c.id
        asked = {"conversations": session_id}

        def page(connection: Connection) -> Page[Conversation]:
            return paged(connection, query, at, key, filters=asked, limit=limit, cursor=cursor).map(conversation_of)

        return await self.records.reading(page)

    async def current(self, session_id: str) -> Conversation | None:
        """The session's newest conversation that has not ended; None where there is none."""
        query = (
            sa.select(CONVERSATIONS)
            .where(CONVERSATIONS.c.session_id == session_id, CONVERSATIONS.c.ended_at.is_(None))
            .order_by(CONVERSATIONS.c.created_at.desc(), CONVERSATIONS.c.id.desc())
            .limit(1)
        )
        row = await self.records.reading(lambda connection: connection.execute(query).mappings().first())
        return conversation_of(row) if row is not None else None

    async def end(self, conversation_id: str) -> Conversation:
        """End the conversation: it is kept, and nothing is added to it any more. Ending it again changes nothing."""
        at = self.now()

        def finish(connection: Connection) -> Conversation:
            if found_conversation(connection, conversation_id, lock=True).ended_at is None:
                change_conversation(connection, conversation_id, at, ended_at=at)
            return found_conversation(connection, conversation_id)

        return await self.records.writing(finish)

    # -- messages ------------------------------------------------------------------------------------------

    async def add(self, conversation_id: str, *messages: NewMessage) -> tuple[Message, ...]:
        """Append the messages, in their order and without others between them, to the topic that is talked about.

        One whose ``id`` is in the conversation already is not added again; what was kept then is returned.

        Raises:
            EngineError: ``conflict``; a message of that id says something else, or is in another conversation.
        """
        if not 1 <= len(messages) <= MAX_ADDED:
            raise EngineError("invalid_input", f"{len(messages)} messages: from 1 to {MAX_ADDED} can be added at once")
        at, rows = self.now(), [ready(message, self._ids) for message in messages]

        def append(connection: Connection) -> tuple[Message, ...]:
            conversation = open_conversation(connection, conversation_id)
            made = added(connection, conversation, rows, at)
            change_conversation(connection, conversation_id, at)
            return made

        return await self.records.writing(append)

    async def messages(
        self, conversation_id: str, limit: int = 50, *, topic: str | None = None, before: int | None = None
    ) -> Messages:
        """The latest messages, the oldest of them first; of one topic only with its id or name, ``""`` for none.

        ``before`` is what an earlier page said of the messages before it.
        """
        if isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
            raise EngineError("invalid_input", f"limit is {limit!r}: it must be a number from 1 to {MAX_LIMIT}")

        def page(connection: Connection) -> Messages:
            conversation = found_conversation(connection, conversation_id)
            query = sa.select(MESSAGES).where(MESSAGES.c.conversation_id == conversation.id)
            if topic is not None:
                query = query.where(of_topic(topic_id_of(connection, conversation.id, topic)))
            if before is not None:
                query = query.where(MESSAGES.c.number < before)
            latest = query.order_by(MESSAGES.c.number.desc()).limit(limit + 1)
            rows = connection.execute(latest).mappings().all()
            shown = tuple(message_of(row) for row in reversed(rows[:limit]))
            return Messages(items=shown, before=shown[0].number if len(rows) > limit else None)

        return await self.records.reading(page)

    async def search(self, session_id: str, words: str, *, limit: int = 20) -> tuple[Message, ...]:
        """The session's messages that have all the words, the latest first; upper and lower case of ASCII count as one."""
        wanted = list(dict.fromkeys(words.split()))[:_WORDS]
        if not wanted or not 1 <= limit <= MAX_LIMIT:
            raise EngineError("invalid_input", f"Say at least one word, and a limit from 1 to {MAX_LIMIT}")
        theirs = sa.select(CONVERSATIONS.c.id).where(CONVERSATIONS.c.session_id == session_id)
        query = sa.select(MESSAGES).where(MESSAGES.c.conversation_id.in_(theirs))
        query = query.order_by(MESSAGES.c.at.desc(), MESSAGES.c.conversation_id, MESSAGES.c.number.desc())
        if not self.records.seals.on:
            content = sa.type_coerce(MESSAGES.c.content, sa.Text)
            query = query.where(*(content.icontains(w, autoescape=True) for w in wanted)).limit(limit)

        def found(connection: Connection) -> list[Message]:  # What is sealed is looked through here, row by row.
            rows = connection.execute(query.execution_options(yield_per=_AT_ONCE)).mappings()
            return [
                message_of(row)
                for row in islice(
                    (row for row in rows if not self.records.seals.on or _has(row["content"], wanted)), limit
                )
            ]

        return tuple(await self.records.reading(found, whole=True))

    # -- context -------------------------------------------------------------------------------------------

    async def context(self, conversation_id: str) -> Mapping[str, Json]:
        """What is kept beside the conversation's messages."""
        return (await self.get(conversation_id)).context

    async def update_context(self, conversation_id: str, changes: Mapping[str, Json]) -> Mapping[str, Json]:
        """Change the context entry by entry, where null takes one away; the whole of it then."""
        at, given = self.now(), plain(changes, "context")

        def change(connection: Connection) -> Mapping[str, Json]:
            conversation = open_conversation(connection, conversation_id)
            context = plain(patched(conversation.context, given), "context")
            change_conversation(connection, conversation_id, at, context=context)
            return context

        return await self.records.writing(change)

    # -- topics --------------------------------------------------------------------------------------------

    async def new_topic(self, conversation_id: str, topic: str, *, switch: bool = False) -> Topic:
        """Make a topic, and talk about it from now on with ``switch``; one that is there by that name is returned."""
        at, name = self.now(), named(topic, "topic").strip()

        def make(connection: Connection) -> Topic:
            open_conversation(connection, conversation_id)
            known = {each.topic: each for each in topics_of(connection, conversation_id)}
            if (made := known.get(name)) is None:
                if len(known) >= MAX_TOPICS:
                    raise EngineError("invalid_input", f"The conversation has {MAX_TOPICS} topics, as many as it may")
                made = Topic(id=self._ids(), conversation_id=conversation_id, topic=name, created_at=at)
                connection.execute(TOPICS.insert().values(**made.to_dict() | {"created_at": at}))
            if switch:
                change_conversation(connection, conversation_id, at, topic_id=made.id)
            return made

        return await self.records.writing(make)

    async def switch(self, conversation_id: str, topic: str = MAIN) -> Topic | None:
        """Talk about the topic of that id or name from now on; without one, about none."""
        at = self.now()

        def change(connection: Connection) -> Topic | None:
            open_conversation(connection, conversation_id)
            topic_id = topic_id_of(connection, conversation_id, topic)
            change_conversation(connection, conversation_id, at, topic_id=topic_id)
            return topic_by_id(connection, conversation_id, topic_id)

        return await self.records.writing(change)

    async def active_topic(self, conversation_id: str) -> Topic | None:
        """The topic that is talked about; None outside all."""

        def find(connection: Connection) -> Topic | None:
            conversation = found_conversation(connection, conversation_id)
            return topic_by_id(connection, conversation_id, conversation.topic_id)

        return await self.records.reading(find)

    async def topics(self, conversation_id: str) -> tuple[Topic, ...]:
        """The conversation's topics, in the order in which they were made."""

        def every(connection: Connection) -> tuple[Topic, ...]:
            found_conversation(connection, conversation_id)
            return topics_of(connection, conversation_id)

        return await self.records.reading(every)


def _has(content: str, words: list[str]) -> bool:
    return all(word.lower() in content.lower() for word in words)
