"""Sessions with servers: how long they last, who shares them, what happens when the server dies, and the end of it all."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cogwork.breaker import Breakers
from cogwork.tools.mcp.config import McpServer, Sources
from cogwork.tools.mcp.servers import Servers
from state.errors import Asked, Fault
from state.schemas import faults
from tests.mcp_stage import KEY, Opened, alive, context, opened, until
from tests.peers.servers import SERVED, house, raw

pytestmark = [pytest.mark.req("X8", "X12")]


async def test_a_shared_session_keeps_its_state_from_call_to_call_and_run_to_run() -> None:
    with opened(house=house()) as stage:
        counts = [await stage.call("house.count", {"name": "a"}, run=run) for run in ("one", "two", "two")]

    assert [count["result"] for count in counts] == [1, 2, 3]


async def test_each_run_has_a_session_of_its_own_until_it_is_released() -> None:
    with opened(house=house(session="run")) as stage:
        one = [await stage.call("house.count", {"name": "a"}, run="one") for _ in range(2)]
        two = await stage.call("house.count", {"name": "a"}, run="two")
        assert len(stage.pids("house")) == 2
        await stage.box.release("one")
        assert len(stage.pids("house")) == 1
        again = await stage.call("house.count", {"name": "a"}, run="one")

    assert [each["result"] for each in (*one, two, again)] == [1, 2, 1, 1]


async def test_each_call_has_a_session_of_its_own_that_ends_with_it() -> None:
    with opened(house=house(session="call")) as stage:
        pids = [(await stage.call("house.pid"))["result"] for _ in range(3)]
        await until(lambda: not any(map(alive, pids)), "the end of the sessions")

    assert len(set(pids)) == 3


async def test_calls_at_once_share_one_session_that_is_opened_once() -> None:
    with opened(house=house()) as stage:
        pids = await asyncio.gather(*(stage.call("house.pid") for _ in range(20)))

    assert len({pid["result"] for pid in pids}) == 1


def test_a_session_outlives_the_event_loop_that_it_was_first_used_in() -> None:
    with opened(house=house()) as stage:
        counts = [asyncio.run(stage.call("house.count", {"name": "a"}))["result"] for _ in range(3)]
        threads = [
            threading.Thread(
                target=lambda: counts.append(asyncio.run(stage.call("house.count", {"name": "a"}))["result"])
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(counts) == [1, 2, 3, 4, 5, 6, 7]


async def test_after_kill_9_of_the_server_the_next_call_starts_it_again() -> None:
    with opened(house=house()) as stage:
        first = (await stage.call("house.pid"))["result"]
        os.kill(first, 9)
        await until(lambda: stage.health("house")["sessions"] == 0, "word of the death")
        second = (await stage.call("house.pid"))["result"]

    assert first != second


async def test_a_cancelled_caller_leaves_the_session_to_the_others() -> None:
    with opened(house=house()) as stage:
        calls = [asyncio.create_task(stage.call("house.pid")) for _ in range(10)]
        await asyncio.sleep(0)
        calls[3].cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)

    assert isinstance(results[3], asyncio.CancelledError)
    assert len({r["result"] for r in results if isinstance(r, dict)}) == 1


async def test_the_breaker_of_a_server_opens_and_closes_with_it(tmp_path: Path) -> None:
    script, now = tmp_path / "server", [0.0]
    working = f"#!/bin/sh\nexec {sys.executable} -S -E {SERVED / 'raw.py'} ok\n"
    script.write_text(working)
    script.chmod(0o755)
    breakers = Breakers(threshold=3, cooldown=30.0, clock=lambda: now[0])
    configured = {"raw": McpServer(command=str(script), session="call")}
    servers = Servers(configured, Sources(environment=os.environ), breakers)
    try:
        tool = servers.find("raw.act")
        assert tool is not None
        states = [breakers.of("mcp:raw").state]
        script.write_text("#!/bin/sh\nexit 1\n")
        classes = [(await _fault(tool)).fault_class for _ in range(3)]
        states.append(breakers.of("mcp:raw").state)
        refused = await _fault(tool)
        now[0] = 31.0
        states.append(breakers.of("mcp:raw").state)
        assert (await _fault(tool)).fault_class == "unavailable"
        states.append(breakers.of("mcp:raw").state)
        now[0] = 62.0
        script.write_text(working)
        assert "pid" in await tool.call({}, context())
        states.append(breakers.of("mcp:raw").state)
    finally:
        servers.close()

    assert states == ["closed", "open", "half_open", "open", "closed"]
    assert classes == ["unavailable"] * 3
    assert (refused.fault_class, refused.retry_after) == ("unavailable", 30.0)
    assert "mcp:raw is left alone after 3 failures" in refused.message
    assert servers.health()[0]["breaker"]["state"] == "closed"


async def _fault(tool: Any) -> Fault:
    with pytest.raises(Fault) as caught:
        await tool.call({}, context())
    return caught.value


async def test_a_tool_that_fails_does_not_open_the_breaker() -> None:
    with opened(raw=raw("fails")) as stage:
        for _ in range(8):
            assert (await stage.fault("raw.act")).fault_class == "tool_error"
        assert stage.health("raw")["breaker"]["state"] == "closed"


async def test_after_the_end_nothing_can_be_called_and_nothing_hangs() -> None:
    with opened(house=house()) as stage:
        tool = stage.box.find("house.pid")
        assert tool is not None
        await tool.call({}, context())
    stage.app.close()
    with pytest.raises(Fault, match="have been closed"):
        await tool.call({}, context())


async def test_servers_that_nobody_holds_any_more_are_ended() -> None:
    servers = Servers({"house": McpServer(**house())}, Sources(environment=os.environ), Breakers())
    tool = servers.find("house.pid")
    assert tool is not None
    (pid,) = servers.health()[0]["pids"]
    del servers, tool
    gc.collect()
    await until(lambda: not alive(pid), "the end of the server")


@pytest.mark.parametrize("end", ["", "raise SystemExit(3)", "1 / 0"])
def test_a_program_that_ends_without_a_word_leaves_no_server_and_no_noise(end: str, tmp_path: Path) -> None:
    script = f"""
