"""Long-term memory: what was learnt, kept beyond a conversation and found again by words and meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cogwork.errors import EngineError, not_found
from cogwork.sessions.entries import (
    USUAL_RELEVANCE,
    Entry,
    EntryType,
    Level,
    Place,
    content_of,
    digest,
    relevance_of,
    score,
    tags_of,
    type_of,
)
from cogwork.sessions.meanings import Meanings
from cogwork.sessions.records import clean
from cogwork.sessions.shelf import MAX_ENTRIES, Shelf
from cogwork.sessions.similarity import shares, similarity
from cogwork.sessions.store import MemoryStore

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

MAX_FOUND: Final = 200
MAX_SOURCE: Final = 500


def _now() -> datetime:
    return datetime.now(UTC)


class Memory:
    """The memory of one place, in a ``Store`` of LangGraph; with ``embeddings`` it is searched by meaning too.

    Every verb raises ``EngineError``: ``invalid_input`` for values that do not fit, ``memory_not_found`` for an id that is not
    there, ``database_error``. What it holds was said by users and models: data, never instructions.
    """

    def __init__(
        self,
        store: MemoryStore,
        place: Place,
        *,
        now: Callable[[], datetime] = _now,
        embeddings: Embeddings | None = None,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        self.store, self.place, self.now = store, place, now
        self._shelf = Shelf(store, place, max_entries)
        self._meanings = Meanings(self._shelf, embeddings) if embeddings is not None else None

    @property
    def trouble(self) -> str:
        """Why the last search was by words alone, although there are ``embeddings``; empty where it was not."""
        return self._meanings.trouble if self._meanings is not None else ""

    async def add(
        self,
        content: str,
        *,
        type: EntryType = "factual",
        tags: Iterable[str] = (),
        relevance: float | None = None,
        source: str = "",
        level: Level | None = None,
    ) -> Entry:
        """Remember it, at the first level that the place has; ``source`` says where it is from.

        What is there already, but for case and spaces, is not there twice: it has the tags of both, the later relevance and
        source, and counts as said now.

        Raises:
            EngineError: ``conflict``; the level holds as much as it may.
        """
        at, text = self.now(), content_of(content)
        where = level or self._first()
        there = await self._shelf.equal(where, text)
        given = None if relevance is None else relevance_of(relevance)
        entry = Entry(
            id=there.id if there is not None else await self._shelf.free_id(where, text),
            level=where,
            type=type_of(type),
            content=there.content if there is not None else text,
            tags=tags_of([*tags, *(there.tags if there is not None else ())]),
            relevance=given if given is not None else (there.relevance if there is not None else USUAL_RELEVANCE),
            source=clean(source)[:MAX_SOURCE] or (there.source if there is not None else ""),
            created_at=there.created_at if there is not None else at,
            updated_at=at,
            uses=there.uses if there is not None else 0,
            used_at=there.used_at if there is not None else None,
        )
        await self._shelf.put(entry)
        return entry

    async def get(self, entry_id: str) -> Entry:
        """The entry, at whatever level it is."""
        for level in self.place.levels():
            if (entry := await self._shelf.find(level, clean(str(entry_id)))) is not None:
                return entry
        known = [entry.id for entry in await self.entries(limit=MAX_FOUND)]
        raise not_found("memory_not_found", "memory", str(entry_id), known)

    async def update(
        self,
        entry_id: str,
        *,
        content: str | None = None,
        type: EntryType | None = None,
        tags: Iterable[str] | None = None,
        relevance: float | None = None,
        source: str | None = None,
    ) -> Entry:
        """Change what is given; the entry keeps its id.

        Raises:
            EngineError: ``conflict``; another entry has that content.
        """
        entry = await self.get(entry_id)
        text = entry.content if content is None else content_of(content)
        if digest(text) != digest(entry.content) and (other := await self._shelf.equal(entry.level, text)) is not None:
            raise EngineError("conflict", f"Memory {other.id!r} says that already: forget one of the two", id=other.id)
        changed = replace(
            entry,
            content=text,
            type=entry.type if type is None else type_of(type),
            tags=entry.tags if tags is None else tags_of(tags),
            relevance=entry.relevance if relevance is None else relevance_of(relevance),
            source=entry.source if source is None else clean(source)[:MAX_SOURCE],
            updated_at=self.now(),
        )
        await self._shelf.put(changed)
        return changed

    async def forget(self, entry_id: str) -> None:
        """Forget the entry for good, with what was counted of it."""
        entry = await self.get(entry_id)
        await self._shelf.delete(entry.level, [entry.id])

    async def clear(self, level: Level) -> int:
        """Forget everything at the level; how much it was."""
        every = [entry.id for entry in await self._shelf.every(level)]
        await self._shelf.delete(level, every)
        return len(every)

    async def entries(
        self, *, types: Iterable[EntryType] = (), tags: Iterable[str] = (), limit: int = 50
    ) -> tuple[Entry, ...]:
        """What is remembered, the latest first."""
        limit, found = _bounded(limit), await self._chosen(types, tags)
        return tuple(sorted(found, key=lambda entry: (entry.updated_at, entry.id), reverse=True)[:limit])

    async def search(
        self,
        query: str,
        *,
        types: Iterable[EntryType] = (),
        tags: Iterable[str] = (),
        limit: int = 10,
        at_least: float = 0.0,
        count: bool = True,
    ) -> tuple[Entry, ...]:
        """What suits the query best, from all levels of the place, with its ``score`` (``entries.score``) of ``at_least``.

        Types are alternatives, of tags an entry has all. What is found counts as used once more with ``count``; of uses
        counted at the same moment one may be lost.
        """
        limit, at, asked = _bounded(limit), self.now(), clean(query)[:4_000]
        entries = await self._chosen(types, tags)
        likes = await self._meanings.likes(asked, entries) if entries and asked.strip() and self._meanings else {}
        words = await shares(asked, {(entry.level, entry.id): entry for entry in entries})
        scored = [
            replace(
                entry, score=score(entry, similarity(words.get(key, 0.0), likes.get(key), compared=bool(likes)), at)
            )
            for entry in entries
            for key in [(entry.level, entry.id)]
        ]
        fitting = [entry for entry in scored if entry.score and entry.score >= at_least]
        best = sorted(fitting, key=lambda entry: (-(entry.score or 0), entry.id))[:limit]
        if count and best:
            await self._shelf.used(best, at)
        return tuple(best)

    async def _chosen(self, types: Iterable[EntryType], tags: Iterable[str]) -> list[Entry]:
        wanted, having = {type_of(each) for each in types}, set(tags_of(tags))
        every = [entry for level in self.place.levels() for entry in await self._shelf.every(level)]
        return [entry for entry in every if (not wanted or entry.type in wanted) and having <= set(entry.tags)]

    def _first(self) -> Level:
        levels = self.place.levels()
        if not levels:
            raise EngineError("invalid_input", "There is nobody to remember it for: name a user or a session")
        return levels[0]


def _bounded(limit: Any) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_FOUND:
        raise EngineError("invalid_input", f"limit is {limit!r}: it must be a number from 1 to {MAX_FOUND}")
    return limit
