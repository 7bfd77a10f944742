"""The repository's own ``langgraph.json`` under ``langgraph dev``: every catalog workflow with its form, offline."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests import servers
from tests.servers import HOUSE, Server

if why := servers.missing():
    pytest.skip(why, allow_module_level=True)

from langgraph_sdk.client import LangGraphClient

pytestmark = pytest.mark.timeout(900)
DECLARED: dict[str, Any] = json.loads((HOUSE / "langgraph.json").read_text())
GRAPHS = sorted(DECLARED["graphs"])


def _placed(entry: str) -> str:
    """An entry of langgraph.json with the repository's folder in it."""
    return str(HOUSE / entry.removeprefix("./"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of what the repository's file declares, in a working folder of its own."""
    source, folder = tmp_path_factory.mktemp("declared"), tmp_path_factory.mktemp("catalog")
    graphs = {name: _placed(entry) for name, entry in DECLARED["graphs"].items()}
    checkpointer = {"path": _placed(DECLARED["checkpointer"]["path"])}
    http = {"app": _placed(DECLARED["http"]["app"])}
    auth = {**DECLARED["auth"], "path": _placed(DECLARED["auth"]["path"])}
    written = {**DECLARED, "graphs": graphs, "checkpointer": checkpointer, "auth": auth, "http": http}
    (source / "langgraph.json").write_text(json.dumps(written))
    (source / "examples").symlink_to(HOUSE / "examples")
    roots = {"COGWORK_ROOTS": json.dumps([".", str(HOUSE / "examples")])}
    started = Server(folder, source, COGWORK_SERVER__AUTH="none", **roots).start()
    yield started
    started.stop()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[LangGraphClient]:
    """A client of the server."""
    async with server.client() as opened:
        yield opened


@pytest.mark.req("D6")
@pytest.mark.parametrize("name", GRAPHS)
async def test_a_catalog_workflow_is_served_with_a_form_and_its_steps(client: LangGraphClient, name: str) -> None:
    assistant = (await client.assistants.search(graph_id=name))[0]
    form = (await client.assistants.get_schemas(assistant["assistant_id"]))["input_schema"]
    assert form is not None and form["type"] == "object" and form["properties"]
    for field, schema in form["properties"].items():
        assert schema.get("description"), f"{name}.{field} has no description"
        assert {"type", "enum", "anyOf", "oneOf"} & set(schema), f"{name}.{field} has no type"
    drawing = await client.assistants.get_graph(name)
    ids = {node["id"] for node in drawing["nodes"]}
    assert all({edge["source"], edge["target"]} <= ids for edge in drawing["edges"])
    assert ids > {"__start__", "__end__"}


@pytest.mark.req("D4", "D6")
async def test_incident_triage_runs_to_its_person_and_writes_the_report(
    client: LangGraphClient, server: Server
) -> None:
    thread = (await client.threads.create())["thread_id"]
    paused = await client.runs.wait(thread, "incident_triage", input={"log": "examples/data/shop.log"})
    [question] = paused["__interrupt__"]
    assert question["value"]["at"] == "approve"
    ended = await client.runs.wait(thread, "incident_triage", command={"resume": {"decision": "approve"}})
    assert ended["run"]["status"] == "completed"
    assert "ZeroDivisionError" in _only_file(server.home / "reports").read_text()


@pytest.mark.req("D6")
async def test_the_router_answers_a_question_over_documents(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    asked = {"request": "Which document says how often a failed payment is retried?", "mode": "information"}
    state = await client.runs.wait(thread, "auto", input=asked)
    assert state["run"]["status"] == "completed"
    assert state["output"]


@pytest.mark.req("D6", "E2", "R5")
async def test_a_run_that_was_begun_there_has_an_execution_with_its_rest_its_end_and_its_history(
    client: LangGraphClient, server: Server
) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "incident_triage", input={"log": "examples/data/shop.log"})
    resting = _execution(server, thread)
    assert (resting["status"], resting["reason"], resting["origin"]) == ("paused", "human", "langgraph")
    await client.runs.wait(thread, "incident_triage", command={"resume": {"decision": "reject"}})
    ended = _execution(server, thread)
    assert ended["status"] == "completed" and ended["steps"] > 3
    assert ended["kinds"][0] == "run.started" and ended["kinds"][-1] == "run.completed"


@pytest.mark.req("D6", "M10", "X3")
async def test_the_doors_are_mounted_there_and_see_the_runs_that_were_begun_there(
    client: LangGraphClient, server: Server
) -> None:
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "incident_triage", input={"log": "examples/data/shop.log"})
    async with httpx2.AsyncClient(base_url=f"{server.url}/cogwork") as door:
        assert (await door.get("/health/ready")).json() == {"status": "ready"}
        listed = (await door.get("/api/v1/executions", params={"status": "paused"})).json()["executions"]
        assert thread in [each["thread"] for each in listed]
        assert (await door.get("/api/v1/executions", headers={"Origin": "https://evil.example"})).status_code == 403
        begun = {"workflow": "incident_triage", "input": {"log": "examples/data/shop.log"}, "wait": 60}
        told = (await door.post("/api/v1/executions", json=begun, timeout=90)).json()
        assert (told["status"], told["reason"]) == ("paused", "human"), told
        page = await door.get(f"/executions/{told['execution_id']}", headers={"Accept": "text/html"})
        assert page.status_code == 200 and "/cogwork/static/" in page.text


def _execution(server: Server, thread: str) -> dict[str, Any]:
    """What the server's records say of the execution on a thread."""
    with closing(sqlite3.connect(server.state / "records.sqlite")) as records:
        records.row_factory = sqlite3.Row
        row = records.execute("SELECT * FROM cogwork_executions WHERE thread = ?", (thread,)).fetchone()
        query = "SELECT kind FROM cogwork_events WHERE execution_id = ? ORDER BY seq"
        kinds = [each["kind"] for each in records.execute(query, (row["id"],))]
        steps = records.execute("SELECT count(*) FROM cogwork_steps WHERE execution_id = ?", (row["id"],)).fetchone()[0]
    return {**dict(row), "kinds": kinds, "steps": steps}


async def test_no_catalog_workflow_blocks_the_event_loop(server: Server) -> None:
    assert "Blocking" not in server.said()


def _only_file(folder: Path) -> Path:
    [found] = folder.iterdir()
    return found