import asyncio, json, sys
from cogwork.app import App
from cogwork.settings import Settings
from cogwork.tools.mcp.config import McpServer
from state.services import CallContext
app = App(settings=Settings(mcp_servers={{"house": McpServer(**json.loads(sys.argv[1]))}}))
tool = app.services.tools.find("house.pid")
print(asyncio.run(tool.call({{}}, CallContext(run="r", step="s", idempotency_key="k")))["result"], flush=True)
{end}
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error::ResourceWarning", "-c", script, json.dumps(house())],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not alive(int(done.stdout))
    assert [line for line in done.stderr.splitlines() if "Warning" in line or "Exception ignored" in line] == []
    assert ("ZeroDivisionError" in done.stderr) == (end == "1 / 0")


async def test_a_server_that_cannot_be_started_is_tried_again_at_growing_distances(tmp_path: Path) -> None:
    script, tries = tmp_path / "server", tmp_path / "tries"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} -S -E {SERVED / 'raw.py'} ok\n")
    script.chmod(0o755)
    with opened(raw={"command": str(script), "session": "call"}) as stage:
        await stage.call("raw.act")
        script.write_text(f"#!/bin/sh\ndate +%s.%N >> {tries}\nexit 1\n")
        for _ in range(4):
            assert (await stage.fault("raw.act")).fault_class == "unavailable"
    times = [float(line) for line in tries.read_text().split()]

    assert [after - before >= 0.1 * 2**n for n, (before, after) in enumerate(pairwise(times))] == [True] * 3


async def test_a_tool_that_is_gone_says_so_to_whoever_still_holds_it() -> None:
    with opened(house=house()) as stage:
        held = stage.box.find("house.add")
        assert held is not None
        await stage.call("house.shrink", {"name": "add"})
        await until(lambda: stage.box.find("house.add") is None, "the end of the tool")
        with pytest.raises(Fault, match="MCP server house no longer offers add") as caught:
            await held.call({"a": 1, "b": 2}, context())

    assert caught.value.fault_class == "invalid_input"


