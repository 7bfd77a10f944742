"""Checkpoints in PostgreSQL: LangGraph's contract, what may not be stored, and how it fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg")

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate

from cogwork.store.postgres import PostgresCheckpoints
from tests import clusters

HOUSE = Path(__file__).resolve().parent.parent
CONFIG: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


@pytest.fixture
def url() -> Iterator[str]:
    with clusters.schema() as address:
        yield address


@pytest.fixture
def saver(url: str) -> Iterator[PostgresCheckpoints]:
    with PostgresCheckpoints(url) as made:
        yield made


@pytest.mark.req("D4", "R5")
async def test_every_capability_of_the_public_conformance_suite_passes(url: str) -> None:
    @checkpointer_test(name="PostgresCheckpoints")
    async def made() -> AsyncIterator[BaseCheckpointSaver[str]]:
        with PostgresCheckpoints(url) as saver:
            yield saver

    report = await validate(made)
    failed = {name: result.failures for name, result in report.results.items() if not result.passed}
    assert not failed
    assert len(report.results) == 8
