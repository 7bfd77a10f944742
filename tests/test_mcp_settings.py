"""What the settings say of servers: whom they believe, what they allow, and what of them never leaves cogwork."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cogwork.app import App
from cogwork.origins import WrongSettings
from cogwork.settings import Settings
from cogwork.tools.mcp.config import McpServer
from tests.mcp_stage import opened, servers
from tests.peers.servers import house, raw
from tests.served_mcp.web import web

CANARY = "canary-8c1f0d5e7a"


# -- effects -----------------------------------------------------------------------------------------------


@pytest.mark.req("X8")
@pytest.mark.parametrize(
    ("way", "more", "taken"),
    [
        ("ok", {}, ("write", False)),
        ("untrue", {}, ("write", False)),
        ("untrue", {"trust_annotations": True}, ("read", True)),
        ("untrue", {"trust_annotations": True, "effects": {"act": "write"}}, ("write", True)),
        ("ok", {"trust_annotations": True}, ("write", False)),
        ("ok", {"effects": {"a*": "read"}}, ("read", True)),
        ("ok", {"effects": {"a*": "read", "act": "write"}}, ("write", False)),
        ("ok", {"effects": {"b*": "read"}}, ("write", False)),
        ("ok", {"idempotent": {"act": True}}, ("write", True)),
        ("ok", {"effects": {"act": "none"}}, ("none", True)),
    ],
)
def test_what_a_call_does_is_what_the_settings_say_and_a_servers_word_counts_only_where_it_is_believed(
    way: str, more: dict[str, Any], taken: tuple[str, bool]
) -> None:
    with opened(raw=raw(way, **more)) as stage:
        tool = stage.box.find("raw.act")
        assert tool is not None
        assert (tool.effect, tool.idempotent) == taken


# -- names -------------------------------------------------------------------------------------------------


@pytest.mark.req("X8")
async def test_two_servers_may_have_tools_of_one_name() -> None:
    with opened(one=raw("ok"), two=raw("nothing")) as stage:
        assert "pid" in await stage.call("one.act")
        assert await stage.call("two.act") is None


@pytest.mark.req("X8")
def test_a_server_may_be_given_another_prefix_and_offers_only_what_is_allowed() -> None:
    with opened(house=house(prefix="home", allow=["a*", "count"])) as stage:
        stage.box.explore()
        assert [n for n in stage.box.names() if n.startswith("h")] == ["home.add", "home.count"]
        assert stage.box.find("home.pid") is None and stage.box.find("house.add") is None


@pytest.mark.req("X8")
def test_the_patterns_of_the_settings_hold_for_the_tools_of_servers_too() -> None:
    chosen = Settings(mcp_servers={"house": McpServer(**house())}, tools=["house.a*"])
    with opened(App(settings=chosen)) as stage:
        stage.box.explore()
        assert stage.box.names() == ["house.add"]
        assert stage.box.find("house.pid") is None
        assert stage.box.problem("house.pid") is None


def test_a_prefix_that_built_in_tools_have_is_refused_with_a_sentence() -> None:
    app = App(settings=Settings(mcp_servers={"text": McpServer(command="x")}))
    with pytest.raises(
        ValueError, match=r"The MCP server with the prefix text would have tools named like text\."
    ) as told:
        _ = app.services
    assert "another prefix" in str(told.value)


def test_two_servers_with_one_prefix_are_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="The MCP servers a and b have one prefix, x"):
        servers(a={"command": "x", "prefix": "x"}, b={"command": "x", "prefix": "x"})


@pytest.mark.parametrize(
    ("server", "says"),
    [
        ({}, "either a command or a url"),
        ({"command": "x", "url": "http://h/"}, "either a command or a url"),
        ({"url": "file:///etc/passwd"}, "begins with http"),
        ({"url": "http:///nowhere"}, "names a host"),
        ({"url": "http://h/", "env": {"A": "b"}}, "are for a command"),
        ({"command": "x", "headers": {"A": "b"}}, "are for a url"),
        ({"command": "x", "session": "always"}, "shared"),
        ({"command": "x", "prefix": "a b"}, "made of letters"),
        ({"command": "x", "comand": "y"}, "no setting 'comand' in mcp_servers.a; did you mean 'command'"),
        ({"command": "x", "read_timeout": 0}, "greater than 0"),
    ],
)
def test_a_server_that_is_configured_wrong_is_refused_with_a_sentence(server: dict[str, Any], says: str) -> None:
    with pytest.raises(WrongSettings, match=says):
        Settings(mcp_servers={"a": server})  # type: ignore[dict-item]


def test_a_server_needs_a_plain_name() -> None:
    with pytest.raises(WrongSettings, match=r"'a\.b' is no name for a server"):
        Settings(mcp_servers={"a.b": McpServer(command="x")})


def test_servers_cost_nothing_where_they_are_not_used() -> None:
    script = (
        "import sys, cogwork, cogwork.app, cogwork.cli; print([m for m in ('mcp', 'mcp_types') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- the environment ---------------------------------------------------------------------------------------


async def test_a_server_sees_of_the_environment_only_what_it_is_given(tmp_path: Path) -> None:
    script = tmp_path / "server"
    script.write_text(f"#!/bin/sh\nenv > {tmp_path}/env\n")
    script.chmod(0o755)
    given = {"PATH": "/usr/bin:/bin", "HOME": "/home/x", "LANG": "C.UTF-8", "AWS_SECRET_KEY": "no", "WORD": "up"}
    box = servers(given, s={"command": str(script), "env": {"TOKEN": "${WORD}-and-away"}})
    assert box.find("s.act") is None
    seen = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert {k: v for k, v in seen.items() if k not in ("PWD", "SHLVL", "_", "OLDPWD")} == {
        "PATH": "/usr/bin:/bin",
        "HOME": "/home/x",
        "LANG": "C.UTF-8",
        "TOKEN": "up-and-away",
    }


@pytest.mark.parametrize(
    ("server", "says"),
    [
        ({"command": "x", "env": {"TOKEN": "${GONE}"}}, "env.TOKEN, refers to ${GONE}, which is not set"),
        ({"url": "http://127.0.0.1:9/", "headers": {"Authorization": "Bearer ${GONE}"}}, "refers to ${GONE}"),
        ({"command": "x", "args": ["--key", "secret://key"]}, "refers to a secret, and none are set up"),
    ],
)
def test_a_reference_to_what_is_not_there_is_told_before_anything_is_started(server: dict[str, Any], says: str) -> None:
    box = servers({}, s=server)
    assert box.find("s.act") is None
    assert says in (box.problem("s.act") or "")


# -- secrets -----------------------------------------------------------------------------------------------

SPEC = """
cogwork: v1
name: leaks
nodes:
  a: {type: tool, tool: raw.act, args: {fail: FAIL}, on_error: skip}
