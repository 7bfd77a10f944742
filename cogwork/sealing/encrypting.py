"""All that cogwork keeps, sealed anew under the first key: the work of ``cogwork encrypt``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cogwork.sealing.again import Progress, bytes_again
from cogwork.sealing.errors import UnusableKey
from cogwork.sealing.seals import Seals, place_of_file

if TYPE_CHECKING:
    from cogwork.app import App

FOLDERS = {"specs": "*.json", "openapi": "*.openapi"}
"""Folders of the state folder whose files are sealed whole."""


def encrypted(app: App) -> Iterator[Progress]:
    """Seal everything that is plain or under an older key, batch by batch; broken off, it goes on where it was.

    At its end the databases say that the first key alone is needed. Workers may be at work meanwhile, if they have the keys.

    Raises:
        UnusableKey: the settings name no key.
        StoreError, EngineError: a database fails, or a value cannot be opened; what was sealed by then is sealed.
    """
    if not app.ring.keys:
        raise UnusableKey("There is no key to encrypt with: name one in the setting encryption_keys")
    with ExitStack() as stack:
        records, saver, store = app.records(), stack.enter_context(app.checkpoints()), _memory(app)
        stack.callback(store.close)
        yield from _passes(records, saver, store)
        yield from _beside(app, app.settings.state_dir)
        yield Progress("still in use", _settled(records, saver, store), 0)


def _passes(records: Any, saver: Any, store: Any) -> Iterator[Progress]:
    from cogwork.records import resealing as of_records
    from cogwork.sessions import resealing as of_memory

    yield from of_records.resealed(records)
    yield from _of_checkpoints(saver).resealed(saver)
    yield from of_memory.resealed(store)


def _settled(records: Any, saver: Any, store: Any) -> int:
    """Say that one key is enough, and let nothing plain lie in what is free; how much is in use and plain still."""
    from cogwork.records import resealing as of_records
    from cogwork.sessions import resealing as of_memory

    left = of_records.settled(records)
    if not left:
        left += _of_checkpoints(saver).settled(saver) + of_memory.settled(store)
    return left


def _of_checkpoints(saver: Any) -> Any:
    from cogwork.store.checkpoints import SqliteCheckpoints

    if isinstance(saver, SqliteCheckpoints):
        from cogwork.store import resealing

        return resealing
    from cogwork.store import postgres_resealing

    return postgres_resealing


def _memory(app: App) -> Any:
    from cogwork.sessions.store import memory_store

    chosen = app.settings
    path = chosen.state_dir / "memory.sqlite"
    return memory_store(path, chosen.database_url, synchronous=chosen.synchronous, ring=app.ring)


def _beside(app: App, folder: Path) -> Iterator[Progress]:
    """The cache and the files beside the databases."""
    from cogwork.store.resealing import cleared

    if (folder / "cache.sqlite").exists():
        cache = app.cache
        with closing(cache._conn):
            yield from cleared(cache)
        app.__dict__.pop("cache", None)
    seals = Seals(ring=app.ring, where=str(folder))
    for name, pattern in FOLDERS.items():
        paths = sorted((folder / name).glob(pattern))
        yield Progress(name, len(paths), sum(_file(seals, path) for path in paths))


def _file(seals: Seals, path: Path) -> bool:
    again = bytes_again(seals, path.read_bytes(), place_of_file(path))
    if again is not None:
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_bytes(again)
        fresh.chmod(0o600)
        fresh.replace(path)
    return again is not None
