"""Every way in which a server over its standard streams may come to harm: a typed fault, in time, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.mcp_stage import opened, until
from tests.peers.servers import SERVED, raw

pytestmark = [pytest.mark.req("X8", "X12")]

SHORT: dict[str, Any] = {"read_timeout": 1.0, "connect_timeout": 20.0}
BROKEN = [
    ("dies", "connection", "exited with code 3; it wrote: something broke inside"),
    ("killed", "connection", "ended by SIGKILL"),
    ("closes", "connection", "closed its output"),
    ("child-holds", "connection", "exited with code 0"),
    ("stalls", "timeout", "did not answer in time"),
    ("garbage", "timeout", "did not answer in time"),
    ("wrong-id", "timeout", "did not answer in time"),
    ("garbage-flood", "connection", "lines that are no messages without end"),
    ("notice-flood", "connection", "messages nobody asked for without end"),
    ("endless-line", "connection", "without end"),
    ("overlong", "invalid_output", "is larger than"),
    ("invalid", "invalid_output", "not what MCP asks for"),
    ("promises", "invalid_output", "/n"),
    ("bad-params", "invalid_input", "x must be a number"),
    ("own-error", "tool_error", "out of paper (1234)"),
    ("fails", "tool_error", "raw.act: the disk is full"),
]


@pytest.mark.parametrize(("way", "fault_class", "says"), BROKEN, ids=[way for way, _, _ in BROKEN])
async def test_a_server_that_comes_to_harm_in_a_call_is_a_typed_fault_in_time(
    way: str, fault_class: str, says: str
) -> None:
    with opened(raw=raw(way, **SHORT | {"read_timeout": 30.0 if fault_class != "timeout" else 0.5})) as stage:
        fault = await stage.fault("raw.act")

    assert (fault.fault_class, fault.origin) == (fault_class, "tool"), fault
    assert says in fault.message


NOT_OPENED = [
    ("mute", {"connect_timeout": 1.0}, "did not answer the greeting within 1 s"),
    ("exits", {}, "exited with code 2; it wrote: no licence found"),
    ("bad-greeting", {}, "not what MCP asks for"),
    ("babbles", {}, "lines that are no messages without end"),
    ("bad-list", {}, "listing its tools"),
    ("deep", {}, "depth exceeded"),
    ("same-cursor", {}, "its list of tools does not end"),
    ("endless-list", {}, "its list of tools does not end"),
    ("too-many", {}, "lists more than 20000 tools"),
]


@pytest.mark.parametrize(("way", "more", "says"), NOT_OPENED, ids=[way for way, _, _ in NOT_OPENED])
async def test_a_server_whose_tools_cannot_be_listed_says_why_in_time(
    way: str, more: dict[str, Any], says: str
) -> None:
    with opened(raw=raw(way, **more)) as stage:
        assert stage.box.find("raw.act") is None
        assert says in (stage.box.problem("raw.act") or "")
        assert stage.health("raw")["state"] in ("unreachable", "connected")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"command": "/nowhere/at-all"}, "cannot be started: No such file or directory (/nowhere/at-all)"),
        ({"command": "/etc/passwd"}, "cannot be started: Permission denied"),
        ({"command": "/bin/cat", "cwd": "/nowhere"}, "cannot be started: No such file or directory"),
        ({"command": "/bin/true"}, "exited with code 0"),
    ],
)
async def test_a_server_that_cannot_be_started_says_why(config: dict[str, Any], says: str) -> None:
    with opened(raw=config) as stage:
        assert stage.box.find("raw.act") is None
        assert says in (stage.box.problem("raw.act") or "")


async def test_a_server_that_cannot_be_started_any_more_is_unavailable_so_that_a_write_may_be_tried_again(
    tmp_path: Path,
) -> None:
    script = tmp_path / "server"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} -S -E {SERVED / 'raw.py'} ok\n")
    script.chmod(0o755)
    with opened(raw={"command": str(script), "session": "call"}) as stage:
        assert "pid" in await stage.call("raw.act")
        script.write_text("#!/bin/sh\necho out of order >&2; exit 1\n")
        fault = await stage.fault("raw.act")

    assert (fault.fault_class, fault.transient) == ("unavailable", True)
    assert "exited with code 1; it wrote: out of order" in fault.message


async def test_lines_that_are_no_messages_are_passed_over() -> None:
    with opened(raw=raw("garbage-first")) as stage:
        assert await stage.call("raw.act") == "done all the same"


async def test_a_call_that_is_given_up_is_told_to_the_server(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with opened(raw=raw("stalls", notes, read_timeout=60.0)) as stage:
        call = asyncio.create_task(stage.call("raw.act"))
        await until(lambda: notes.exists() and "stalled" in notes.read_text(), "the call")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: "cancelled" in notes.read_text(), "the word of the cancellation")


async def test_a_call_that_takes_too_long_is_told_to_the_server(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with opened(raw=raw("stalls", notes, read_timeout=0.2)) as stage:
        assert (await stage.fault("raw.act")).fault_class == "timeout"
        await until(lambda: "cancelled" in notes.read_text(), "the word of the cancellation")


async def test_a_server_that_no_longer_reads_does_not_hold_up_its_callers() -> None:
    with opened(raw=raw("deaf", read_timeout=0.5, connect_timeout=30)) as stage:
        assert await stage.call("raw.act") == "deaf from now on"
        faults = [(await stage.fault("raw.act", {"x": "y" * 300_000})).fault_class for _ in range(2)]

    assert faults == ["timeout", "timeout"]


async def test_all_calls_on_their_way_are_told_at_once_that_the_server_died(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with opened(raw=raw("stalls", notes, read_timeout=600)) as stage:
        calls = [asyncio.create_task(stage.fault("raw.act")) for _ in range(5)]
        await until(lambda: notes.exists() and notes.read_text().count("stalled") == 5, "the calls")
        (pid,) = stage.pids()
        os.kill(pid, 9)
        faults = await asyncio.gather(*calls)

    assert {fault.fault_class for fault in faults} == {"connection"}
    assert all("SIGKILL" in fault.message for fault in faults)


async def test_the_children_of_a_server_end_with_it(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with opened(raw=raw("child-holds", notes, read_timeout=30)) as stage:
        assert (await stage.fault("raw.act")).fault_class == "connection"
    group = int(notes.read_text().split()[1])

    await until(lambda: not group_members(group), "the end of the server's children")


def group_members(group: int) -> list[int]:
    """The processes of that group that run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] not in ("Z", "X"):
                found.append(int(stat.parent.name))
    return found


