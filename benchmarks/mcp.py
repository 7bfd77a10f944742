"""Calls of tools through a graph: how many a second, and what one costs beside the bare client of an MCP server."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from mcp import Client
from mcp.client.stdio import StdioServerParameters

from benchmarks.figures import Cell, Table, median, verdict
from benchmarks.settings import Settings
from cogwork.app import App
from cogwork.settings import Settings as Chosen
from cogwork.tools.function import FunctionTool
from cogwork.tools.mcp.config import McpServer

ABREAST: Final = (1, 10, 50)
"""How many calls are on their way at once."""
TARGETS: Final = {"function": 200.0, "stdio": 150.0, "http": 150.0}
"""Calls a second."""
NAMES: Final = {"function": "local_add", "stdio": "piped.add", "http": "web.add"}
SPEC: Final = """
cogwork: v1
name: calls
input: {{numbers: {{type: array, items: {{type: integer}}}}}}
nodes:
  each:
    for_each: input.numbers
    max_parallel: {abreast}
    type: tool
    tool: {tool}
    args: {{a: "{{{{ item }}}}", b: 1}}
    effect: read
output: "{{{{ each | size }}}}"
"""
SERVER: Final = '''
import sys
from mcp.server.mcpserver import MCPServer

server = MCPServer("adder", log_level="CRITICAL")


@server.tool()
def add(a: int, b: int) -> int:
    """The sum of two numbers."""
    return a + b


if len(sys.argv) > 1:
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
else:
    server.run("stdio")
'''
Round = Callable[[int], Awaitable[float]]
"""Makes so many calls and gives the seconds they took."""


async def tools(settings: Settings) -> list[Table]:
    """Calls a second through a graph, and over the bare client, in turns; medians of the rounds."""
    calls, rounds = 2 * settings.size, max(1, settings.repetitions // 5)
    table = Table(
        name="tools",
        title=f"calls of tools through a graph, {calls} a round (medians)",
        columns=("tool", "at once", "rounds", "calls/s", "target", "met", "bare calls/s", "ms over bare", "ratio"),
    )
    async with _servers() as (script, address):
        app = App(
            settings=Chosen(mcp_servers=_configured(script, address)), tools=(FunctionTool.from_function(local_add),)
        )
        try:
            for abreast in ABREAST:
                for kind in TARGETS:
                    settings.tell(f"tools: {kind}, {abreast} at once")
                    async with _bare(kind, abreast, script, address) as bare:
                        table.rows.append(await _row(kind, abreast, (calls, rounds), _graph(app, kind, abreast), bare))
        finally:
            app.close()
    table.notes.append(
        "the server, made with the SDK, runs on the same machine and is part of every figure but the first kind's"
    )
    return [table]


def local_add(a: int, b: int) -> int:
    """The sum of two numbers."""
    return a + b


async def _row(kind: str, abreast: int, amount: tuple[int, int], graph: Round, bare: Round | None) -> tuple[Cell, ...]:
    took: dict[str, list[float]] = {"graph": [], "bare": []}
    calls, rounds = amount
    await graph(calls // 4)
    for _ in range(rounds):
        gc.collect()
        took["graph"].append(await graph(calls))
        if bare is not None:
            took["bare"].append(await bare(calls))
    rate = calls / median(took["graph"])
    cells: tuple[Cell, ...] = (kind, abreast, rounds, rate, TARGETS[kind], verdict(rate >= TARGETS[kind]))
    if bare is None:
        return (*cells, None, None, None)
    over = (median(took["graph"]) - median(took["bare"])) / calls * 1e3
    return (*cells, calls / median(took["bare"]), over, median(took["graph"]) / median(took["bare"]))


def _graph(app: App, kind: str, abreast: int) -> Round:
    graph = app.compile(SPEC.format(abreast=abreast, tool=NAMES[kind]))

    async def made(calls: int) -> float:
        began = time.perf_counter()
        state: Any = await graph.ainvoke({"numbers": list(range(calls))})
        took = time.perf_counter() - began
        assert state["output"] == calls
        return took

    return made


@asynccontextmanager
async def _bare(kind: str, abreast: int, script: Path, address: str) -> AsyncIterator[Round | None]:
    """The SDK's own client, with as many calls at once."""
    if kind == "function":
        yield None
        return
    way = StdioServerParameters(command=sys.executable, args=[str(script)]) if kind == "stdio" else address
    async with Client(way) as client:
        await client.list_tools()

        async def made(calls: int) -> float:
            free = asyncio.Semaphore(abreast)

            async def one(number: int) -> None:
                async with free:
                    await client.call_tool("add", {"a": number, "b": 1})

            began = time.perf_counter()
            await asyncio.gather(*map(one, range(calls)))
            return time.perf_counter() - began

        yield made


@asynccontextmanager
async def _servers() -> AsyncIterator[tuple[Path, str]]:
    """The script of the server, and the address of one that runs."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        script = Path(folder) / "adder.py"
        script.write_text(SERVER, encoding="utf-8")
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
        probe.close()
        command = (sys.executable, str(script), str(port))
        process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
        try:
            await _listening(port)
            yield script, f"http://127.0.0.1:{port}/mcp"
        finally:
            process.kill()
            await process.wait()


async def _listening(port: int) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.1)
    raise RuntimeError("the server of the benchmark does not listen")


def _configured(script: Path, address: str) -> dict[str, McpServer]:
    return {"piped": McpServer(command=sys.executable, args=[str(script)]), "web": McpServer(url=address)}
