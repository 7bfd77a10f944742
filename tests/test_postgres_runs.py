"""Runs whose checkpoints are in PostgreSQL: from process to process, killed, contended, and with the server restarted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg")

from langgraph.types import Command

from cogwork.app import app
from cogwork.store.checkpoints import SqliteCheckpoints
from cogwork.store.postgres import PostgresCheckpoints
from cogwork.tools.function import tool
from state.durable import RecordedCall
from state.errors import CogworkError, Owned
from state.services import CallContext
from tests import clusters

HOUSE = Path(__file__).resolve().parent.parent
CONFIG: Any = {"configurable": {"thread_id": "t"}}
SPEC = """
cogwork: v1
name: paying
nodes:
  a: {type: tool, tool: work.do, args: {value: 1}}
  b: {type: tool, tool: work.do, args: {value: "{{ a + 1 }}", gate: true}}
  ask: {type: human, ask: "Pay {{ b }}?", form: {ok: {type: boolean}}}
  c: {type: tool, tool: work.do, args: {value: "{{ b + 1 }}", said: "{{ ask.ok }}"}}
output: "{{ c }}"
"""
CHILD = """
import asyncio, json, os, sys
from pathlib import Path
from langgraph.types import Command
from cogwork.app import app
from cogwork.settings import Settings
from cogwork.tools.function import tool
from state.errors import NotResumable
from state.services import CallContext

folder, how, spec = sys.argv[1:]

@tool(name="work.do", effect="write", idempotent=True)
async def do(context: CallContext, value: int, gate: bool = False, said: bool = False) -> int:
    "Leave a line in the ledger, and wait for the gate to open."
    with open(Path(folder) / "ledger", "a") as ledger:
        ledger.write(context.step + chr(10))
    while gate and not (Path(folder) / "gate").exists():
        await asyncio.sleep(0.01)
    return value

async def main():
    made = app(Settings(state_dir=Path(folder)), tools=[do])
    given = {"begin": {}, "resume": None, "answer": Command(resume={"ok": True})}[how]
    with made.checkpoints() as saver:
        graph = made.compile(spec, checkpointer=saver)
        state = await graph.ainvoke(given, {"configurable": {"thread_id": "t"}})
    print(json.dumps({"asked": "__interrupt__" in state, "output": state.get("output")}))

try:
    asyncio.run(main())
except NotResumable as err:
    print(json.dumps(type(err).__name__))
"""


class Process:
    """A process that drives the run of thread ``t`` once: ``begin``, ``resume`` or ``answer``."""

    def __init__(self, folder: Path, url: str, how: str) -> None:
        self.folder = folder
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(HOUSE), "COGWORK_DATABASE_URL": url}
        command = [sys.executable, "-c", textwrap.dedent(CHILD), str(folder), how, SPEC]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)

    def said(self) -> str:
        output, errors = self.process.communicate(timeout=120)
        assert output, errors
        return output.strip()

    def at(self, step: str) -> None:
        """Wait until the step has begun."""
        while step not in ledger(self.folder):
            assert self.process.poll() is None, self.process.communicate()[1]
            time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def ledger(folder: Path) -> Counter[str]:
    path = folder / "ledger"
    return Counter(path.read_text().split()) if path.exists() else Counter()


@pytest.fixture
def url() -> Iterator[str]:
    with clusters.schema() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgres"])
def kept(request: pytest.FixtureRequest) -> Iterator[str]:
    """What ``COGWORK_DATABASE_URL`` is to be: an address, or nothing for the SQLite file of the folder."""
    if request.param == "sqlite":
        yield ""
    else:
        with clusters.schema() as address:
            yield address


ASKED, DONE = '{"asked": true, "output": null}', '{"asked": false, "output": 3}'


@pytest.mark.req("D4", "X5", "R5")
def test_a_run_pauses_at_a_person_and_goes_on_in_another_process(tmp_path: Path, url: str) -> None:
    (tmp_path / "gate").touch()
    assert Process(tmp_path, url, "begin").said() == ASKED
    assert Process(tmp_path, url, "answer").said() == DONE
    assert ledger(tmp_path) == {"a": 1, "b": 1, "c": 1}
    assert not (tmp_path / "checkpoints.sqlite").exists()


@pytest.mark.req("D4", "X5", "R5")
def test_a_run_whose_process_was_killed_is_taken_over_and_repeats_nothing_finished(tmp_path: Path, url: str) -> None:
    killed = Process(tmp_path, url, "begin")
    killed.at("b")
    killed.kill()
    (tmp_path / "gate").touch()
    assert Process(tmp_path, url, "resume").said() == ASKED
    assert Process(tmp_path, url, "answer").said() == DONE
    assert ledger(tmp_path) == {"a": 1, "b": 2, "c": 1}


@pytest.mark.req("D4", "X5", "R5")
def test_of_two_processes_that_resume_one_run_one_works_and_the_other_is_told(tmp_path: Path, kept: str) -> None:
    _skipped_without_ownership(tmp_path)
    first = Process(tmp_path, kept, "begin")
    first.at("b")
    assert Process(tmp_path, kept, "resume").said() == '"Owned"'
    (tmp_path / "gate").touch()
    assert first.said() == ASKED
    assert ledger(tmp_path) == {"a": 1, "b": 1}


def _skipped_without_ownership(folder: Path) -> None:
    """Skip as long as graphs do not take the ownership that stores offer."""

    async def free() -> bool:
        with SqliteCheckpoints(folder / "probe.sqlite") as saver:
            if not hasattr(saver, "owners"):
                return True
            async with saver.owners.held("t"):
                with contextlib.suppress(Owned):
                    await (
                        app()
                        .compile("cogwork: v1\nname: x\nnodes: {a: {type: transform, set: 1}}", checkpointer=saver)
                        .ainvoke({}, CONFIG)
                    )
                    return True
        return False

    if asyncio.run(free()):
        pytest.skip("graphs do not take ownership yet")


# -- the server restarted ----------------------------------------------------------------------------------------------

WIDE = """
cogwork: v1
name: wide
nodes:
  before: {type: tool, tool: work.do, args: {value: 0}}
  one: {type: tool, tool: work.do, args: {value: "{{ before + 1 }}"}}
  two: {type: tool, tool: work.do, args: {value: "{{ before + 2 }}", crash: true}}
  three: {type: tool, tool: work.do, args: {value: "{{ before + 3 }}"}}
  after: {type: tool, tool: work.do, args: {value: "{{ one + two + three }}", crash: true}}
  end: {type: tool, tool: work.do, args: {value: "{{ after * 2 }}"}}
