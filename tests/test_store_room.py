"""The room that checkpoints take: what is new in them, however large the rest; and what is given back."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from cogwork.store.checkpoints import SqliteCheckpoints, StoreError, strict_serde
from tests.conftest import Stage, answer, ask, do, say

LARGE = random.Random(1).randbytes(50_000).hex()
MEGABYTE = 1_000_000


@pytest.fixture
def saver(tmp_path: Path) -> Iterator[SqliteCheckpoints]:
    with SqliteCheckpoints(tmp_path / "c.sqlite", synchronous="NORMAL") as opened:
        yield opened


def chain(length: int, first: Any, each: str, **more: Any) -> dict[str, Any]:
    """Steps in a row; ``each`` may name the one before it as ``before``."""
    rest = {f"n{i}": say(each.replace("before", f"n{i - 1}"), depends_on=[f"n{i - 1}"]) for i in range(1, length)}
    return {"nodes": {"n0": say(first), **rest}, **more}


def config(thread: str = "t") -> Any:
    return {"configurable": {"thread_id": thread}, "recursion_limit": 100_000}


def room(saver: SqliteCheckpoints) -> int:
    """Bytes of the file, with all that was written ahead of it."""
    saver.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return saver.path.stat().st_size


def pieces(saver: SqliteCheckpoints, thread: str = "t") -> int:
    return int(saver.conn.execute("SELECT count(*) FROM blobs WHERE thread_id = ?", (thread,)).fetchone()[0])


GIVEN = {"input": {"x": {"type": "string"}}}


@pytest.mark.req("D4")
@pytest.mark.parametrize(
    "spec",
    [
        chain(50, 1, "{{ 1 }}", **GIVEN),
        chain(50, "{{ input.x }}", "{{ 1 }}", **GIVEN),
        chain(50, "{{ input.x }}", "{{ before }}", **GIVEN),
    ],
    ids=["in the input", "in a result", "in every result"],
)
async def test_a_large_value_is_kept_once_however_many_checkpoints_hold_it(
    stage: Stage, saver: SqliteCheckpoints, spec: Any
) -> None:
    state = await stage.graph(spec, saver).ainvoke({"x": LARGE}, config())
    assert (await stage.graph(spec, saver).aget_state(config())).values["results"] == state["results"]
    assert room(saver) < MEGABYTE


@pytest.mark.slow
async def test_a_run_of_a_thousand_steps_takes_less_than_ten_megabytes(stage: Stage, saver: SqliteCheckpoints) -> None:
    await stage.graph(chain(1000, 1, "{{ 1 }}"), saver).ainvoke({}, config())
    assert room(saver) < 10 * MEGABYTE


async def test_every_checkpoint_of_a_history_is_whole_and_in_order(stage: Stage, saver: SqliteCheckpoints) -> None:
    spec = chain(70, "{{ input.x }}", "{{ before }}", **GIVEN)
    state = await stage.graph(spec, saver).ainvoke({"x": LARGE[:3000]}, config())
    history = [each.values async for each in stage.graph(spec, saver).aget_state_history(config())]
    assert len(history) > 70
    for values in history:
        settled = len(values.get("path", []))
        assert list(values.get("results", {})) == list(values.get("nodes", {})) == [f"n{i}" for i in range(settled)]
        assert values.get("path", []) == state["path"][:settled]
        assert set(values.get("results", {}).values()) <= {LARGE[:3000]}


def test_values_of_all_kinds_come_back_as_a_plain_saver_gives_them(tmp_path: Path, saver: SqliteCheckpoints) -> None:
    plain = SqliteSaver(sqlite3.connect(tmp_path / "plain.sqlite", check_same_thread=False), serde=strict_serde())
    many = {f"k{i}": [i, {"deep": LARGE[: i * 40]}] for i in range(700)}
    odd = {"": None, "z": b"\0bytes" * 500, "a": (1, "two"), "é": float("inf"), "true": True, "one": 1}
    values = {"many": many, "odd": odd, "list": list(many.values()), "text": LARGE, "none": None, "ints": {1: LARGE}}
    previous: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    for left in (700, 3, 690, 0):
        checkpoint = {**empty_checkpoint(), "channel_values": {**values, "many": dict(list(many.items())[:left])}}
        checkpoint["channel_versions"] = dict.fromkeys(many, f"{left}.5")
        checkpoint["versions_seen"] = {name: {"x": f"{left}.5"} for name in odd}
        for each in (saver, plain):
            each.put(previous, checkpoint, {}, {})  # type: ignore[arg-type]
            each.put_writes(
                {"configurable": {**previous["configurable"], "checkpoint_id": checkpoint["id"]}},
                [*odd.items()],
                "task",
            )
        ours, theirs = saver.get_tuple(previous), plain.get_tuple(previous)
        assert ours is not None and theirs is not None
        assert repr(ours) == repr(theirs)


async def test_a_file_from_before_checkpoints_were_folded_is_read_and_gone_on_with(
    tmp_path: Path, stage: Stage
) -> None:
    path = tmp_path / "old.sqlite"
    spec = {
        "nodes": {
            "a": do(LARGE),
            "q": ask(form={"name": {"type": "string"}}, depends_on=["a"]),
            "b": do("{{ a }}", depends_on=["q"]),
        },
        "output": "{{ b }}",
    }
    async with AsyncSqliteSaver.from_conn_string(str(path)) as plain:
        await stage.graph(spec, plain).ainvoke({}, config())
    with SqliteCheckpoints(path) as saver:
        assert saver.conn.execute("SELECT DISTINCT type FROM checkpoints").fetchall() == [("msgpack",)]
        graph = stage.graph(spec, saver)
        assert (await graph.ainvoke(answer({"name": "x"}), config()))["output"] == LARGE
    assert stage.paths() == ["a", "b"]


# -- what is given back --------------------------------------------------------------------------------------------------


async def test_pruning_keeps_the_latest_checkpoint_whole_and_collects_the_rest(
    stage: Stage, saver: SqliteCheckpoints
) -> None:
    graph = stage.graph(chain(40, "{{ input.x }}", "{{ 1 }}", **GIVEN), saver)
    await graph.ainvoke({"x": LARGE}, config())
    await graph.ainvoke({"x": LARGE[::-1]}, config())
    await graph.ainvoke({"x": LARGE[::-1]}, config("other"))
    before, kept, other = await graph.aget_state(config()), pieces(saver), pieces(saver, "other")
    await saver.aprune(["t"], strategy="keep_latest")
    after = await graph.aget_state(config())
    assert after.values == before.values
    assert [each async for each in graph.aget_state_history(config())] == [after]
    large = "SELECT count(*) FROM blobs WHERE thread_id = 't' AND length(data) > 40000"
    assert saver.conn.execute(large).fetchone() == (1,)
    assert 0 < pieces(saver) < kept
    assert pieces(saver, "other") == other
    state = await graph.ainvoke({"x": LARGE}, config())
    assert state["run"]["status"] == "completed"
    assert (await graph.aget_state(config())).values["results"] == state["results"]


async def test_what_another_process_removed_is_written_again(stage: Stage, saver: SqliteCheckpoints) -> None:
    graph = stage.graph(chain(40, "{{ input.x }}", "{{ 1 }}", **GIVEN), saver)
    await graph.ainvoke({"x": LARGE}, config())
    with SqliteCheckpoints(saver.path) as other:
        other.delete_thread("t")
        assert pieces(saver) == 0
    state = await graph.ainvoke({"x": LARGE}, config())
    with SqliteCheckpoints(saver.path) as other:
        assert stage.graph(chain(40, "{{ input.x }}", "{{ 1 }}", **GIVEN), other).get_state(config()).values == state


async def test_a_deleted_thread_leaves_nothing(stage: Stage, saver: SqliteCheckpoints) -> None:
    graph = stage.graph(chain(40, "{{ input.x }}", "{{ before }}", **GIVEN), saver)
    await graph.ainvoke({"x": LARGE}, config())
    await saver.aprune(["t"], strategy="delete")
    for table in ("checkpoints", "writes", "blobs", "calls", "requests"):
        assert saver.conn.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


async def test_a_copied_thread_is_whole_when_its_source_is_gone(stage: Stage, saver: SqliteCheckpoints) -> None:
    graph = stage.graph(chain(40, "{{ input.x }}", "{{ before }}", **GIVEN), saver)
    state = await graph.ainvoke({"x": LARGE}, config())
    await saver.acopy_thread("t", "copy")
    await saver.adelete_thread("t")
    assert (await graph.aget_state(config("copy"))).values["results"] == state["results"]


# -- what was altered ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM blobs",
        "UPDATE blobs SET data = zeroblob(length(data))",
        "UPDATE blobs SET data = substr(data, 1, length(data) - 3)",
        "UPDATE blobs SET data = (SELECT other.data FROM blobs AS other WHERE other.hash <> blobs.hash)",
        "UPDATE checkpoints SET checkpoint = substr(checkpoint, 1, 40)",
        "UPDATE checkpoints SET checkpoint = CAST('msgpack' AS BLOB)",
        "UPDATE checkpoints SET checkpoint = x'6d73677061636b00c0'",
    ],
)
async def test_an_altered_piece_is_named_and_never_read(stage: Stage, saver: SqliteCheckpoints, damage: str) -> None:
    graph = stage.graph(chain(40, "{{ input.x }}", "{{ 1 }}", **GIVEN), saver)
    await graph.ainvoke({"x": LARGE}, config("my-thread"))
    saver.conn.execute(damage)
    saver.conn.commit()
    with pytest.raises(StoreError, match=r"thread 'my-thread' in .*c\.sqlite cannot be used"):
        await graph.aget_state(config("my-thread"))
    with pytest.raises(StoreError, match="my-thread"):
        await graph.ainvoke({}, config("my-thread"))
    await saver.adelete_thread("my-thread")
    assert (await graph.ainvoke({"x": "y"}, config("my-thread")))["run"]["status"] == "completed"
