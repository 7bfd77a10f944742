"""Workflows that use the public MCP servers, over standard streams and over HTTP, through the doors that users use."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cogwork.app import App
from cogwork.settings import Settings
from cogwork.tools.mcp.config import McpServer
from state.errors import Asked
from tests.mcp_stage import opened
from tests.peers import needs
from tests.peers.servers import clock, everything, everything_at, filesystem, free_port, git, house, listening, memory

pytestmark = [pytest.mark.req("X8", "R4")]
NODE = shutil.which("node") or "node"
THREAD = {"configurable": {"thread_id": "t"}}


def app(**servers: dict[str, Any]) -> App:
    """cogwork with these servers."""
    return App(settings=Settings(mcp_servers={name: McpServer(**server) for name, server in servers.items()}))


@needs("mcp-server-filesystem")
async def test_a_workflow_reads_and_writes_files_over_mcp(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("twelve apples")
    cogwork = app(files=filesystem(tmp_path, effects={"read_*": "read"}))
    spec = f"""
cogwork: v1
name: over_mcp
nodes:
  look: {{type: tool, tool: files.read_text_file, args: {{path: {tmp_path}/in.txt}}}}
  note: {{type: tool, tool: files.write_file, args: {{path: {tmp_path}/out.txt, content: "{{{{ look.content }}}}, counted"}}}}
output: "{{{{ look.content }}}}"
"""
    with opened(cogwork):
        assert cogwork.check(spec) == []
        state = await cogwork.compile(spec).ainvoke({}, THREAD)

    assert state["output"] == "twelve apples"
    assert (tmp_path / "out.txt").read_text() == "twelve apples, counted"


@needs("mcp-server-filesystem")
async def test_check_knows_the_arguments_and_the_results_of_a_servers_tools(tmp_path: Path) -> None:
    cogwork = app(files=filesystem(tmp_path))
    spec = """
cogwork: v1
name: faulty
nodes:
  look: {type: tool, tool: files.read_text_file, args: {pth: x}}
  next: {type: transform, set: "{{ look.contents }}"}
  typo: {type: tool, tool: files.read_txt_file, args: {path: x}}
"""
    with opened(cogwork):
        found = {(problem.code, problem.pointer): problem for problem in cogwork.check(spec)}

    assert ("unknown_argument", "/nodes/look/args/pth") in found
    assert ("missing_argument", "/nodes/look/args") in found
    assert "no field `contents`" in found["type_mismatch", "/nodes/next/set"].message
    assert found["unknown_tool", "/nodes/typo/tool"].hint == "did you mean 'files.read_text_file'?"


async def test_check_says_that_a_server_is_out_of_reach_instead_of_that_its_tool_is_unknown() -> None:
    cogwork = app(files={"command": "/nowhere/server"})
    spec = "cogwork: v1\nname: x\nnodes:\n  a: {type: tool, tool: files.read, args: {path: x}}\n"
    with opened(cogwork):
        (problem,) = cogwork.check(spec)

    assert (problem.code, problem.pointer, problem.line) == ("tool_server_unreachable", "/nodes/a/tool", 4)
    assert "No such file or directory" in problem.message


@needs("mcp-server-filesystem")
async def test_a_file_outside_the_servers_folders_is_a_fault_of_the_tool(tmp_path: Path) -> None:
    with opened(files=filesystem(tmp_path)) as stage:
        fault = await stage.fault("files.read_text_file", {"path": "/etc/passwd"})

    assert fault.fault_class == "tool_error"
    assert "Access denied" in fault.message


@needs("mcp-server-memory")
async def test_a_server_keeps_what_one_step_told_it_for_the_next(tmp_path: Path) -> None:
    cogwork = app(mind=memory(tmp_path / "graph.json"))
    spec = """
cogwork: v1
name: remembers
nodes:
  tell:
    type: tool
    tool: mind.create_entities
    args: {entities: [{name: Ada, entityType: person, observations: ["likes {{ run.id | default: 'tea' }}"]}]}
  ask: {type: tool, tool: mind.search_nodes, args: {query: Ada}, depends_on: tell}
