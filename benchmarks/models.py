"""Model calls: how many a second go through a graph, and what each costs over the bare client, against aimock."""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import Cell, Table, median, verdict
from benchmarks.settings import Settings

TARGET: Final = 100.0
"""Model calls a second through a graph."""
AT_ONCE: Final = (1, 10, 50)
TOLD: Final = "Say hello."
SPEC: Final[dict[str, Any]] = {
    "cogwork": "v1",
    "name": "asks",
    "input": {"items": {"type": "array"}},
    "output": "{{ size(each) }}",
}


@dataclass(slots=True)
class Subject:
    """One way of asking: ``ask`` asks so many times."""

    name: str
    ask: Callable[[int], Awaitable[None]]
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    async def measure(self, calls: int) -> None:
        """Ask, and keep what a call took."""
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        await self.ask(calls)
        self.wall.append((time.perf_counter() - wall) / calls)
        self.cpu.append((time.process_time() - cpu) / calls)


async def models(settings: Settings) -> list[Table]:
    """Calls of a model that answers at once, in five pieces; the endpoint is on the same machine and takes its share."""
    table = Table(
        name="models",
        title="model calls against aimock on the loopback (medians)",
        columns=("at once", "subject", "rounds", "calls/s", "cpu ms/call", "wall ratio", "cpu ratio", ">= 100/s"),
    )
    from tests.peers import missing

    if reason := missing("llmock"):
        table.notes.append(f"nothing was measured: {reason}")
        return [table]
    from tests.peers.models import aimock, saying

    rounds, calls = max(1, settings.repetitions // 8), max(2, settings.size)
    answer = saying(TOLD, "Hello to you, whoever you are.", chunkSize=6)
    with tempfile.TemporaryDirectory() as folder, aimock(Path(folder), answer) as mock:
        for at_once in AT_ONCE:
            settings.tell(f"models: {at_once} at once")
            subjects = _subjects(mock.url, at_once)
            for each in subjects:
                await each.ask(at_once)
            for _ in range(rounds):
                for each in subjects:
                    await each.measure(calls)
            table.rows.extend(_row(at_once, each, subjects[0]) for each in subjects)
    table.notes.append("the ratios are over the bare client's astream; no checkpointer is used")
    return [table]


def _row(at_once: int, measured: Subject, bare: Subject) -> tuple[Cell, ...]:
    wall, cpu = median(measured.wall), median(measured.cpu)
    ratios = (wall / median(bare.wall), cpu / median(bare.cpu))
    target = verdict(1 / wall >= TARGET) if measured.name == "graph" else None
    return (at_once, measured.name, len(measured.wall), 1 / wall, cpu * 1_000, *ratios, target)


def _subjects(url: str, at_once: int) -> list[Subject]:
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    from cogwork.app import App
    from cogwork.models.provider import Provider
    from cogwork.settings import Settings as AppSettings

    bare = ChatOpenAI(model="tiny", api_key=SecretStr("x"), base_url=f"{url}/v1", stream_usage=True)
    provider = Provider(base_url=f"{url}/v1", api_key=SecretStr("x"))
    limited = Provider(
        base_url=f"{url}/v1",
        max_concurrency=at_once,
        requests_per_minute=10_000_000,
        tokens_per_minute=1_000_000_000,
    )
    app = App(settings=AppSettings(model="own:tiny", providers={"own": provider, "limited": limited}))
    each = {"for_each": "input.items", "max_parallel": at_once, "nodes": {"a": {"type": "llm", "prompt": TOLD}}}
    graph = app.compile({**SPEC, "nodes": {"each": each}})

    async def through_graph(calls: int) -> None:
        state = await graph.ainvoke({"items": list(range(calls))}, {"recursion_limit": 100_000})
        if state["output"] != calls:
            raise RuntimeError(f"the graph made {state['output']} of {calls} calls")

    return [
        Subject("langchain-openai", _streaming(bare, at_once)),
        Subject("cogwork model", _streaming(app.models.find("own:tiny"), at_once)),
        Subject("with limits", _streaming(app.models.find("limited:tiny"), at_once)),
        Subject("graph", through_graph),
    ]


def _streaming(model: Any, at_once: int) -> Callable[[int], Awaitable[None]]:
    async def ask(calls: int) -> None:
        left = iter(range(calls))

        async def worker() -> None:
            for _ in left:
                text = "".join([piece.text async for piece in model.astream(TOLD)])
                if not text.startswith("Hello"):
                    raise RuntimeError(f"the model said {text!r}")

        await asyncio.gather(*(worker() for _ in range(at_once)))

    return ask
