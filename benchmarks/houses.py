"""The engine as benchmarks use it: its workflow, and processes of their own that hold it, asked over pipes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from cogwork.app import App, app
from cogwork.engine.parts import Shared
from cogwork.engine.serving import worker_of
from cogwork.settings import Settings
from cogwork.tools.function import FunctionTool
from cogwork.workflow_engine import WorkflowEngine

STEPS: Final = ("one", "two", "three")
TRIVIAL: Final = "benchmark.trivial"
"""A workflow of DBOS that does nothing, in the same process and queue."""
CHAIN: Final[dict[str, Any]] = {
    "cogwork": "v1",
    "name": "chain",
    "input": {"hold": {"type": "number", "default": 0.0}, "door": {"type": "boolean", "default": False}},
    "nodes": {
        name: {
            "type": "tool",
            "tool": "bench.step",
            "args": {"hold": "{{ input.hold }}", "door": "{{ input.door }}" if name == "one" else False},
            "depends_on": [STEPS[place - 1]] if place else [],
        }
        for place, name in enumerate(STEPS)
    },
    "output": "{{ one }}",
}
"""Three steps one after the other, each of which waits for ``hold`` seconds, and the first at the door where it is asked
to; what comes out is when the first began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an engine keeps its things, and how its worker works."""

    folder: Path
    url: str = ""
    concurrency: int = 100
    poll: float = 0.1

    @property
    def settings(self) -> Settings:
        """The settings of such an engine."""
        given: dict[str, Any] = {"database_url": self.url} if self.url else {}
        engine = {"concurrency": self.concurrency, "poll_seconds": self.poll}
        return Settings(state_dir=self.folder / "state", workflows=[], engine=engine, **given)  # type: ignore[arg-type]


class Door:
    """What executions wait at until it is opened, and how many have come to it."""

    def __init__(self) -> None:
        self.event, self.waiting = asyncio.Event(), 0
        self.listening: asyncio.Task[None] | None = None

    def step(self) -> FunctionTool:
        """The tool of all steps; it gives the moment at which it began, on the clock that all processes share."""

        async def step(hold: float = 0.0, door: bool = False) -> float:
            begun = time.monotonic()
            if hold:
                await asyncio.sleep(hold)
            if door:
                self.waiting += 1
                await self.event.wait()
            return begun

        return FunctionTool.from_function(step, name="bench.step", description="Wait.", effect="read")


# -- the processes ---------------------------------------------------------------------------------------------------


@contextmanager
def process(role: str, place: Place) -> Iterator[Asked]:
    """A process in that role: ``worker``, ``engine`` (with a worker beside it), ``client`` (without), or ``imports``."""
    given = {**asdict(place), "folder": str(place.folder)}
    told = (place.folder / f"{role}.log").open("ab")
    made = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.houses", role, json.dumps(given)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=told,
        text=True,
    )
    told.close()
    try:
        asked = Asked(made, place.folder / f"{role}.log")
        asked.answer()
        yield asked
    finally:
        assert made.stdin is not None
        made.stdin.close()
        try:
            made.wait(timeout=60)
        except subprocess.TimeoutExpired:
            made.kill()
            made.wait()


@dataclass(frozen=True, slots=True)
class Asked:
    """A process that answers lines of JSON."""

    process: subprocess.Popen[str]
    log: Path

    def answer(self) -> Any:
        """What it says next.

        Raises:
            RuntimeError: it has ended.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process of the benchmark has ended: {self.log.read_text()[-2000:]}")
        return json.loads(line)

    def ask(self, question: str) -> Any:
        """Its answer to the question: ``waiting`` (at the door), ``open`` (the door), ``shut`` (it again)."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{question}\n")
        self.process.stdin.flush()
        return self.answer()

    def cpu(self) -> float:
        """Seconds of processor time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> dict[str, float]:
        """Its memory in MiB: ``Rss``, ``Pss`` and ``Private_Dirty``."""
        found = {}
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in ("Rss", "Pss", "Private_Dirty"):
                found[name] = int(rest.split()[0]) / 1024
        return found


async def _worker(house: App, door: Door, place: Place) -> None:
    stop = asyncio.Event()
    shared = Shared(house, origin="worker")
    parts = shared.parts()
    _trivial()
    try:
        worker = worker_of(parts, concurrency=place.concurrency, poll=place.poll)
        await worker.serve(stop, lambda: _answering(door, stop))
    finally:
        await parts.close()
        shared.close()
        house.close()


def _trivial() -> None:
    from dbos import DBOS

    @DBOS.workflow(name=TRIVIAL)
    async def trivial(execution: str, number: int) -> str:
        return "done"


async def _engine(house: App, door: Door, place: Place) -> None:
    stop = asyncio.Event()
    async with WorkflowEngine(settings=place.settings, tools=house.tools):
        _answering(door, stop)
        await stop.wait()


async def _client(house: App, door: Door, place: Place) -> None:
    stop = asyncio.Event()
    async with WorkflowEngine(settings=place.settings, tools=house.tools, worker=False):
        _answering(door, stop)
        await stop.wait()


async def _imports(house: App, door: Door, place: Place) -> None:
    """Nothing but what an engine imports."""
    import langgraph.graph  # noqa: F401
    import sqlalchemy  # noqa: F401

    stop = asyncio.Event()
    _answering(door, stop)
    await stop.wait()


ROLES: Final[dict[str, Callable[[App, Door, Place], Coroutine[Any, Any, None]]]] = {
    "worker": _worker,
    "engine": _engine,
    "client": _client,
    "imports": _imports,
}


def _answering(door: Door, stop: asyncio.Event) -> None:
    """Answer questions until there are no more, then stop."""
    loop, thread = asyncio.get_running_loop(), ThreadPoolExecutor(max_workers=1)

    def answered(question: str) -> Any:
        match question:
            case "open":
                door.event.set()
            case "shut":
                door.event.clear()
                door.waiting = 0
        return door.waiting

    async def listened() -> None:
        while line := await loop.run_in_executor(thread, sys.stdin.readline):
            print(json.dumps(answered(line.strip())), flush=True)
        stop.set()

    door.listening = loop.create_task(listened())
    print(json.dumps("ready"), flush=True)


def _main(arguments: list[str]) -> None:
    role, given = arguments[0], json.loads(arguments[1])
    place = Place(**{**given, "folder": Path(given["folder"])})

    async def run() -> None:
        door = Door()
        await ROLES[role](app(place.settings, [door.step()]), door, place)

    asyncio.run(run())


if __name__ == "__main__":
    _main(sys.argv[1:])
