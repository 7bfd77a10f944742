"""Runs on threads of their own, watched from outside: what they ask, where they rest, how they go on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from graphs.graph import WorkflowGraph
from graphs.keeping import kept_by
from state.durable import Request
from tests.conftest import Stage

HOUSE = Path(__file__).parent.parent
LIMIT = 30.0
"""Seconds after which what hangs is a failure."""


async def until(holds: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(LIMIT):
        while True:
            found = holds()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.002)


class Run:
    """A run of a spec on a thread of its own."""

    def __init__(self, stage: Stage, spec: Mapping[str, Any], saver: Any = None, config: Any = None) -> None:
        self.stage, self.spec, self.saver = stage, spec, saver or InMemorySaver()
        self.config: Any = config or stage.thread()
        self.graph: WorkflowGraph = stage.graph(spec, self.saver)

    def again(self, spec: Mapping[str, Any] | None = None) -> Run:
        """The same thread by another graph object on the same saver."""
        return Run(self.stage, spec or self.spec, self.saver, self.config)

    async def go(self, input: Any = None, **options: Any) -> dict[str, Any]:
        """The state in which a call with this input ends or rests."""
        async with asyncio.timeout(LIMIT):
            return await self.graph.ainvoke(input, self.config, **options)

    async def say(self, path: str, answer: Any) -> dict[str, Any]:
        """The state after the answer to the question at the path."""
        return await self.go(Command(resume={path: answer}))

    async def begun(self, *paths: str) -> asyncio.Task[dict[str, Any]]:
        """A call with no input values, once the tools at these paths are at work."""
        task = asyncio.create_task(self.go({}))
        await until(lambda: task.done() or set(paths) <= set(self.stage.paths()))
        return task

    async def values(self) -> dict[str, Any]:
        """What the checkpoint holds."""
        return (await self.graph.aget_state(self.config)).values

    async def about(self) -> dict[str, Any]:
        """The run's own record in the checkpoint."""
        return dict((await self.values())["run"])

    async def asked(self) -> Request | None:
        """What somebody asks of the run."""
        return await kept_by(self.saver).requests.open(self.config["configurable"]["thread_id"])

    async def ask(self, request: Request) -> None:
        """Leave a request, as if its maker had died after that."""
        await kept_by(self.saver).requests.make(self.config["configurable"]["thread_id"], request)

    async def pause(self) -> None:
        """Ask the run to rest, and wait for it."""
        async with asyncio.timeout(LIMIT):
            await self.graph.apause(self.config)

    async def cancel(self, **how: Any) -> dict[str, Any]:
        """Cancel the run; its last state."""
        async with asyncio.timeout(LIMIT):
            return dict(await self.graph.acancel(self.config, **how))

    async def die(self, *paths: str) -> None:
        """Begin the run, and cut it off once the tools at these paths are at work."""
        task = await self.begun(*paths)
        await killed(task)


async def killed(task: asyncio.Task[Any]) -> None:
    """Cut the call off, as the end of its process would."""
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() or task.exception() is not None


def questions(state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What the run asks, by path."""
    return {i.value["at"]: i.value for i in state.get("__interrupt__", ())}


def process(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Another process that runs the code; its arguments are in ``sys.argv``."""
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(command, cwd=HOUSE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