def test_servers_are_started_and_called_under_the_watch_of_langgraph_dev_for_calls_that_block() -> None:
    script = """
import asyncio, json, sys
from blockbuster import BlockBuster
from cogwork.app import App
from cogwork.settings import Settings
from cogwork.tools.mcp.config import McpServer
from state.services import CallContext

async def main():
    watch = BlockBuster()
    for lenient in ("os.stat", "threading.Lock.acquire", "io.TextIOWrapper.write", "io.BufferedReader.read"):
        watch.functions.pop(lenient, None)
    watch.activate()
    found = await asyncio.to_thread(app.services.tools.find, "house.add")
    return await found.call({"a": 1, "b": 2}, CallContext(run="r", step="s", idempotency_key="k"))

app = App(settings=Settings(mcp_servers={"house": McpServer(**json.loads(sys.argv[1]))}))
app.services
print(asyncio.run(main()))
"""
    command = [sys.executable, "-c", script, json.dumps(house(session="call"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "{'result': 3}", done.stderr


async def test_progress_is_told_in_the_callers_loop_and_in_order() -> None:
    told: list[tuple[float, float | None, str, bool]] = []
    loop = asyncio.get_running_loop()

    def hear(done: float, total: float | None, message: str) -> None:
        told.append((done, total, message, asyncio.get_running_loop() is loop))

    with opened(house=house()) as stage:
        assert (await stage.call("house.walk", {"steps": 3}, progress=hear))["result"] == "arrived"

    assert told == [(n, 3, f"step {n}", True) for n in (1, 2, 3)]


async def test_the_key_of_a_call_lets_a_server_recognise_a_repeated_one() -> None:
    with opened(house=house()) as stage:
        said = [(await stage.call("house.once"))["result"] for _ in range(2)]

    assert said == [f"did it for {KEY}", f"had been done for {KEY}"]


# -- questions ---------------------------------------------------------------------------------------------

BOTH = pytest.mark.parametrize("protocol", ["legacy", "auto"], ids=["asked in the call", "asked by the result"])


async def asked(stage: Opened, answers: dict[str, Any]) -> Asked | str:
    """What the server says to an order with these answers, or asks."""
    try:
        return str((await stage.call("house.order", {"what": "box"}, answers=answers))["result"])
    except Asked as question:
        return question


def answer(question: Asked | str, said: Any) -> dict[str, Any]:
    """What the runtime keeps of an answer."""
    assert isinstance(question, Asked), question
    return {question.id: {"answer": said, "kept": question.kept}}


@BOTH
async def test_what_a_server_asks_goes_to_a_person_and_the_answer_back_to_it(protocol: str) -> None:
    with opened(house=house(protocol=protocol)) as stage:
        first = await asked(stage, {})
        assert isinstance(first, Asked)
        assert (first.message, first.form["properties"]["size"]["type"]) == ("house asks: How large a box?", "integer")
        answers = answer(first, {"size": 3})
        assert await asked(stage, answers) == "box of 3, order 1"

    assert [bool(faults(first.form, said)) for said in ({"size": 3}, {}, {"size": "x"}, {"decline": True})] == [
        *(False, True, True, False)
    ]
    assert "needed, unless you decline" in first.form["properties"]["size"]["description"]


@BOTH
async def test_a_second_question_comes_after_the_first_has_its_answer(protocol: str) -> None:
    with opened(house=house(protocol=protocol)) as stage:
        answers = answer(await asked(stage, {}), {"size": 30})
        second = await asked(stage, answers)
        assert isinstance(second, Asked) and second.message == "house asks: Really 30?"
        assert await asked(stage, answers | answer(second, {"sure": True})) == "box of 30, order 1"


@BOTH
async def test_the_same_question_has_the_same_id_and_another_one_another(protocol: str) -> None:
    with opened(house=house(protocol=protocol)) as stage:
        one, again = await asked(stage, {}), await asked(stage, {})
        assert isinstance(one, Asked) and isinstance(again, Asked)
        second = await asked(stage, answer(one, {"size": 30}))
        other = await asked(stage, answer(one, {"size": 31}))
        assert isinstance(second, Asked) and isinstance(other, Asked)

    assert one.id == again.id
    assert len({one.id, second.id, other.id}) == 3


async def test_a_question_that_is_asked_twice_is_two_questions() -> None:
    with opened(house=house(protocol="legacy")) as stage:
        with pytest.raises(Asked) as first:
            await stage.call("house.pair")
        answers = answer(first.value, {"size": 1})
        with pytest.raises(Asked) as second:
            await stage.call("house.pair", answers=answers)
        answers |= answer(second.value, {"size": 2})
        assert (await stage.call("house.pair", answers=answers))["result"] == "1, 2"


@BOTH
async def test_a_person_may_decline(protocol: str) -> None:
    with opened(house=house(protocol=protocol)) as stage:
        question = await asked(stage, {})
        assert await asked(stage, answer(question, {"decline": True})) == "no box: decline"


@BOTH
async def test_an_answer_reaches_a_server_that_was_started_anew_meanwhile(protocol: str) -> None:
    with opened(house=house(protocol=protocol, session="call")) as stage:
        answers = answer(await asked(stage, {}), {"size": 30})
        answers |= answer(await asked(stage, answers), {"sure": True})
        assert await asked(stage, answers) == "box of 30, order 1"


async def test_a_question_of_which_nobody_knows_whose_call_it_is_is_not_put_to_anybody(tmp_path: Path) -> None:
    with opened(house=house(protocol="legacy")) as stage:
        outcomes = await asyncio.gather(*(asked(stage, {}) for _ in range(8)), return_exceptions=True)

    told = [outcome for outcome in outcomes if isinstance(outcome, Fault)]
    assert told
    assert all("session per call" in fault.message for fault in told)
