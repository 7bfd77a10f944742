"""``langgraph dev`` killed in the middle of its work: the next server ends the runs without repeating what was done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.servers import Server, done, until, values_of

if why := servers.missing():
    pytest.skip(why, allow_module_level=True)

from langgraph_sdk.client import LangGraphClient

pytestmark = pytest.mark.timeout(1800)
LATE = "late"
"""The door of the run that ends after the server last wrote its table of runs, and before it is killed."""


async def _begun(client: LangGraphClient, graph: str, **given: Any) -> tuple[str, str]:
    thread = (await client.threads.create())["thread_id"]
    return thread, (await client.runs.create(thread, graph, input=given))["run_id"]


async def _tables_written(home: Path) -> None:
    """Wait until the server has put its tables of threads and runs on disk, which it does every ten seconds."""
    tables = home / ".langgraph_api" / ".langgraph_ops.pckl"
    before = tables.stat().st_mtime_ns if tables.exists() else 0
    await until(lambda: tables.exists() and tables.stat().st_mtime_ns > before, "the server's tables on disk")


@pytest.mark.req("D4", "D6", "X5")
async def test_a_killed_server_ends_its_runs_later_and_repeats_no_finished_step(tmp_path: Path) -> None:
    server = Server(tmp_path).start()
    try:
        async with server.client() as client:
            busy = await _begun(client, "lanes", word="busy", door="busy")
            late = await _begun(client, "lanes", word="late", door=LATE)
            asked = await _begun(client, "review", topic="tea")
            busy_values = await done(client, busy[0], {"quick3", "again"})
            late_values = await done(client, late[0], {"quick3", "again"})
            asked_values = await done(client, asked[0], {"draft", "side"})
            await until(lambda: server.executions(busy_values["run"]["id"])["slow?"], "the first try")
            await _tables_written(server.home)
            server.open(LATE)
            await done(client, late[0], {"meet"})
        server.kill()

        server.start()
        async with server.client() as client:
            await until(lambda: server.executions(busy_values["run"]["id"])["slow?"] == 2, "the second try")
        server.kill()

        server.start()
        server.open("busy")
        async with server.client() as client:
            for thread, run in (busy, late, asked):
                await client.runs.join(thread, run)
                assert (await client.runs.get(thread, run))["status"] == "success"
            ended = await values_of(client, busy[0])
            assert ended["output"] == {"slow": "busy slowly", "quick": "busy-1-2-3", "how": "2 times"}
            assert (await values_of(client, late[0]))["output"]["slow"] == "late slowly"
            answered = await client.runs.wait(asked[0], "review", command={"resume": {"ok": True}})
            assert answered["output"]["end"] == "published draft on tea with 3 stars"

        once = {"first": 1, "quick1": 1, "quick2": 1, "quick3": 1, "slow": 1, "meet": 1}
        assert server.executions(ended["run"]["id"]) == {**once, "slow?": 3}
        assert server.executions(late_values["run"]["id"]) == {**once, "slow?": 1}
        assert server.executions(asked_values["run"]["id"]) == {"draft": 1, "side": 1, "publish": 1}
        runs = {line.split()[0] for line in server.entries()}
        assert runs == {values["run"]["id"] for values in (ended, late_values, asked_values)}
    finally:
        server.stop()


@pytest.mark.req("D4", "D6")
async def test_a_stopped_server_goes_on_with_its_runs_when_it_is_started_again(tmp_path: Path) -> None:
    server = Server(tmp_path).start()
    try:
        async with server.client() as client:
            thread, run = await _begun(client, "lanes", word="rest", door="rest")
            values = await done(client, thread, {"quick3", "again"})
            await until(lambda: server.executions(values["run"]["id"])["slow?"], "the first try")
        server.stop()
        server.open("rest")
        server.start()
        async with server.client() as client:
            await client.runs.join(thread, run)
            ended = await values_of(client, thread)
        assert ended["output"]["slow"] == "rest slowly"
        ran = server.executions(values["run"]["id"])
        assert ran == {"first": 1, "quick1": 1, "quick2": 1, "quick3": 1, "slow?": 2, "slow": 1, "meet": 1}
    finally:
        server.stop()
