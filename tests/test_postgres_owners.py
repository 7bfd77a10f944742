"""Owners in PostgreSQL, in real processes: frozen, woken, killed, cut off; none of them writes to a run that is not its own."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg")

import psycopg
from langgraph.checkpoint.base import empty_checkpoint

from cogwork.store.postgres import PostgresCheckpoints
from cogwork.store.postgres_standing import Claim, standing
from state.durable import RecordedCall
from state.errors import Owned
from tests import clusters

HOUSE = Path(__file__).resolve().parent.parent
CONFIG: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
SOON, NEVER = 1.0, 3600.0
"""Seconds until a missing beat counts: soon enough for a test, or so late that only the lock can tell."""
CHILD = """
import asyncio, signal, sys, threading
from langgraph.checkpoint.base import empty_checkpoint
from cogwork.store.postgres import PostgresCheckpoints
from state.durable import RecordedCall
from state.errors import Owned

CONFIG = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
CALL = RecordedCall(key="r:a:0", run="r", step="a", target="x", effect="write", repeatable=False)

async def written(saver):
    yield "put", saver.aput(CONFIG, empty_checkpoint(), {"source": "loop", "step": 1, "parents": {}}, {})
    config = {"configurable": {**CONFIG["configurable"], "checkpoint_id": empty_checkpoint()["id"]}}
    yield "put_writes", saver.aput_writes(config, [("x", 1)], "task")
    yield "keep", saver.calls.keep("t", CALL)

class Stopping:
    "Stops its process between the proof and the commit, once told to."
    armed, owners = False, None
    def prove(self, cursor, thread):
        self.owners.prove(cursor, thread)
        if self.armed:
            self.armed = False
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # at once: another thread would take its time

async def main(url, ttl):
    stopping = Stopping()
    with PostgresCheckpoints(url, ttl=float(ttl), proof=stopping) as saver:
        stopping.owners = saver.owners
        async with saver.owners.held("t"):
            print("held", flush=True)
            for line in sys.stdin:
                stopping.armed = line.strip() == "stop within"
                said = []
                async for name, writing in written(saver):
                    try:
                        await writing
                        said.append(name)
                    except Owned:
                        said.append("refused")
                print(*said, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


class Child:
    """A process that owns the thread ``t`` and writes to it when told."""

    def __init__(self, url: str, ttl: float) -> None:
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(HOUSE)}
        command = [sys.executable, "-c", textwrap.dedent(CHILD), url, str(ttl)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)
        assert self.said() == "held"

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def writes(self) -> str:
        self.tell("write")
        return self.said()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        self.stopped()

    def stopped(self) -> None:
        os.waitpid(self.process.pid, os.WUNTRACED)


@pytest.fixture
def url() -> Iterator[str]:
    with clusters.schema() as address:
        yield address


@contextlib.contextmanager
def child(url: str, ttl: float) -> Iterator[Child]:
    made = Child(url, ttl)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


async def put(saver: PostgresCheckpoints) -> None:
    await saver.aput(CONFIG, empty_checkpoint(), {"source": "loop", "step": 1, "parents": {}}, {})


@contextlib.asynccontextmanager
async def taken(saver: PostgresCheckpoints) -> Any:
    """Own the thread as soon as it can be had."""
    async with contextlib.AsyncExitStack() as held:
        for _ in range(60):
            with contextlib.suppress(Owned):
                await held.enter_async_context(saver.owners.held("t"))
                break
        else:
            raise AssertionError("never taken over")
        yield


ALL = "put put_writes keep"
REFUSED = "refused refused refused"


@pytest.mark.req("D4", "R5")
async def test_a_frozen_owner_loses_its_run_and_is_refused_when_it_wakes(url: str) -> None:
    with child(url, SOON) as frozen, PostgresCheckpoints(url, ttl=SOON) as saver:
        assert frozen.writes() == ALL
        with pytest.raises(Owned):
            async with saver.owners.held("t"):
                raise AssertionError("taken from an owner that beats")
        frozen.stop()
        async with taken(saver):
            await put(saver)
            frozen.process.send_signal(signal.SIGCONT)
            assert frozen.writes() == REFUSED
            await put(saver)
            assert saver.owners.alive("t")
        assert len(list(saver.list(CONFIG))) == 3
        assert frozen.writes() == REFUSED


@pytest.mark.req("D4", "R5")
async def test_an_owner_frozen_between_its_proof_and_its_commit_neither_blocks_the_next_one_nor_writes(
    url: str,
) -> None:
    with child(url, SOON) as frozen, PostgresCheckpoints(url, ttl=SOON) as saver:
        frozen.tell("stop within")
        frozen.stopped()
        async with taken(saver):
            await put(saver)
            frozen.process.send_signal(signal.SIGCONT)
            assert frozen.said() == REFUSED
        assert len(list(saver.list(CONFIG))) == 1