output: "{{ ask.entities[0].name }}"
"""
    with opened(cogwork):
        state = await cogwork.compile(spec).ainvoke({}, THREAD)

    assert state["output"] == "Ada"


async def checked_everything(stage: Any) -> None:
    """What ``server-everything`` offers, whichever way it is reached."""
    told: list[float] = []
    assert await stage.call("every.echo", {"message": "hi"}) == "Echo: hi"
    assert await stage.call("every.get-structured-content", {"location": "Chicago"}) == {
        "temperature": 36,
        "conditions": "Light rain / drizzle",
        "humidity": 82,
    }
    words, image, *_ = await stage.call("every.get-tiny-image")
    assert (words, image["type"], image["mime"]) == ("Here's the image you requested:", "image", "image/png")
    links = await stage.call("every.get-resource-links", {"count": 2})
    assert [link["type"] for link in links[1:]] == ["resource_link", "resource_link"]
    await stage.call(
        "every.trigger-long-running-operation",
        {"duration": 0.2, "steps": 2},
        progress=lambda done, total, message: told.append(done / total),
    )
    assert told == [0.5, 1.0]
    fault = await stage.fault("every.get-sum", {"a": "x", "b": 1})
    assert fault.fault_class == "invalid_input"
    with pytest.raises(Asked, match="Please provide inputs") as asked:
        await stage.call("every.trigger-elicitation-request")
    answers = {asked.value.id: {"answer": {"name": "Ada"}, "kept": asked.value.kept}}
    assert "Ada" in str(await stage.call("every.trigger-elicitation-request", answers=answers))
    (part,) = await stage.call("mcp.read", {"server": "every", "uri": "demo://resource/dynamic/text/1"})
    assert part["mime"] == "text/plain" and "Resource 1" in part["text"]
    assert "simple-prompt" in [prompt["name"] for prompt in await stage.call("mcp.prompts", {"server": "every"})]
    filled = await stage.call(
        "mcp.prompt", {"server": "every", "name": "args-prompt", "args": {"city": "Rome", "state": "Lazio"}}
    )
    assert "Rome" in filled["messages"][0]["content"]


@needs("mcp-server-everything")
async def test_all_that_the_server_everything_offers_over_standard_streams() -> None:
    with opened(every=everything()) as stage:
        await checked_everything(stage)


@needs("mcp-server-everything")
async def test_all_that_the_server_everything_offers_over_http() -> None:
    port = free_port()
    with (
        listening(everything_at(NODE), port, PORT=str(port)),
        opened(every={"url": f"http://127.0.0.1:{port}/mcp"}) as stage,
    ):
        await checked_everything(stage)


@needs("mcp-server-everything")
async def test_a_server_over_http_that_dies_within_a_call_is_told_of_at_once() -> None:
    port = free_port()
    with (
        listening(everything_at(NODE), port, PORT=str(port)) as process,
        opened(every={"url": f"http://127.0.0.1:{port}/mcp", "read_timeout": 600}) as stage,
    ):
        heard, long = asyncio.Event(), {"duration": 500, "steps": 10_000}
        tool = "every.trigger-long-running-operation"
        call = asyncio.create_task(stage.fault(tool, long, progress=lambda *_: heard.set()))
        await heard.wait()
        process.kill()
        fault = await call

    assert fault.fault_class == "connection"
    assert "the connection was lost" in fault.message


async def test_the_git_server_reads_a_repository(tmp_path: Path) -> None:
    for words in (
        ["init", "-q"],
        ["-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qm", "First", "--allow-empty"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
    with opened(repo=git(tmp_path, effects={"git_log": "read"})) as stage:
        said = await stage.call("repo.git_log", {"repo_path": str(tmp_path)})
        tool = stage.box.find("repo.git_log")
        assert tool is not None and (tool.effect, tool.idempotent) == ("read", True)

    assert "First" in str(said)


async def test_the_time_server_tells_the_time() -> None:
    asked = {"source_timezone": "Europe/Berlin", "time": "12:00", "target_timezone": "Asia/Tokyo"}
    with opened(time=clock()) as stage:
        told = await stage.call("time.convert_time", asked, output={"type": "object"})
        fault = await stage.fault("time.get_current_time", {"timezone": "Nowhere/Land"})

    assert "T12:00" in told["source"]["datetime"]
    assert fault.fault_class in ("tool_error", "invalid_input")


@pytest.mark.parametrize(("session", "counts"), [("shared", [1, 2, 3]), ("run", [1, 2, 3]), ("call", [1, 1, 1])])
async def test_the_steps_of_a_run_share_what_their_session_setting_says(session: str, counts: list[int]) -> None:
    cogwork = app(house=house(session=session))
    spec = """
cogwork: v1
name: counts
nodes:
  a: {type: tool, tool: house.count, args: {name: x}}
  b: {type: tool, tool: house.count, args: {name: x}, depends_on: a}
  c: {type: tool, tool: house.count, args: {name: x}, depends_on: b}
output: "{{ [a.result, b.result, c.result] }}"
"""
    with opened(cogwork):
        graph = cogwork.compile(spec)
        first = await graph.ainvoke({}, {"configurable": {"thread_id": "1"}})
        second = await graph.ainvoke({}, {"configurable": {"thread_id": "2"}})

    assert first["output"] == counts
    assert second["output"] == ([4, 5, 6] if session == "shared" else counts)
