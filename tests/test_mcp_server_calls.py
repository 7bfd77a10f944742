"""What calls of the MCP server's verbs do: progress, cancelling, roles, workflows handed in, lists, resources, batches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from cogwork.server.mcp.door import Rules
from cogwork.server.mcp.refusals import RESOURCE_NOT_FOUND
from cogwork.tools.toolbox import FunctionTool
from tests.mcp_door import LEGACY, MODERN, House, called, client, house, refused
from tests.test_engine import ASKING, PLAIN
from tests.threads import until

pytestmark = [pytest.mark.req("M1")]
ERAS = pytest.mark.parametrize("era", [LEGACY, MODERN])
HELD: dict[str, Any] = {
    "cogwork": "v1",
    "name": "held",
    "nodes": {
        "first": {"type": "transform", "set": {"value": 1}},
        "wait": {"type": "tool", "tool": "door.wait", "depends_on": ["first"]},
    },
    "output": "{{ wait }}",
}
WRITING: dict[str, Any] = {
    "cogwork": "v1",
    "name": "writing",
    "nodes": {"write": {"type": "tool", "tool": "door.write"}},
}


class Doors:
    """A tool that waits until it is let through, and one that writes."""

    def __init__(self) -> None:
        self.open, self.began, self.written = False, 0, 0

    async def wait(self) -> str:
        """Wait."""
        self.began += 1
        while not self.open:
            await asyncio.sleep(0.01)
        return "through"

    async def write(self) -> str:
        """Write."""
        self.written += 1
        return "written"

    def tools(self) -> list[FunctionTool]:
        """Both of them."""
        return [
            FunctionTool.from_function(self.wait, name="door.wait", description="Wait.", effect="read"),
            FunctionTool.from_function(self.write, name="door.write", description="Write.", effect="write"),
        ]


@pytest.fixture
def doors() -> Doors:
    """The tools."""
    return Doors()


@pytest.fixture
async def home(tmp_path: Path, doors: Doors) -> AsyncIterator[House]:
    """A house with workflows that wait, ask and write."""
    async with house(tmp_path, tools=doors.tools()) as made:
        for source in (PLAIN, ASKING, HELD, WRITING):
            await made.engine.create_workflow(source=source)
        yield made


async def standing(home: House, workflow: str = "held") -> dict[str, Any]:
    """How the latest execution of a workflow stands."""
    page: Any = await home.engine.list_executions(workflow)
    return dict(page["executions"][0]) if page["executions"] else {"status": "none"}


@ERAS
@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_progress_grows_step_by_step_and_tells_the_id_first(
    home: House, doors: Doors, era: str, mode: str
) -> None:
    doors.open = True
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async with client(home.server(), era) as talk:
        arguments = {"workflow_name": "held", "execution_mode": mode, "wait": 30}
        told = await called(talk, "execute_workflow", arguments, progress_callback=hear)
    assert (told["status"], told["output"], told["execution_mode"]) == ("completed", "through", mode)
    assert heard[0][0] == 0 and told["execution_id"] in str(heard[0][2])
    assert [each[0] for each in heard] == sorted({each[0] for each in heard}), "it only grows"
    assert heard[-1][:2] == (2, 2)
    assert told["steps"] == {"done": 2, "total": 2, "percent": 100, "current": []}


@pytest.mark.req("X3")
@ERAS
@pytest.mark.parametrize(("given_up", "status"), [("pause", "paused"), ("cancel", "cancelled"), ("go_on", "running")])
async def test_a_cancelled_call_lets_its_execution_rest_or_end_or_go_on_as_was_asked(
    home: House, doors: Doors, era: str, given_up: str, status: str
) -> None:
    mode = "async" if given_up == "go_on" else "sync"
    arguments = {"workflow_name": "held", "execution_mode": mode, "wait": 60, "when_cancelled": given_up}
    async with client(home.server(), era) as talk:
        calling = asyncio.create_task(talk.call_tool("execute_workflow", arguments))
        await until(lambda: doors.began > 0)
        running: dict[str, Any] = {}

        async def working() -> bool:
            running.update(
                await called(talk, "check_execution_status", {"execution_id": (await standing(home))["execution_id"]})
            )
            return bool(running["steps"]["current"] == ["wait"])

        await until(working)
        assert running["progress"] == "Processing step 2 of 2"
        calling.cancel()

        async def came_to() -> bool:
            return bool((await standing(home))["status"] == status)

        await until(came_to)
        doors.open = True
        if status == "paused":
            resumed = {"execution_id": running["execution_id"], "wait": 30}
            assert (await called(talk, "resume_execution", resumed))["output"] == "through"


@pytest.mark.req("M9")
async def test_roles_hold_for_every_tool_and_refusals_are_written_down(home: House, doors: Doors) -> None:
    async with client(home.server(role="viewer")) as talk:
        assert (await called(talk, "list_workflows"))["total_count"] > 4
        for tool, arguments in (
            ("execute_workflow", {"workflow_name": "writing"}),
            ("workflow.writing", {}),
            ("cancel_execution", {"execution_id": "x"}),
            ("resume_execution", {"execution_id": "x"}),
            ("publish_workflow", {"workflow": PLAIN}),
            ("clean_up_execution", {"execution_id": "x"}),
            ("execute_batch", {"workflow_name": "plain", "inputs": [{}]}),
        ):
            assert (await refused(talk, tool, arguments))["code"] == "permission_denied", tool
    assert doors.written == 0
    assert ("viewer", "executions.start", "writing", "denied") in home.audit.entries
    async with client(home.server(role="operator")) as talk:
        assert (await refused(talk, "publish_workflow", {"workflow": PLAIN}))["code"] == "permission_denied"
        assert (await called(talk, "workflow.writing"))["output"] == "written"


@pytest.mark.req("M3")
async def test_a_workflow_that_is_handed_in_is_checked_and_may_only_read(home: House, doors: Doors) -> None:
    async with client(home.server()) as talk:
        told = await called(talk, "execute_generated_workflow", {"workflow": PLAIN, "input_data": {"n": 4}})
        assert told["output"] == 8
        yaml = json.dumps({**PLAIN, "name": "as_text"})
        assert (await called(talk, "execute_generated_workflow", {"workflow": yaml}))["output"] == 2
        error = await refused(talk, "execute_generated_workflow", {"workflow": WRITING})
        assert error["code"] == "permission_denied" and "allow_generated_writes" in error["message"]
        broken = {**PLAIN, "output": "{{ nobody.value }}"}
        error = await refused(talk, "execute_generated_workflow", {"workflow": broken})
        assert error["code"] == "invalid_workflow" and error["details"]["problems"][0]["pointer"]
        error = await refused(talk, "execute_generated_workflow", {"workflow_description": "make coffee"})
        assert "no generator" in error["message"]
        outside = {"cogwork": "v1", "name": "x", "nodes": {"a": {"use": "../../../../etc/hosts.yaml"}}}
        assert (await refused(talk, "execute_generated_workflow", {"workflow": outside}))["code"] == "invalid_input"
        changed = {"workflow": PLAIN, "config_override": {"nodes": {"a": {"use": "../../etc/hosts.yaml"}}}}
        error = await refused(talk, "execute_generated_workflow", changed)
        assert error["code"] == "invalid_input" and "files are not read for callers" in error["message"]
    assert doors.written == 0
    async with client(home.server(Rules(allow_generated_writes=True))) as talk:
        assert (await called(talk, "execute_generated_workflow", {"workflow": WRITING}))["output"] == "written"


async def test_problems_come_with_code_place_and_hint(home: House) -> None:
    async with client(home.server()) as talk:
        broken = "cogwork: v1\nname: x\nnodes:\n  a: {type: transform, set: {v: '{{ input.m }}'}}\n"
        found = await called(talk, "validate_workflow", {"workflow": broken})
        problem = found["problems"][0]
        assert not found["valid"] and problem["code"] and problem["line"] == 4 and problem["hint"]
        assert (await called(talk, "validate_workflow", {"workflow_name": "plain"}))["valid"]
        assert (await called(talk, "validate_workflow", {"workflow_name": "planning"}))["valid"]
        assert (await refused(talk, "validate_workflow"))["code"] == "invalid_input"


@pytest.mark.req("X2")
async def test_options_of_the_documents_are_heeded_and_time_out_is_a_status(home: House) -> None:
    async with client(home.server()) as talk:
        arguments = {"workflow_name": "held", "timeout": 0.3, "tags": ["slow"], "metadata": {"for": "test"}}
        result = await talk.call_tool("execute_workflow", arguments)
        told: Any = result.structured_content
        assert result.is_error and told["status"] == "timeout" and told["tags"] == ["slow"]
        status = await called(talk, "check_execution_status", {"execution_id": told["execution_id"]})
        assert status["status"] == "timeout" and status["error"]["class"] == "timeout"
        keyed = {"workflow": "plain", "input": {"n": 2}, "idempotency_key": "k1", "execution_mode": "async"}
        ids = {(await called(talk, "execute_workflow", keyed))["execution_id"] for _ in range(3)}
        assert len(ids) == 1
        told = await called(talk, "list_executions", {"tags": ["slow"]})
        assert len(told["executions"]) == 1
        error = await refused(talk, "execute_workflow", {"workflow_name": "plain", "tiemout": 3})
        assert "tiemout" in error["message"]
        memory = {"workflow_name": "plain", "config_override": {"memory": {"backend": "redis"}}}
        assert "setting of the server" in (await refused(talk, "execute_workflow", memory))["message"]


async def test_lists_have_pages_folders_and_patterns_and_show_no_other_folder(home: House) -> None:
    async with client(home.server(Rules(page=3))) as talk:
        names: list[str] = []
        cursor = None
        while True:
            page = await talk.list_tools(cursor=cursor)
            names += [tool.name for tool in page.tools if tool.name.startswith("workflow.")]
            if (cursor := page.next_cursor) is None:
                break
        assert len(names) == len(set(names)) == 11 and "workflow.held" in names
        library = await called(talk, "list_workflows", {"folder": "library", "pattern": "*l*"})
        assert [each["name"] for each in library["workflows"]] == ["held", "plain"]
        assert library["workflows"][1]["input"]["properties"]["n"]
        catalog = await called(talk, "list_workflows", {"config_path": "catalog", "pattern": "*.yaml"})
        assert catalog["total_count"] == 7
        for outside in ("/etc", "../..", "/"):
            assert (await refused(talk, "list_workflows", {"folder": outside}))["code"] == "invalid_input"
        for outside in ("/etc/hosts.yaml", "../../pyproject.json", "a\nb"):
            error = await refused(talk, "execute_workflow", {"workflow_name": outside})
            assert error["code"] in ("workflow_not_found", "invalid_input")
        with pytest.raises(MCPError) as caught:
            await talk.list_tools(cursor="nonsense")
        assert caught.value.code == INVALID_PARAMS
        with pytest.raises(MCPError, match="no tool"):
            await talk.call_tool("workflow.nothing", {})


@pytest.mark.parametrize(("era", "code"), [(LEGACY, RESOURCE_NOT_FOUND), (MODERN, INVALID_PARAMS)])
async def test_executions_and_workflows_are_resources(home: House, era: str, code: int) -> None:
    async with client(home.server(Rules(page=4)), era) as talk:
        told = await called(talk, "workflow.plain", {"n": 3})
        uri = f"cogwork://executions/{told['execution_id']}"

        async def read(address: str) -> Any:
            text: str = (await talk.read_resource(address)).contents[0].text  # type: ignore[union-attr]
            return json.loads(text) if address.startswith(uri) or address.endswith("schema") else text

        assert (await read(uri))["status"] == "completed"
        events = await read(f"{uri}/events")
        assert events["events"][0]["event"] == "run.started"
        assert (await read(f"{uri}/events?after={events['last']}"))["events"] == []
        assert (await read(f"{uri}/result"))["output"]["primary_result"] == 6
        assert "twice" not in await read("cogwork://workflows/plain") and "double:" in await read(
            "cogwork://workflows/plain@1"
        )
        assert (await read("cogwork://workflows/plain/schema"))["input"]["properties"]["n"]
        found, cursor = list[str](), None
        while True:
            page = await talk.list_resources(cursor=cursor)
            found += [str(each.uri) for each in page.resources]
            if (cursor := page.next_cursor) is None:
                break
        assert uri in found and "cogwork://workflows/plain" in found and len(found) == len(set(found))
        assert len((await talk.list_resource_templates()).resource_templates) == 5
        for missing in (
            "cogwork://executions/none",
            "cogwork://workflows/none",
            "cogwork://else",
            "file:///etc/passwd",
        ):
            with pytest.raises(MCPError) as caught:
                await talk.read_resource(missing)
            assert caught.value.code == code


@pytest.mark.req("M7", "X3")
async def test_workflows_are_published_run_in_batches_paused_and_cleaned_up(home: House, doors: Doors) -> None:
    async with client(home.server()) as talk:
        made = await called(talk, "publish_workflow", {"workflow": {**PLAIN, "name": "fresh"}, "note": "first"})
        assert made["tool"] == "workflow.fresh" and made["version"] == 1
        assert (await called(talk, "publish_workflow", {"workflow": {**PLAIN, "name": "fresh", "tags": ["a"]}}))[
            "version"
        ] == 2
        batch = await called(talk, "execute_batch", {"workflow_name": "fresh", "inputs": [{"n": n} for n in range(3)]})

        async def done() -> bool:
            return bool((await called(talk, "check_batch_status", {"batch_id": batch["batch_id"]}))["progress"] == 1)

        await until(done)
        started = await called(talk, "execute_workflow", {"workflow_name": "held", "execution_mode": "async"})
        id = {"execution_id": started["execution_id"]}
        await until(lambda: doors.began > 0)
        assert (await called(talk, "pause_execution", id))["paused"]
        assert (await called(talk, "cancel_execution", {**id, "reason": "enough"}))["cancelled"]

        async def ended() -> bool:
            return bool((await called(talk, "check_execution_status", id))["status"] == "cancelled")

        await until(ended)
        assert not (await called(talk, "cancel_execution", id))["cancelled"]
        assert (await called(talk, "clean_up_execution", id))["cleaned_up"]
        assert set(await called(talk, "get_resource_usage", id)) & {
            "duration",
            "cost_usd",
            "total_tokens",
            "usage",
            "seconds",
        }
        assert "sync" in json.dumps(await called(talk, "get_capabilities"))


async def test_a_fault_of_ours_is_told_by_its_number_alone(home: House) -> None:
    def broken(ctx: Any) -> Any:
        raise RuntimeError("secret path /root/x")

    from cogwork.server.mcp.server import mcp_server

    async with client(mcp_server(broken)) as talk:
        with pytest.raises(MCPError) as caught:
            await talk.list_tools()
    assert "secret" not in str(caught.value) and "secret" not in json.dumps(caught.value.data)
