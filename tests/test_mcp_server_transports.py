"""The MCP server over its transports: people answer through both eras of the protocol, and sessions stay their owner's."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from mcp import StdioServerParameters
from mcp_types import ResourceUpdatedNotification, ToolListChangedNotification

from tests.mcp_door import LEGACY, MODERN, Person, called, client, house
from tests.peers import HERE, needs_node22, node22
from tests.test_engine import ASKING, PLAIN
from tests.threads import until

pytestmark = [pytest.mark.req("M1")]
OURS = Path(__file__).parent / "served_mcp" / "ours.py"
ERAS = pytest.mark.parametrize("era", [LEGACY, MODERN])


@ERAS
async def test_a_person_answers_over_http_through_forms_or_by_the_handle(tmp_path: Path, era: str) -> None:
    async with house(tmp_path) as home, home.served() as served:
        await home.engine.create_workflow(source=ASKING)
        person = Person({"go": "maybe"}, {"go": "no"})
        async with client(served.transport("operator"), era, person) as talk:
            told = await called(talk, "workflow.asking", {"n": 3})
        assert (told["status"], told["output"], len(person.asked)) == ("completed", {"value": 6, "go": "no"}, 2)
        async with client(served.transport("operator"), era) as talk:
            rests = await called(talk, "workflow.asking", {"n": 5})
            answer = {"execution_id": rests["execution_id"], "answers": {"sure": {"go": "yes"}}, "wait": 30}
            told = await called(talk, "resume_execution", answer)
        assert told["output"] == {"value": 10, "go": "yes"}
        assert ("operator", "executions.answer", rests["execution_id"], "done") in home.audit.entries


@ERAS
async def test_a_person_answers_over_standard_streams_and_nothing_else_is_on_them(tmp_path: Path, era: str) -> None:
    command = StdioServerParameters(command=sys.executable, args=[str(OURS), str(tmp_path / "state")])
    person = Person({"go": "yes"})
    async with client(command, era, person) as talk:
        published = await called(talk, "publish_workflow", {"workflow": ASKING})
        told = await called(talk, published["tool"], {"n": 2})
        assert told["output"] == {"value": 4, "go": "yes"}
        asked = {"workflow_name": "asking", "input_data": {"n": 3}, "execution_mode": "async"}
        handle = {"execution_id": (await called(talk, "execute_workflow", asked))["execution_id"]}

        async def rests() -> bool:
            return (await called(talk, "check_execution_status", handle))["status"] == "paused"

        await until(rests)
        told = await called(talk, "resume_execution", {**handle, "answers": {"sure": {"go": "no"}}, "wait": 30})
        assert told["output"] == {"value": 6, "go": "no"}


@pytest.mark.req("M9")
async def test_a_session_is_its_owners_alone_and_nobody_comes_in_without_a_token(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.served() as served:
        accept = {"accept": "application/json, text/event-stream"}
        about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        greeting = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": about}
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        async with served.http("admin") as mine, served.http("viewer") as theirs, served.http("nobody") as nobody:
            session = (await mine.post(served.url, json=greeting, headers=accept)).headers["mcp-session-id"]
            mine_too = {**accept, "mcp-session-id": session}
            assert (await mine.post(served.url, json=ping, headers=mine_too)).status_code == 200
            assert (await theirs.post(served.url, json=ping, headers=mine_too)).status_code == 404
            assert (await theirs.delete(served.url, headers=mine_too)).status_code == 404
            assert (await nobody.post(served.url, json=ping, headers=mine_too)).status_code == 401
            evil = {**mine_too, "host": "evil.example"}
            assert (await mine.post(served.url, json=ping, headers=evil)).status_code == 403
            evil = {**mine_too, "origin": "https://evil.example"}
            assert (await mine.post(served.url, json=ping, headers=evil)).status_code == 403
            huge = {**ping, "params": {"x": "y" * 5_000_000}}
            assert (await mine.post(served.url, json=huge, headers=mine_too)).status_code == 413


async def test_what_one_session_has_been_told_cannot_be_read_again_by_another(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.served() as served:
        accept = {"accept": "application/json, text/event-stream"}
        about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        greeting = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": about}
        async with served.http("admin") as mine, served.http("viewer") as theirs:
            first = await mine.post(served.url, json=greeting, headers=accept)
            event = next(line.removeprefix("id:").strip() for line in first.text.splitlines() if line.startswith("id:"))
            second = await theirs.post(served.url, json=greeting, headers=accept)
            session = {"mcp-session-id": second.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
            again = {"accept": "text/event-stream", "last-event-id": event, **session}
            read = await theirs.get(served.url, headers=again)
            assert "jsonrpc" not in read.text
            own = {**again, "mcp-session-id": first.headers["mcp-session-id"]}
            async with mine.stream("GET", served.url, headers=own) as stream:
                async for line in stream.aiter_lines():
                    if line.startswith("data:") and "serverInfo" in line:
                        break


async def test_clients_are_told_of_new_workflows_and_of_executions_they_subscribe_to(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.served() as served:
        await home.engine.create_workflow(source=ASKING)
        heard: list[object] = []

        async def hear(message: object) -> None:
            heard.append(message)

        async with client(served.transport(), LEGACY, message_handler=hear) as talk:
            rests = await called(talk, "workflow.asking", {"n": 1})
            uri = f"cogwork://executions/{rests['execution_id']}"
            await talk.subscribe_resource(uri)
            looked: set[str] = set()

            async def told(kind: type) -> bool:
                if kind is ToolListChangedNotification and "p" not in looked:
                    looked.add("p")
                    await asyncio.sleep(0.2)
                    await home.engine.create_workflow(source=PLAIN)
                return any(isinstance(each, kind) for each in heard)

            await until(lambda: told(ToolListChangedNotification))
            await home.engine.resume_execution(rests["execution_id"], {"sure": {"go": "yes"}})
            await until(lambda: told(ResourceUpdatedNotification))


async def test_a_client_of_2026_listens_to_the_same_changes(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.served() as served:
        await home.engine.create_workflow(source=ASKING)
        async with client(served.transport(), MODERN) as talk:
            rests = await called(talk, "workflow.asking", {"n": 1})
            uri = f"cogwork://executions/{rests['execution_id']}"
            async with talk.listen(tools_list_changed=True, resource_subscriptions=[uri]) as events:
                heard: list[str] = []

                async def collect() -> None:
                    async for event in events:
                        heard.append(type(event).__name__)

                listening = asyncio.create_task(collect())
                await asyncio.sleep(0.2)
                await home.engine.create_workflow(source=PLAIN)
                await home.engine.resume_execution(rests["execution_id"], {"sure": {"go": "yes"}})
                await until(lambda: {"ToolsListChanged", "ResourceUpdated"} <= set(heard))
                listening.cancel()


@needs_node22("@modelcontextprotocol/inspector")
async def test_the_inspector_lists_and_calls_our_tools(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.served() as served:
        await home.engine.create_workflow(source=PLAIN)
        program = str(HERE / "node_modules" / ".bin" / "mcp-inspector")
        about = [served.url, "--transport", "http", "--header", "Authorization: Bearer token-of-operator"]

        async def inspected(*options: str) -> str:
            process = await asyncio.create_subprocess_exec(
                str(node22()),
                program,
                "--cli",
                *about,
                *options,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            )
            said, complained = await process.communicate()
            assert process.returncode == 0, complained.decode()
            return said.decode()

        assert '"workflow.plain"' in await inspected("--method", "tools/list", "--strict")
        called = ("--method", "tools/call", "--tool-name", "workflow.plain", "--tool-arg", "n=21")
        assert '"output": 42' in await inspected(*called)
