"""The checkpoint file: durable, private, strict in what it revives, patient, and usable from anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Command, Interrupt, Send

from cogwork.app import app
from cogwork.settings import Settings
from cogwork.store.checkpoints import SqliteCheckpoints, StoreError, strict_serde
from cogwork.tools.function import tool
from graphs.graph import WorkflowGraph

HOUSE = Path(__file__).resolve().parent.parent
CONFIG: Any = {"configurable": {"thread_id": "t"}}
CHAIN = """
cogwork: v1
name: chain
nodes:
  one: {type: tool, tool: test.pass, args: {value: 1}}
  two: {type: tool, tool: test.pass, args: {value: "{{ one + 1 }}"}}
  three: {type: tool, tool: test.pass, args: {value: "{{ two + 1 }}"}}
output: "{{ three }}"
"""
ASKING = """
cogwork: v1
name: asking
nodes:
  ask: {type: human, ask: "Which?", form: {name: {type: string}}}
  told: {type: transform, set: "{{ ask.name }}!"}
output: "{{ told }}"
"""


@tool(name="test.pass", effect="read")
def passed(value: Any) -> Any:
    """Give what was given."""
    return value


def graph(source: str, saver: Any) -> WorkflowGraph:
    return app(tools=[passed]).compile(source, checkpointer=saver)


def python(code: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new process."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(HOUSE), **more}
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)


# -- durability --------------------------------------------------------------------------------------------------------

KILLED = """
import asyncio, os, signal, sys
from cogwork.app import app
from cogwork.store.checkpoints import SqliteCheckpoints
from cogwork.tools.function import tool

@tool(name="test.pass", effect="read")
async def passed(value: object) -> object:
    "Give what was given; the third call kills the process."
    if value == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return value

path, how, durability, source = sys.argv[1:]
graph = app(tools=[passed]).compile(source, checkpointer=SqliteCheckpoints(path))
config, options = {"configurable": {"thread_id": "t"}}, {} if durability == "unsaid" else {"durability": durability}
if how == "invoke":
    graph.invoke({}, config, **options)
elif how == "ainvoke":
    asyncio.run(graph.ainvoke({}, config, **options))
else:
    list(graph.stream({}, config, **options))
"""


@pytest.mark.req("D4", "X5")
@pytest.mark.parametrize("durability", ["exit", "async", "unsaid"])
@pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream"])
def test_what_was_done_is_on_disk_whatever_durability_the_caller_asks_for(
    tmp_path: Path, how: str, durability: str
) -> None:
    path = tmp_path / "c.sqlite"
    assert python(KILLED, str(path), how, durability, CHAIN).returncode == -signal.SIGKILL
    with SqliteCheckpoints(path) as saver:
        state = graph(CHAIN, saver).get_state(CONFIG)
        assert state.values["results"] == {"one": 1, "two": 2}
        assert graph(CHAIN, saver).invoke(None, CONFIG)["output"] == 3


def test_a_power_cut_is_survived_unless_the_settings_say_otherwise(tmp_path: Path) -> None:
    def synchronous(saver: SqliteCheckpoints) -> int:
        with saver:
            return int(saver.conn.execute("PRAGMA synchronous").fetchone()[0])

    full, normal = 2, 1
    assert synchronous(SqliteCheckpoints(tmp_path / "a.sqlite")) == full
    assert synchronous(SqliteCheckpoints(tmp_path / "b.sqlite", synchronous="NORMAL")) == normal
    assert synchronous(app(Settings(state_dir=tmp_path / "c")).checkpoints()) == full
    assert synchronous(app(Settings(state_dir=tmp_path / "d", synchronous="NORMAL")).checkpoints()) == normal


def test_the_journal_is_written_ahead(tmp_path: Path) -> None:
    with SqliteCheckpoints(tmp_path / "c.sqlite") as saver:
        graph(CHAIN, saver).invoke({}, CONFIG)
        assert saver.conn.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


# -- who may read ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_only_the_owner_may_read_the_file_and_its_journal(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with SqliteCheckpoints(tmp_path / "new" / "c.sqlite") as saver:
            graph(CHAIN, saver).invoke({}, CONFIG)
            files = [path for path in (tmp_path / "new").iterdir() if path.is_file()]
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files}
    finally:
        os.umask(before)
    assert modes == {"c.sqlite": 0o600, "c.sqlite-wal": 0o600, "c.sqlite-shm": 0o600}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    path.touch(0o644)
    SqliteCheckpoints(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# -- what is revived ---------------------------------------------------------------------------------------------------


def _crafted(code: int, *content: Any) -> bytes:
    """The bytes by which LangGraph's serialiser means: build this object, or call this function."""
    return ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(content)))