async def test_ten_thousand_tools_are_listed_found_and_called() -> None:
    with opened(raw=raw("many")) as stage:
        assert stage.box.explore() == {}
        assert len([name for name in stage.box.names() if name.startswith("raw.")]) == 10_000
        assert "pid" in await stage.call("raw.act09999")
        assert stage.box.find("raw.act10000") is None


@pytest.mark.parametrize("tool", ["remote", "file", "nowhere", "slow", "huge", "nonsense", "out"])
async def test_a_tool_with_a_hostile_schema_is_refused_with_a_sentence_and_nothing_is_fetched(tool: str) -> None:
    with opened(raw=raw("hostile")) as stage:
        assert stage.box.find("raw.fine") is not None
        assert stage.box.find(f"raw.{tool}") is None
        assert f"MCP server raw offers {tool}, but the schema of its" in (stage.box.problem(f"raw.{tool}") or "")


async def test_a_schema_that_refers_to_itself_is_no_way_to_hang() -> None:
    with opened(raw=raw("hostile")) as stage:
        fault = await stage.fault("raw.circular", {"x": 1})

    assert fault.fault_class == "invalid_input"
    assert "the schema refers to itself without end" in fault.message


async def test_names_that_stand_twice_or_are_none_are_left_out_and_noted() -> None:
    with opened(raw=raw("twice")) as stage:
        stage.box.explore()
        assert [n for n in stage.box.names() if n.startswith("raw.")] == ["raw.act"]


@pytest.mark.parametrize(
    ("way", "value"),
    [
        ("surrogate", "half \ufffd a letter \ufffd"),
        ("blocks", ["one", "two"]),
        ("nothing", None),
        ("json", '{"total": 3}'),
        ("promises-text", {"n": 4}),
        ("key", "run:step:0"),
    ],
)
async def test_what_a_server_answers_becomes_plain_json(way: str, value: Any) -> None:
    with opened(raw=raw(way)) as stage:
        assert await stage.call("raw.act") == value


async def test_a_text_is_read_as_json_where_the_step_asks_for_an_object() -> None:
    schema = {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}
    with opened(raw=raw("json")) as stage:
        assert await stage.call("raw.act", output=schema) == {"total": 3}
        assert await stage.call("raw.act", output={"type": "string"}) == '{"total": 3}'


async def test_a_result_over_the_limit_of_its_server_is_refused_and_not_cut() -> None:
    with opened(raw=raw("too-large", max_result_bytes=100_000)) as stage:
        fault = await stage.fault("raw.act")

    assert fault.fault_class == "invalid_output"
    assert "100,000" in fault.message
