"""The stage of the tests of sessions: records and memory on both databases, with a clock that stands still until it is moved."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from langchain_core.embeddings import Embeddings

from cogwork.records.database import Records, opened
from cogwork.sessions.conversations import Conversations
from cogwork.sessions.entries import Place
from cogwork.sessions.memory import Memory
from cogwork.sessions.records import SessionPolicy
from cogwork.sessions.sessions import Sessions
from cogwork.sessions.store import MemoryStore, memory_store
from tests.clusters import schema

DATABASES = ("sqlite", "postgresql")
WORDS = ("pay", "invoice", "ship", "parcel", "cat", "dog", "colour", "blue")


class Clock:
    """The time, moved by hand."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def pass_by(self, **span: float) -> None:
        """Let so much time pass."""
        self.at += timedelta(**span)


class Meanings(Embeddings):
    """Vectors by what a text is about: money, post, animals or colours."""

    model = "meanings"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails = False

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if self.fails:
            raise ConnectionError("nobody answers")
        self.asked += texts
        return [self._vector(text.lower()) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]

    def _vector(self, text: str) -> list[float]:
        pairs = zip(WORDS[::2], WORDS[1::2], strict=True)
        return [float(any(word in text for word in pair)) for pair in pairs] + [0.01]


class Talks:
    """Sessions, conversations and memory over one database."""

    def __init__(self, records: Records, path: Path, url: str | None) -> None:
        self.records, self.path, self.url = records, path, url
        self.clock = Clock()
        numbers = itertools.count(1)
        self.sessions = self.sessions_with(SessionPolicy())
        self.conversations = Conversations(records, now=self.clock, ids=lambda: f"id-{next(numbers):06}")

    def sessions_with(self, policy: SessionPolicy) -> Sessions:
        """The same sessions under another policy."""
        return Sessions(self.records, now=self.clock, policy=policy)

    def store(self) -> MemoryStore:
        """A memory store on the same database, to be closed by who asked."""
        return memory_store(self.path / "memory.sqlite", self.url)

    def memory(self, store: MemoryStore, place: Place | None = None) -> Memory:
        """Ana's memory, or that of another place."""
        return Memory(store, place or Place(user="ana"), now=self.clock)


@contextmanager
def talks_on(database: str, folder: Path) -> Iterator[Talks]:
    """An empty stage on that database."""
    with ExitStack() as stack:
        url = stack.enter_context(schema()) if database == "postgresql" else None
        records = stack.enter_context(opened(folder / "records.sqlite", url))
        yield Talks(records, folder, url)