def test_the_crafted_bytes_of_these_tests_do_run_where_nothing_is_strict(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    lax = JsonPlusSerializer(allowed_msgpack_modules=True)
    lax.loads_typed(("msgpack", _crafted(0, "posix", "system", f"touch {mark}")))
    assert mark.exists()


@pytest.mark.parametrize("kind", range(8))
def test_bytes_that_name_a_function_call_nothing(tmp_path: Path, kind: int) -> None:
    mark = tmp_path / "mark"
    command = f"touch {mark}"
    for argument in (command, [command], {"command": command}):
        for more in ((), ({},), ("x",)):
            with contextlib.suppress(ValueError, TypeError, IndexError):  # refusing is as good as plain data
                strict_serde().loads_typed(("msgpack", _crafted(kind, "posix", "system", argument, *more)))
            assert not mark.exists()


@pytest.mark.parametrize("folded", [True, False])
def test_a_crafted_checkpoint_gives_plain_data_and_runs_nothing(tmp_path: Path, folded: bool) -> None:
    path, mark = tmp_path / "c.sqlite", tmp_path / "mark"
    with SqliteCheckpoints(path) as saver:
        graph(CHAIN, saver).invoke({}, CONFIG)
        kind, blob = saver.conn.execute("SELECT type, checkpoint FROM checkpoints ORDER BY 1 DESC LIMIT 1").fetchone()
        before, _, outline = blob.partition(b"\0")
        checkpoint = ormsgpack.unpackb(outline, ext_hook=lambda code, data: ormsgpack.Ext(code, data))
        evil = ormsgpack.Ext(0, ormsgpack.packb(("posix", "system", f"touch {mark}")))
        checkpoint["channel_values"]["output"] = ["v", evil]
        if not folded:
            whole = strict_serde().dumps_typed(saver.get_tuple(CONFIG).checkpoint)[1]
            checkpoint = ormsgpack.unpackb(whole, ext_hook=lambda code, data: ormsgpack.Ext(code, data))
            checkpoint["channel_values"]["output"] = evil
        crafted = b"msgpack\0" * folded + ormsgpack.packb(checkpoint)
        values = ("folded" if folded else "msgpack", crafted)
        saver.conn.execute("UPDATE checkpoints SET type = ?, checkpoint = ?", values)
        saver.conn.commit()
        assert (kind, before) == ("folded", b"msgpack")
    with SqliteCheckpoints(path) as saver:
        state = graph(CHAIN, saver).get_state(CONFIG)
    assert not mark.exists()
    assert not callable(state.values.get("output"))


def test_pickles_are_not_read() -> None:
    import pickle

    with pytest.raises(NotImplementedError):
        strict_serde().loads_typed(("pickle", pickle.dumps({"a": 1})))


def test_json_that_names_a_constructor_builds_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    crafted = f'{{"lc": 2, "type": "constructor", "id": ["os", "system"], "args": ["touch {mark}"], "kwargs": {{}}}}'
    loaded = strict_serde().loads_typed(("json", crafted.encode()))
    assert not mark.exists() and isinstance(loaded, dict)


def test_strictness_is_on_before_langgraph_is_imported() -> None:
    shown = python("import cogwork, os; print(os.environ['LANGGRAPH_STRICT_MSGPACK'])")
    assert shown.stdout.strip() == "true", shown.stderr


def test_messages_questions_and_sends_come_back_as_they_were() -> None:
    serde = strict_serde()
    kept = [
        HumanMessage("hello", id="1"),
        AIMessage("hi", id="2", tool_calls=[{"name": "f", "args": {"x": 1}, "id": "c"}]),
        ToolMessage("3", tool_call_id="c", id="3"),
        SystemMessage("be brief", id="4"),
        Interrupt(value={"at": "ask", "form": {"type": "object"}}, id="i", response_schema={"type": "object"}),
        Send("ask", {"ask": "each[1].ask"}),
    ]
    assert serde.loads_typed(serde.dumps_typed(kept)) == kept
    assert serde.loads_typed(serde.dumps_typed(("a", {"b": [1, 2.5, None, True, "ü"]}))) is not None


# -- busy, broken, wrong -----------------------------------------------------------------------------------------------


def test_a_file_that_another_process_writes_to_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with SqliteCheckpoints(path) as saver:
        graph(ASKING, saver).invoke({}, CONFIG)
        holder = """
        import sqlite3, sys, time
        held = sqlite3.connect(sys.argv[1], isolation_level=None)
        held.execute("BEGIN IMMEDIATE")
        print("held", flush=True)
        time.sleep(2)
        held.execute("COMMIT")
        """
        command = [sys.executable, "-c", textwrap.dedent(holder), str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None and other.stdout.readline() == "held\n"
            with SqliteCheckpoints(path) as opened_meanwhile:
                state = graph(ASKING, opened_meanwhile).invoke(Command(resume={"name": "tea"}), CONFIG)
            assert other.wait(120) == 0
    assert state["output"] == "tea!"


def test_a_file_that_is_no_database_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are notes, " * 100)
    with pytest.raises(StoreError, match=r"notes\.txt cannot be used: .*not a database.*Name another"):
        SqliteCheckpoints(path)
    assert path.read_text().startswith("these are notes")


def test_a_database_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE checkpoints (name TEXT)")
    with pytest.raises(StoreError, match=r"other\.sqlite cannot be used"):
        SqliteCheckpoints(path)


def test_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"{tmp_path.name} cannot be used"):
        SqliteCheckpoints(tmp_path)


def test_a_path_below_a_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"c\.sqlite cannot be used"):
        SqliteCheckpoints(tmp_path / "file" / "c.sqlite")


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs a file system that nobody may write to")
def test_a_place_that_cannot_be_written_is_refused_by_name() -> None:
    with pytest.raises(StoreError, match="cannot be used"):
        SqliteCheckpoints("/proc/self/c.sqlite")