@pytest.mark.req("D4", "R5")
async def test_a_killed_owner_is_followed_at_once(url: str) -> None:
    with child(url, NEVER) as killed, PostgresCheckpoints(url, ttl=NEVER) as saver:
        assert killed.writes() == ALL
        assert saver.owners.alive("t")
        killed.process.kill()
        killed.process.wait()
        async with saver.owners.held("t"):
            await put(saver)


@pytest.mark.req("D4", "R5")
async def test_only_the_owner_writes_while_it_lives_and_anybody_once_it_is_gone(url: str) -> None:
    with child(url, NEVER) as owner, PostgresCheckpoints(url, ttl=NEVER) as saver:
        with pytest.raises(Owned):
            await put(saver)
        with pytest.raises(Owned):
            await saver.adelete_thread("t")
        with pytest.raises(Owned):
            await saver.acopy_thread("another", "t")
        call = RecordedCall(key="r:a:0", run="r", step="a", target="x", effect="write", repeatable=False)
        with pytest.raises(Owned):
            await saver.calls.keep("t", call)
        assert not list(saver.list(CONFIG))
        owner.process.kill()
        owner.process.wait()
        for _ in range(200):  # The server notices the end of a process by its socket.
            if not saver.owners.alive("t"):
                break
            await asyncio.sleep(0.05)
        await put(saver)


@pytest.mark.req("D4", "R5")
async def test_a_frozen_owner_is_cut_off_by_whoever_changes_the_state_by_hand(url: str) -> None:
    with child(url, SOON) as frozen, PostgresCheckpoints(url, ttl=SOON) as saver:
        frozen.stop()
        for _ in range(600):
            with contextlib.suppress(Owned):
                await put(saver)
                break
            await asyncio.sleep(0.05)
        frozen.process.send_signal(signal.SIGCONT)
        assert frozen.writes() == REFUSED
        assert len(list(saver.list(CONFIG))) == 1


@pytest.mark.req("D4", "R5")
async def test_an_owner_whose_connections_are_cut_goes_on_where_nobody_else_came(url: str) -> None:
    with PostgresCheckpoints(url, ttl=NEVER) as saver, PostgresCheckpoints(url, ttl=NEVER) as other:
        async with saver.owners.held("t"):
            await put(saver)
            with psycopg.connect(url, autocommit=True) as admin:
                admin.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = "
                    "(select holder from cogwork_owners where thread = 't')"
                )
            await put(saver)
            for _ in range(600):  # Until a beat has taken the lock back.
                if other.owners.alive("t"):
                    break
                await asyncio.sleep(0.05)
            with pytest.raises(Owned):
                async with other.owners.held("t"):
                    raise AssertionError("taken from an owner that lives")
            await put(saver)


async def test_a_copy_of_the_saver_owns_what_the_saver_owns(url: str) -> None:
    with PostgresCheckpoints(url) as saver, PostgresCheckpoints(url) as other:
        async with saver.owners.held("t"):
            await put(copy.copy(saver))
            with pytest.raises(Owned):
                await put(copy.copy(other))


async def test_ownership_may_be_proven_by_something_else(url: str) -> None:
    class Queue:
        def prove(self, cursor: Any, thread: str) -> None:
            if cursor.execute("select %s = 'mine' as it", (thread,)).fetchone()["it"] is not True:
                raise Owned(thread)

    with PostgresCheckpoints(url, proof=Queue()) as saver:
        mine: Any = {"configurable": {"thread_id": "mine", "checkpoint_ns": ""}}
        await saver.aput(mine, empty_checkpoint(), {"source": "loop", "step": 1, "parents": {}}, {})
        with pytest.raises(Owned):
            await put(saver)


@pytest.mark.parametrize(
    ("free", "age", "same_server", "stands"),
    [
        (True, 1.0, True, "vacant"),  # its process died
        (False, 1.0, True, "owned"),
        (False, 11.0, True, "frozen"),
        (True, 1.0, False, "owned"),  # the server was started again: its owner may come back
        (True, 11.0, False, "vacant"),
        (False, 1.0, False, "owned"),
    ],
)
def test_how_a_thread_stands_is_read_from_lock_beat_and_server(
    free: bool, age: float, same_server: bool, stands: str
) -> None:
    claim = Claim(token="x", holder="y", age=age, same_server=same_server)
    assert standing(free, claim, ttl=10.0) == stands
    assert standing(free, None, ttl=10.0) == ("vacant" if free else "owned")
