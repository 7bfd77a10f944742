"""A fleet of worker processes for tests: started, killed, frozen and counted; and what runs in each of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cogwork.app import App, app
from cogwork.engine.parts import Parts, Shared
from cogwork.executions.listing import counts
from cogwork.executions.options import options_of
from cogwork.executions.store import Request
from cogwork.settings import Settings
from cogwork.tools.function import FunctionTool
from state.services import CallContext

CHAIN: dict[str, Any] = {
    "cogwork": "v1",
    "name": "chain",
    "input": {"n": {"type": "integer"}},
    "nodes": {
        "one": {"type": "tool", "tool": "ledger.note", "args": {"n": "{{ input.n }}"}},
        "two": {"type": "tool", "tool": "ledger.note", "args": {"n": "{{ one }}"}},
        "three": {"type": "tool", "tool": "ledger.note", "args": {"n": "{{ two }}"}},
    },
    "output": "{{ three }}",
}
"""Three steps one after the other; the output is the input and three."""
POOR_PATIENCE = 180.0


def house(folder: Path, url: str = "", *, hold: float = 0.05) -> App:
    """cogwork with one tool, which notes in the ledger of the folder that it begins and ends."""

    async def note(context: CallContext, n: int) -> int:
        _append(folder, f"begin {context.idempotency_key} {time.time():.6f}")
        await asyncio.sleep(hold)
        _append(folder, f"end {context.idempotency_key} {time.time():.6f}")
        return n + 1

    tool = FunctionTool.from_function(note, name="ledger.note", description="Note it.", effect="read")
    given: dict[str, Any] = {"state_dir": folder / "state", "workflows": [], "connection_pool_size": 4}
    given |= {"database_url": url} if url else {}
    return app(Settings(**given), tools=[tool])


def _append(folder: Path, line: str) -> None:
    handle = os.open(folder / "ledger", os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    try:
        os.write(handle, f"{line}\n".encode())
    finally:
        os.close(handle)


def ledger(folder: Path) -> list[tuple[str, str]]:
    """(begin | end, key) in the order in which they happened."""
    path = folder / "ledger"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(word, key) for word, key, _ in (line.split() for line in lines)]


def repeated(folder: Path) -> list[str]:
    """The steps that began again although the step after them had begun: that one begins when this is in the checkpoint."""
    after = {"one": "two", "two": "three"}
    begun: dict[tuple[str, str], int] = {}
    wrong = []
    for word, key in ledger(folder):
        run, step, _ = key.split(":")
        if word == "begin":
            if step in after and (run, after[step]) in begun:
                wrong.append(key)
            begun[run, step] = begun.get((run, step), 0) + 1
    return wrong


def attempts(folder: Path) -> Counter[str]:
    """How often each step began."""
    return Counter(key for word, key in ledger(folder) if word == "begin")


@dataclass(slots=True)
class Fleet:
    """Workers in processes of their own, on one folder and database."""

    folder: Path
    url: str = ""
    hold: float = 0.05
    concurrency: int = 20
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, count: int = 1, *, environment: Mapping[str, str] | None = None) -> list[subprocess.Popen[bytes]]:
        """Start workers, and wait until they take from the queue."""
        begun = []
        for _ in range(count):
            mark = self.folder / f"ready-{len(self.workers)}"
            arguments = [str(self.folder), self.url, str(self.hold), str(self.concurrency), str(mark)]
            said = open(self.folder / f"worker-{len(self.workers)}.log", "wb")  # noqa: SIM115 - the process has it
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.fleet", *arguments],
                env={**os.environ, **(environment or {})},
                stdout=said,
                stderr=said,
            )
            said.close()
            self.workers.append(process)
            begun.append((process, mark))
        for process, mark in begun:
            self._await(process, mark)
        return [process for process, _ in begun]

    def _await(self, process: subprocess.Popen[bytes], mark: Path) -> None:
        until = time.monotonic() + POOR_PATIENCE
        while not mark.exists():
            assert process.poll() is None, self.said()
            assert time.monotonic() < until, "a worker does not begin"
            time.sleep(0.05)

    def said(self) -> str:
        """What the workers have printed."""
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted(self.folder.glob("worker-*.log")))

    def alive(self) -> list[subprocess.Popen[bytes]]:
        """The workers that have not ended."""
        return [process for process in self.workers if process.poll() is None]

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """``kill -9``, and wait until it is gone."""
        process.kill()
        process.wait()

    def signal(self, process: subprocess.Popen[bytes], which: signal.Signals) -> None:
        """Freeze it, wake it, or ask it to end."""
        process.send_signal(which)

    def close(self) -> None:
        """End all that was started."""
        for process in self.alive():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
        for process in self.workers:
            process.wait()


@contextmanager
def fleet(folder: Path, url: str = "", **options: Any) -> Iterator[Fleet]:
    """A fleet, ended with the block."""
    made = Fleet(folder, url, **options)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def shared(folder: Path, url: str = "", **options: Any) -> Iterator[Shared]:
    """The engine's parts in the test's own process, for callers without workers."""
    made_house = house(folder, url, **options)
    made = Shared(made_house)
    try:
        yield made
    finally:
        made.close()
        made_house.close()


def asked(parts: Parts, source: Any, input: Any, **options: Any) -> Request:
    """A request for a workflow that is given as data."""
    graph = parts.house.compile(source, checkpointer=parts.saver)
    parts.bundles.keep(graph)
    return Request(workflow=graph.plan.spec.name, input=input, digest=graph.digest, options=options_of(options))


async def ended(parts: Parts, total: int, *, seconds: float = POOR_PATIENCE) -> dict[str, int]:
    """The counts by status once ``total`` executions have ended."""
    until = time.monotonic() + seconds
    while True:
        found = await parts.records.reading(counts)
        over = sum(found.get(status, 0) for status in ("completed", "failed", "cancelled"))
        if over >= total or time.monotonic() > until:
            return found
        await asyncio.sleep(0.1)


def drop(url: str) -> None:
    """Remove the queue's schema that stands beside the test's."""
    import psycopg

    from tests.clusters import _server

    name = url.rpartition("search_path%3D")[2]
    if name and (server := _server()):
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"drop schema if exists {name}_queue cascade")


async def _serve(arguments: Sequence[str]) -> None:
    from cogwork.engine.serving import worker_of

    folder, url, hold, concurrency, mark = arguments
    made_house = house(Path(folder), url, hold=float(hold))
    stop = asyncio.Event()
    for which in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(which, stop.set)
    shared_parts = Shared(made_house, origin="worker")
    parts = shared_parts.parts()
    try:
        worker = worker_of(parts, concurrency=int(concurrency), poll=0.1)
        await worker.serve(stop, lambda: Path(mark).touch())
    finally:
        await parts.close()
        shared_parts.close()
        made_house.close()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1:]))