output: "{{ a | default: 'nothing' }}"
"""


@pytest.mark.req("X8")
@pytest.mark.parametrize("way", ["secret", "secret-dies", "secret-told", "secret-told-failing"])
async def test_a_secret_of_a_server_that_it_gives_away_is_in_no_error_event_log_or_file(
    way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = raw(way.removesuffix("-failing"), env={"DB_PASSWORD": CANARY})
    app = App(settings=Settings(mcp_servers={"raw": McpServer(**server)}, state_dir=tmp_path / "state"))
    spec = SPEC.replace("FAIL", "true" if way.endswith("failing") else "false")
    told: list[str] = []
    with opened(app) as stage:
        with app.checkpoints() as saver:
            graph = app.compile(spec, checkpointer=saver)
            async for event in graph.aevents({}, {"configurable": {"thread_id": "t"}}):
                told.append(repr(event))
        told += [repr(stage.servers.health()), repr(app.settings), repr(stage.box.find("raw.act"))]
    told += [record.getMessage() + (record.exc_text or "") for record in caplog.records]

    assert any("***" in each for each in told), told
    assert [each for each in told if CANARY in each] == []
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert kept and [path for path in kept if CANARY.encode() in path.read_bytes()] == []


@pytest.mark.req("X8")
async def test_a_header_that_a_server_gives_away_is_in_no_error_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    headers = {"Authorization": f"Bearer {CANARY}"}
    with web("echo") as server, opened(web={"url": server.url, "headers": headers}) as stage:
        fault = await stage.fault("web.act")
        told = [repr(stage.app.settings), *(record.getMessage() for record in caplog.records)]

    assert "you are ***" in fault.message
    assert [each for each in [fault.message, *told] if CANARY in each] == []
    assert [each for each in told if "session-of-the-test" in each] == []


async def test_an_ordinary_value_of_the_environment_is_left_alone_in_results() -> None:
    with opened(raw=raw("garbage-first", env={"MODE": "done all the same"})) as stage:
        assert await stage.call("raw.act") == "done all the same"
