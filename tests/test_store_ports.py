"""The calls, requests and owners that stand beside the checkpoints in the SQLite file."""

from __future__ import annotations

import asyncio
import copy
import random
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cogwork.store.checkpoints import SqliteCheckpoints
from state.durable import Durable, RecordedCall, Request
from state.errors import Owned

HOUSE = Path(__file__).resolve().parent.parent
LARGE = random.Random(1).randbytes(50_000).hex()


@pytest.fixture
def saver(tmp_path: Path) -> Iterator[SqliteCheckpoints]:
    with SqliteCheckpoints(tmp_path / "c.sqlite", synchronous="NORMAL") as opened:
        yield opened


def call(key: str, run: str = "r", **more: Any) -> RecordedCall:
    return RecordedCall(key=f"{run}:{key}", run=run, step=key, target="pay", effect="write", repeatable=False, **more)


def test_the_store_is_durable_and_so_is_the_copy_that_langgraph_makes_of_it(saver: SqliteCheckpoints) -> None:
    clone = copy.copy(saver)
    assert isinstance(saver, Durable) and isinstance(clone, Durable)
    assert (clone.calls, clone.requests, clone.owners) == (saver.calls, saver.requests, saver.owners)


async def test_calls_are_kept_replaced_and_forgotten(saver: SqliteCheckpoints) -> None:
    begun = call("a:0", args={"x": [1, "ü", None]}, begun_at="2026-01-01T00:00:00+00:00")
    await saver.calls.keep("t", begun)
    await saver.calls.keep("t", call("b:0", "other"))
    await saver.calls.keep("u", call("a:0"))
    done = replace(begun, status="done", result={"z": 1, "a": LARGE})
    await saver.calls.keep("t", done)
    failed = call("c:0", status="failed", error={"class": "timeout"}, attempt=3)
    await saver.calls.keep("t", failed)
    with SqliteCheckpoints(saver.path) as other:
        found = await other.calls.of_run("t", "r")
        assert found == {done.key: done, failed.key: failed}
        assert list(found[done.key].result) == ["z", "a"]  # type: ignore[arg-type]
        await other.calls.forget("t", done.key)
    assert list(await saver.calls.of_run("t", "r")) == [failed.key]
    assert list(await saver.calls.of_run("u", "r")) == ["r:a:0"]


async def test_the_large_result_of_many_calls_is_kept_once(saver: SqliteCheckpoints) -> None:
    for number in range(20):
        await saver.calls.keep("t", call(f"a:{number}", status="done", result=LARGE[:-1] + "x"))
    assert len(await saver.calls.of_run("t", "r")) == 20
    assert saver.conn.execute("SELECT count(*) FROM blobs").fetchone() == (1,)
    await saver.aprune(["t"])
    assert (await saver.calls.of_run("t", "r"))["r:a:7"].result == LARGE[:-1] + "x"


async def test_calls_that_wait_together_are_written_in_one_transaction_and_in_order(saver: SqliteCheckpoints) -> None:
    statements: list[str] = []
    saver.conn.set_trace_callback(statements.append)
    kept = [saver.calls.keep("t", call("a:0", attempt=number)) for number in range(1, 50)]
    await asyncio.gather(*kept)
    assert sum(s == "COMMIT" for s in statements) < 10
    assert (await saver.calls.of_run("t", "r"))["r:a:0"].attempt == 49


async def test_one_request_is_open_per_thread_and_a_cancel_replaces_a_pause(saver: SqliteCheckpoints) -> None:
    pause, cancel = Request(id="1", kind="pause"), Request(id="2", kind="cancel", undo=True, reason="enough")
    assert await saver.requests.open("t") is None
    await saver.requests.make("t", pause)
    assert await saver.requests.open("t") == pause
    await saver.requests.make("t", cancel)
    await saver.requests.make("t", replace(pause, id="3"))
    assert await saver.requests.open("t") == cancel
    assert await saver.requests.open("u") is None
    await saver.requests.close("t", pause)
    assert await saver.requests.open("t") == cancel
    await saver.requests.close("t", cancel)
    assert await saver.requests.open("t") is None


