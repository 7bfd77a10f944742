"""A disk without room: the run stops with a clear error and goes on when there is room again."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command

import cogwork
from cogwork.store.checkpoints import StoreError

STEPS = 30
THREAD: dict[str, Any] = {"configurable": {"thread_id": "one"}}


@pytest.mark.req("D4")
def test_a_full_disk_stops_the_run_and_loses_no_finished_step(tmp_path: Path) -> None:
    calls: Counter[int] = Counter()

    def work(n: int) -> str:
        """Count the call and return what takes room."""
        calls[n] += 1
        return random.Random(n).randbytes(8_000).hex()

    nodes = {f"n{i}": {"type": "tool", "tool": "work", "args": {"n": i}} for i in range(STEPS)}
    for i in range(1, STEPS):
        nodes[f"n{i}"]["depends_on"] = [f"n{i - 1}"]
    with cogwork.SqliteCheckpoints(tmp_path / "full.sqlite") as saver:
        graph = cogwork.compile({"cogwork": "v1", "name": "full", "nodes": nodes}, checkpointer=saver, tools=[work])
        saver.conn.execute("PRAGMA max_page_count = 100")
        with pytest.raises(StoreError, match=r"full\.sqlite failed: database or disk is full.*resume"):
            graph.invoke({}, THREAD)
        done = [path for path, record in graph.get_state(THREAD).values["nodes"].items() if record["status"] == "done"]
        assert 0 < len(done) < STEPS
        assert sum(calls.values()) <= len(done) + 1
        saver.conn.execute("PRAGMA max_page_count = 1000000")
        state = graph.invoke(None, THREAD)
        if asked := state.get("__interrupt__"):  # the call ended when its end could not be recorded any more
            assert asked[0].value["kind"] == "in_doubt"
            state = graph.invoke(Command(resume={"resolution": "retry"}), THREAD)
        assert state["run"]["status"] == "completed"
    assert len(calls) == STEPS
    assert sum(calls.values()) <= STEPS + 1
    assert all(count == 1 for step, count in calls.items() if f"n{step}" in done)
