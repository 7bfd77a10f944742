"""Agents whose model and whose tools are other people's servers, in one run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cogwork.app import App
from cogwork.settings import Settings
from cogwork.tools.mcp.config import McpServer
from tests import servers
from tests.mcp_stage import opened
from tests.peers import needs
from tests.peers.models import KEY, Mock, aimock, answering, saying
from tests.peers.servers import filesystem

pytestmark = [needs("llmock"), needs("mcp-server-filesystem"), pytest.mark.req("X6", "X8")]
READ = "files_read_text_file"
SPEC = """
cogwork: v1
name: reader
nodes:
  read: {type: llm, model: "peer:tiny", prompt: "Read KIND.", tools: ["files.read_text_file"]}
output: "{{ read }}"
"""


def calling(*files: Path) -> dict[str, Any]:
    return {"toolCalls": [{"name": READ, "arguments": {"path": str(file)}} for file in files]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("read")
    (made / "a.txt").write_text("twelve apples")
    (made / "b.txt").write_text("seven pears")
    return made


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Mock]:
    a, b = folder / "a.txt", folder / "b.txt"
    done = saying("", "Nineteen pieces of fruit.", usage={"prompt_tokens": 40, "completion_tokens": 10})["response"]
    fixtures = [
        answering("both", done, hasToolResult=True),
        answering("both", calling(a, b), hasToolResult=False),
    ]
    for told, first, second in (("a then b", a, b), ("b then a", b, a)):
        fixtures += [
            answering(told, calling(first), turnIndex=0),
            answering(told, calling(second), turnIndex=1),
            answering(told, done, turnIndex=2),
        ]
    fixtures.append(answering("Read nothing", done))
    with aimock(tmp_path_factory.mktemp("aimock"), *fixtures) as running:
        yield running


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("told", "turns"),
    [
        ("both", [["twelve apples", "seven pears"]]),
        ("a then b", [["twelve apples"], ["seven pears"]]),
        ("b then a", [["seven pears"], ["twelve apples"]]),
    ],
)
async def test_a_model_of_others_calls_tools_of_others_in_the_order_that_it_chooses(
    mock: Mock, folder: Path, kind: str, told: str, turns: list[list[str]]
) -> None:
    cogwork = App(
        settings=Settings(
            providers={"peer": getattr(mock, kind)()},
            mcp_servers={"files": McpServer(**filesystem(folder, effects={"read_*": "read"}))},
        )
    )
    with opened(cogwork):
        graph = cogwork.compile(SPEC.replace("KIND", told))
        state = await graph.ainvoke({}, {"configurable": {"thread_id": f"{kind} {told}"}})
        health = cogwork.health()

    assert state["output"] == "Nineteen pieces of fruit."
    made = [path for path in sorted(state["results"]) if path.endswith(".call")]
    seen = [
        [state["results"][path]["content"] for path in made if path.startswith(f"read[{turn}].")]
        for turn in range(len(turns))
    ]
    assert seen == turns
    assert all(READ in str(each["body"]["tools"]) for each in mock.requests(told))
    assert {each["service"]: each["state"] for each in health["breakers"]}["mcp:files"] == "closed"
    assert len(health["breakers"]) == 2 and len(health["models"]) == len(health["mcp"]) == 1
    assert KEY.get_secret_value() not in str(health)


SERVED = """
from contextlib import asynccontextmanager

from cogwork.app import app

mine = app()
reader = mine.compile("reader.yaml")


@asynccontextmanager
async def checkpoints():
    with mine.checkpoints() as saver:
        yield saver
"""


PLAIN = """
cogwork: v1
name: reader
nodes:
  read: {type: llm, model: "openai:gpt-4o-mini", history: true, prompt: "Read nothing."}
output: "{{ read }}"
"""


@pytest.mark.req("D6")
@pytest.mark.skipif(servers.missing() is not None, reason=servers.missing() or "")
@pytest.mark.parametrize("tool", ["files.read_text_file", "text.read", ""])
async def test_under_langgraph_dev_neither_model_nor_tools_block_the_event_loop(
    mock: Mock, folder: Path, tmp_path: Path, tool: str
) -> None:
    """Without a server of tools nobody has imported the HTTP library before the model's first call; the last has no tools."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "served.py").write_text(SERVED)
    told = SPEC.replace("KIND", "a then b").replace('"files.read_text_file"', f'"{tool}", "workflow.*"')
    (source / "reader.yaml").write_text(told if tool else PLAIN)
    served = {"dependencies": ["."], "graphs": {"reader": "./served.py:reader"}}
    (source / "langgraph.json").write_text(json.dumps({**served, "checkpointer": {"path": "./served.py:checkpoints"}}))
    given = filesystem(folder, effects={"read_*": "read"})
    server = servers.Server(
        tmp_path,
        source,
        COGWORK_PROVIDERS=json.dumps({"peer": {"base_url": f"{mock.url}/v1"}}),
        OPENAI_BASE_URL=f"{mock.url}/v1",
        COGWORK_MODEL_FACTS=json.dumps({"peer:tiny": {"context_length": 8000}}),
        COGWORK_MCP_SERVERS=json.dumps({"files": given} if tool.startswith("files") else {}),
    ).start()
    try:
        async with server.client() as client:
            thread = (await client.threads.create())["thread_id"]
            state: Any = await client.runs.wait(thread, "reader", input={})
    finally:
        server.stop()
    assert state["output"] == "Nineteen pieces of fruit."