async def test_a_request_from_another_process_is_seen_even_while_the_file_is_locked(saver: SqliteCheckpoints) -> None:
    code = """
    import asyncio, sqlite3, sys
    from cogwork.store.checkpoints import SqliteCheckpoints
    from state.durable import Request
    with SqliteCheckpoints(sys.argv[1]) as saver:
        asyncio.run(saver.requests.make("t", Request(id="1", kind="pause")))
    held = sqlite3.connect(sys.argv[1], isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    print("held", flush=True)
    sys.stdin.read()
    """
    assert await saver.requests.open("t") is None
    command = [sys.executable, "-c", textwrap.dedent(code), str(saver.path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(HOUSE)}
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        kept = asyncio.create_task(saver.calls.keep("t", call("a:0")))
        await asyncio.sleep(0.02)  # older looks no longer count
        seen = await saver.requests.open("t")
        assert seen == Request(id="1", kind="pause") and not kept.done()
        other.communicate("")
        await kept


async def test_requests_are_asked_for_from_many_loops_and_a_cancelled_one_harms_no_other(
    saver: SqliteCheckpoints,
) -> None:
    await saver.requests.make("t", Request(id="1", kind="pause"))

    def apart() -> Request | None:
        return asyncio.run(saver.requests.open("t"))

    asked = [asyncio.create_task(saver.requests.open("t")) for _ in range(50)]
    await asyncio.sleep(0)
    for task in asked[::2]:
        task.cancel()
    found = await asyncio.gather(*asked[1::2], *[asyncio.to_thread(apart) for _ in range(10)])
    assert {each.id for each in found if each} == {"1"} and all(found)


# -- owners ------------------------------------------------------------------------------------------------------------


async def test_two_tasks_of_a_process_do_not_own_one_thread(saver: SqliteCheckpoints) -> None:
    async with saver.owners.held("t"):
        assert saver.owners.alive("t") and not saver.owners.alive("u")
        async with saver.owners.held("u"):
            with pytest.raises(Owned, match="'t'"):
                async with saver.owners.held("t"):
                    raise AssertionError("owned twice")
    assert not saver.owners.alive("t")
    with saver.owners.held("t"):
        assert saver.owners.alive("t")


async def test_an_owner_that_lets_go_soon_is_waited_for(saver: SqliteCheckpoints) -> None:
    order: list[str] = []

    async def first(taken: asyncio.Event) -> None:
        async with saver.owners.held("t"):
            taken.set()
            await asyncio.sleep(0.1)
            order.append("first lets go")

    taken = asyncio.Event()
    task = asyncio.create_task(first(taken))
    await taken.wait()
    async with saver.owners.held("t"):
        order.append("second owns")
    await task
    assert order == ["first lets go", "second owns"]


async def test_an_owner_in_another_process_is_alive_until_it_is_killed(saver: SqliteCheckpoints) -> None:
    code = """
    import sys
    from cogwork.store.checkpoints import SqliteCheckpoints
    with SqliteCheckpoints(sys.argv[1]) as saver, saver.owners.held("t"):
        print("held", flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(saver.path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(HOUSE)}
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        assert saver.owners.alive("t")
        with pytest.raises(Owned):
            async with saver.owners.held("t"):
                raise AssertionError("owned twice")
        other.kill()
        other.wait(10)
    assert not saver.owners.alive("t")
    async with saver.owners.held("t"):
        assert saver.owners.alive("t")


# -- other connections ---------------------------------------------------------------------------------------------------


@pytest.mark.req("D4")
async def test_another_process_that_closes_the_file_takes_no_journal_from_one_that_opened_it_twice(
    saver: SqliteCheckpoints,
) -> None:
    await saver.calls.keep("t", call("a:0"))
    with SqliteCheckpoints(saver.path):
        assert await saver.requests.open("t") is None
    code = """
    import sys
    from cogwork.store.checkpoints import SqliteCheckpoints
    SqliteCheckpoints(sys.argv[1]).close()
    """
    before = saver.path.with_name("c.sqlite-wal").stat()
    command = [sys.executable, "-c", textwrap.dedent(code), str(saver.path)]
    subprocess.run(command, env={"PYTHONPATH": str(HOUSE)}, check=True, timeout=60)
    assert saver.path.with_name("c.sqlite-wal").stat().st_ino == before.st_ino
    await saver.calls.keep("t", call("b:0"))
    with SqliteCheckpoints(saver.path) as other:
        assert len(await other.calls.of_run("t", "r")) == 2
