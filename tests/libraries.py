"""A library for tests, on either database, with a clock and ids of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from cogwork.app import App
from cogwork.library import Library
from cogwork.records.database import Records, opened
from cogwork.settings import Settings
from tests.clusters import schema

DATABASES = ("sqlite", "postgresql")
START = datetime(2026, 1, 1, tzinfo=UTC)


@contextmanager
def records_on(database: str, folder: Path) -> Iterator[Records]:
    """The records on one of the databases."""
    if database == "sqlite":
        with opened(folder / "records.sqlite") as records:
            yield records
        return
    with schema() as url, opened(folder / "unused.sqlite", url) as records:
        yield records


def library_on(records: Records, folder: Path) -> Library:
    """A library whose clock goes on by a second each time it is read."""
    ticks, ids = count(), count(1)
    app = App(settings=Settings(state_dir=folder / "state"))
    return Library(
        records, app, now=lambda: START + timedelta(seconds=next(ticks)), new_id=lambda: f"wf-{next(ids):06d}"
    )


def flow(name: str = "flow", value: Any = 1, **more: Any) -> dict[str, Any]:
    """A workflow of one step, or of the given nodes."""
    nodes = more.pop("nodes", {"a": {"type": "transform", "set": {"value": value}}})
    return {"cogwork": "v1", "name": name, "nodes": nodes, **more}