output: "{{ end }}"
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[clusters.Cluster]:
    with clusters.cluster() as made:
        yield made


@pytest.mark.req("D4", "X5", "R5")
async def test_a_run_goes_on_when_the_server_crashes_and_comes_back_and_repeats_no_step(
    cluster: clusters.Cluster,
) -> None:
    done: list[str] = []
    restarts: list[threading.Thread] = []

    @tool(name="work.do", effect="write", idempotent=True)
    async def do(context: CallContext, value: int, crash: bool = False) -> int:
        """Do it; the server may be gone when it is done."""
        done.append(context.step)
        if crash:
            await asyncio.to_thread(cluster.stop)
            restarts.append(threading.Thread(target=cluster.start))
            restarts[-1].start()
        return value

    with PostgresCheckpoints(cluster.url, patience=120) as saver:
        state = await app(tools=[do]).compile(WIDE, checkpointer=saver).ainvoke({}, CONFIG)
        for restart in restarts:
            restart.join()
        assert state["output"] == 12
        assert Counter(done) == dict.fromkeys(["before", "one", "two", "three", "after", "end"], 1)
        assert len(restarts) == 2
    with PostgresCheckpoints(cluster.url) as saver:
        assert (await app(tools=[do]).compile(WIDE, checkpointer=saver).aget_state(CONFIG)).values["output"] == 12


@pytest.mark.req("D4", "R5")
async def test_an_owner_keeps_its_run_when_the_server_crashes_and_comes_back(cluster: clusters.Cluster) -> None:
    call = RecordedCall(key="r:a:0", run="r", step="a", target="x", effect="write", repeatable=False)
    with PostgresCheckpoints(cluster.url, ttl=600) as owner, PostgresCheckpoints(cluster.url, ttl=600) as other:
        async with owner.owners.held("kept"):
            await asyncio.to_thread(cluster.stop)
            await asyncio.to_thread(cluster.start)
            with pytest.raises(Owned):
                async with other.owners.held("kept"):
                    raise AssertionError("taken from an owner that lives")
            await owner.calls.keep("kept", call)
            with pytest.raises(Owned):
                await other.calls.keep("kept", call)
        async with other.owners.held("kept"):
            assert set(await other.calls.of_run("kept", "r")) == {"r:a:0"}


async def test_a_server_that_stays_away_ends_in_a_sentence_and_the_run_goes_on_later(cluster: clusters.Cluster) -> None:
    cogwork = app(tools=[])
    spec = "cogwork: v1\nname: x\nnodes:\n  ask: {type: human, ask: Well?, form: {ok: {type: boolean}}}\noutput: '{{ ask.ok }}'"
    config: Any = {"configurable": {"thread_id": "later"}}
    with PostgresCheckpoints(cluster.url, patience=0.5) as saver:
        graph = cogwork.compile(spec, checkpointer=saver)
        await graph.ainvoke({}, config)
        await asyncio.to_thread(cluster.stop)
        with pytest.raises(
            CogworkError, match=r"the PostgreSQL database 'postgres' at 127.0.0.1:\d+ failed.*resume the run"
        ):
            await graph.ainvoke(Command(resume={"ok": True}), config)
        await asyncio.to_thread(cluster.start)
    with PostgresCheckpoints(cluster.url, patience=30) as saver:
        state = await cogwork.compile(spec, checkpointer=saver).ainvoke(Command(resume={"ok": True}), config)
        assert state["output"] is True