# -- used from anywhere ------------------------------------------------------------------------------------------------


def test_one_saver_serves_several_event_loops_and_threads(tmp_path: Path) -> None:
    with SqliteCheckpoints(tmp_path / "c.sqlite", synchronous="NORMAL") as saver:
        flow = graph(CHAIN, saver)

        def in_a_loop_of_its_own(number: int) -> Any:
            return asyncio.run(flow.ainvoke({}, {"configurable": {"thread_id": f"loop-{number}"}}))["output"]

        def from_a_thread(number: int) -> Any:
            return flow.invoke({}, {"configurable": {"thread_id": f"thread-{number}"}})["output"]

        with ThreadPoolExecutor(8) as pool:
            outputs = [*pool.map(in_a_loop_of_its_own, range(8)), *pool.map(from_a_thread, range(8))]
        assert outputs == [3] * 16
        assert len(list(saver.threads())) == 16


async def test_the_history_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    with SqliteCheckpoints(tmp_path / "c.sqlite", synchronous="NORMAL") as saver:
        flow = graph(CHAIN, saver)
        seen: list[int] = []
        async for _ in flow.astream({}, CONFIG, stream_mode="updates"):
            found = 0
            async for snapshot in flow.aget_state_history(CONFIG):
                found += 1
                assert await flow.aget_state(snapshot.config) is not None
            seen.append(found)
        assert len(seen) == 3 and seen == sorted(seen) and seen[-1] > seen[0]
        assert (await flow.aget_state(CONFIG)).values["output"] == 3


async def test_a_slow_disk_does_not_hold_up_the_event_loop(tmp_path: Path) -> None:
    with SqliteCheckpoints(tmp_path / "c.sqlite") as saver:
        door = threading.Event()
        saver.conn.create_function("wait", 0, lambda: door.wait(120) and 1)

        def slow(config: Any) -> None:
            with saver.lock:
                saver.conn.execute("SELECT wait()").fetchone()

        saver.get_tuple = slow  # type: ignore[assignment,method-assign]
        waiting = asyncio.create_task(saver.aget_tuple(CONFIG))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not waiting.done()
        door.set()
        assert await waiting is None


@pytest.mark.req("D4")
def test_a_run_paused_in_one_process_is_resumed_in_another(tmp_path: Path) -> None:
    code = """
    import sys
    from langgraph.types import Command
    import cogwork
    graph = cogwork.compile(sys.argv[2], checkpointer=sys.argv[1])
    given = {} if sys.argv[3] == "" else Command(resume={"name": sys.argv[3]})
    state = graph.invoke(given, {"configurable": {"thread_id": "t"}})
    asked = [question.value["ask"] for question in state.get("__interrupt__", [])]
    print(asked, state.get("output"), state["run"]["id"])
    """
    path = str(tmp_path / "c.sqlite")
    paused = python(code, path, ASKING, "")
    resumed = python(code, path, ASKING, "tea")
    assert paused.stdout.startswith("['Which?'] None "), paused.stderr
    assert resumed.stdout.startswith("[] tea! "), resumed.stderr
    assert paused.stdout.split()[-1] == resumed.stdout.split()[-1]


def test_a_rolled_back_run_is_forgotten_and_the_run_before_it_stays(tmp_path: Path) -> None:
    with SqliteCheckpoints(tmp_path / "c.sqlite") as saver:
        flow = graph(CHAIN, saver)

        def called(run_id: str) -> Any:
            return flow.invoke({}, {**CONFIG, "metadata": {"run_id": run_id}})["run"]["id"]

        first, second = called("r1"), called("r2")
        assert flow.get_state(CONFIG).values["run"]["id"] == second
        saver.delete_for_runs(["r2"])
        assert flow.get_state(CONFIG).values["run"]["id"] == first
        assert flow.invoke({}, CONFIG)["output"] == 3
