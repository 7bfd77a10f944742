"""What the commands around sessions open: the records, the memory, and who is meant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cogwork.cli import exits

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from cogwork.app import App
    from cogwork.records.database import Records
    from cogwork.sessions.conversations import Conversations
    from cogwork.sessions.entries import Place
    from cogwork.sessions.memory import Memory
    from cogwork.sessions.sessions import Sessions
    from cogwork.sessions.store import MemoryStore

LOCAL_USER = "me"
User = Annotated[str, typer.Option("--user", "-u", metavar="NAME", help="Whose sessions and memory.")]


@dataclass(frozen=True, slots=True)
class Talking:
    """Sessions, conversations and memory of an app, opened."""

    app: App
    sessions: Sessions
    conversations: Conversations
    store: MemoryStore
    embeddings: Embeddings | None

    def memory(self, place: Place) -> Memory:
        """The memory of that place."""
        from cogwork.sessions.memory import Memory

        return Memory(self.store, place, embeddings=self.embeddings)


def records_of(app: App) -> Records:
    """The records in the settings' database, or else in the file of the state folder; the caller closes them."""
    from cogwork.records.database import opened

    chosen = app.settings
    path = chosen.state_dir / "records.sqlite"
    return opened(path, chosen.database_url, synchronous=chosen.synchronous, ring=app.ring)


@contextmanager
def talking(app: App) -> Iterator[Talking]:
    """All of it, closed at the end.

    Raises:
        EngineError: ``database_error``.
        Refusal: the settings name embeddings that cannot be used.
    """
    from cogwork.sessions.conversations import Conversations
    from cogwork.sessions.sessions import Sessions
    from cogwork.sessions.store import memory_store

    model = _embeddings(app)
    chosen = app.settings
    with records_of(app) as records:
        path = chosen.state_dir / "memory.sqlite"
        store = memory_store(path, chosen.database_url, synchronous=chosen.synchronous, ring=app.ring)
        try:
            yield Talking(app, Sessions(records), Conversations(records), store, model)
        finally:
            store.close()


def _embeddings(app: App) -> Any:
    if app.embeddings is not None or app.settings.embeddings is None:
        return app.embeddings
    from cogwork.models.embeddings import embeddings

    try:
        return embeddings(app.settings.embeddings, app._providers()["openai"])
    except (ImportError, ValueError) as err:
        raise exits.Refusal(str(err), "see the setting embeddings in cogwork.toml and COGWORK_EMBEDDINGS") from err
