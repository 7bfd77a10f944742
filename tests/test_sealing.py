"""What is kept is sealed: no file, log or dump of a database holds a canary, and everything still works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cogwork import WorkflowEngine
from cogwork.settings import Settings
from tests.clusters import schema
from tests.fleet import drop
from tests.sealed import CANARIES, KEYS, dumped, leaks, leaks_in, lived, opened_bytea, tools

pytestmark = pytest.mark.req("M9")
ONE, TWO = {"env": "KEY_ONE"}, {"env": "KEY_TWO"}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys, in the environment."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@asynccontextmanager
async def engine(folder: Path, *keys: dict[str, str], **more: Any) -> AsyncIterator[WorkflowEngine]:
    """An engine with these keys."""
    settings = Settings(state_dir=folder, workflows=[], encryption_keys=[*keys], **more)  # type: ignore[arg-type]
    async with WorkflowEngine(settings=settings, tools=tools()) as made:
        yield made


@contextmanager
def database() -> Iterator[str]:
    """An empty schema of PostgreSQL; the queue's is dropped with it."""
    with schema() as url:
        try:
            yield url
        finally:
            drop(url)


async def test_without_keys_the_search_finds_every_canary_on_disk(tmp_path: Path) -> None:
    async with engine(tmp_path) as made:
        await lived(made)
        found = leaks_in(tmp_path)
    assert set.union(*found.values()) == set(CANARIES)


async def test_with_a_key_no_file_of_the_state_folder_holds_a_canary(tmp_path: Path) -> None:
    async with engine(tmp_path, ONE) as made:
        output = await lived(made)
        assert leaks_in(tmp_path) == {}
    assert output["given"] == CANARIES["input"]
    assert leaks_in(tmp_path) == {}


async def test_with_a_key_no_row_of_postgresql_holds_a_canary(tmp_path: Path) -> None:
    with database() as url:
        async with engine(tmp_path, database_url=url) as made:
            await lived(made)
        assert leaks(opened_bytea(await asyncio.to_thread(dumped, url))) == set(CANARIES)
    with database() as url:
        async with engine(tmp_path, ONE, database_url=url) as made:
            output = await lived(made)
        assert output["given"] == CANARIES["input"]
        assert leaks(opened_bytea(await asyncio.to_thread(dumped, url))) == set()
