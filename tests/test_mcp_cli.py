"""The command ``cogwork mcp``: what servers there are, what one offers, and single calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cogwork.cli.root import cli
from tests.peers.servers import house, raw

pytestmark = [pytest.mark.req("X8", "R4")]


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder whose settings name three servers."""
    chosen = {"house": house(effects={"add": "read"}), "gone": {"command": "/nowhere/server"}, "odd": raw("hostile")}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COGWORK_MCP_SERVERS", json.dumps(chosen))


def run(*words: str) -> Result:
    """What the command line says."""
    return CliRunner().invoke(cli, list(words))


def told(result: Result) -> Any:
    """The JSON that it printed."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_every_server_is_listed_with_its_state_also_those_out_of_reach(configured: None) -> None:
    found = {each["server"]: each for each in told(run("mcp", "--json"))}

    assert {name: each["state"] for name, each in found.items()} == {
        "house": "connected",
        "gone": "unreachable",
        "odd": "connected",
    }
    assert (found["house"]["transport"], found["house"]["session"], found["house"]["tools"]) == ("stdio", "shared", 11)
    assert "No such file" in found["gone"]["trouble"]
    assert found["gone"]["breaker"]["state"] == "closed"
    assert "unreachable" in run("mcp").stdout


def test_one_server_shows_its_tools_resources_and_prompts(configured: None) -> None:
    shown = told(run("mcp", "house", "--json"))

    tools = {tool["name"]: tool for tool in shown["tools"]}
    assert (tools["house.add"]["effect"], tools["house.count"]["effect"]) == ("read", "write")
    assert tools["house.add"]["annotations"] == {"readOnlyHint": True}
    assert [r.get("uri", r.get("template")) for r in shown["resources"]] == ["house://garden", "house://room/{name}"]
    assert [prompt["name"] for prompt in shown["prompts"]] == ["welcome"]
    words = run("mcp", "house").stdout
    assert "reads only" in words and "may be repeated, only adds" in words and "house://garden" in words


def test_a_tool_that_cannot_be_used_says_why(configured: None) -> None:
    assert "leads outside the schema" in run("mcp", "odd").stdout


def test_a_tool_can_be_called_from_here(configured: None) -> None:
    assert told(run("mcp", "call", "house", "add", "--args", '{"a": 1, "b": 2}')) == {"result": 3}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("mcp", "hose"), 1, "did you mean 'house'?"),
        (("mcp", "gone"), 1, "No such file"),
        (("mcp", "a", "b"), 2, "cogwork mcp SERVER"),
        (("mcp", "call", "house", "ad"), 2, "did you mean 'house.add'?"),
        (("mcp", "call", "house", "add", "--args", "{"), 2, "--args is not JSON"),
        (("mcp", "call", "house", "add", "--args", "{}"), 1, "do not fit"),
        (("mcp", "call", "house", "fails"), 1, "[tool_error]"),
        (("mcp", "call", "house", "order", "--args", '{"what": "box"}'), 2, "call it in a workflow"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_to_do(
    configured: None, words: tuple[str, ...], code: int, says: str
) -> None:
    result = run(*words)
    assert result.exit_code == code, result.output
    assert says in result.output.replace("\n", " ")


def test_without_servers_it_says_how_to_name_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("mcp")
    assert result.exit_code == 2
    assert "[mcp_servers.NAME]" in result.output


def test_the_tools_of_servers_stand_among_all_tools(configured: None) -> None:
    result = run("tools", "--json")
    names = [tool["name"] for tool in json.loads(result.stdout)]
    assert "house.add" in names and "text.read" in names and "mcp.resources" in names
    assert "No such file" in result.stderr
