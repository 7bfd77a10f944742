"""LangGraph's own suite for checkpointers, run on the SQLite store."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate

from cogwork.sealing.keys import Key, Ring
from cogwork.store.checkpoints import SqliteCheckpoints


@pytest.mark.req("D4", "M9")
@pytest.mark.parametrize("ring", [Ring(), Ring((Key(bytes(32)),))], ids=["plain", "sealed"])
async def test_the_store_does_all_that_langgraph_asks_of_checkpointers(tmp_path: Path, ring: Ring) -> None:
    folders = iter(range(100))

    @checkpointer_test(name="SqliteCheckpoints")
    async def fresh() -> AsyncGenerator[SqliteCheckpoints, None]:
        with SqliteCheckpoints(tmp_path / f"{next(folders)}.sqlite", synchronous="NORMAL", ring=ring) as saver:
            yield saver

    results = (await validate(fresh)).results
    assert {name: result.failures for name, result in results.items() if not result.passed} == {}
    assert all(result.detected and result.tests_passed for result in results.values()) and len(results) == 8
