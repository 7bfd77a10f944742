"""The HTTP door: what a status costs while much runs, requests and events per second, and the memory of the server."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2

from benchmarks.figures import Table, percentile, verdict
from benchmarks.settings import ROOT, Settings

STATUS_MS: Final = 10
IDLE_MIB: Final = 200
SERVING: Final = """
import sys
from pathlib import Path
from cogwork.server.running import serve
from cogwork.settings import Settings

folder = Path(sys.argv[1])
server = {"auth": "none", "port": 0, "limits": {"requests": 10_000_000}}
settings = Settings(
    state_dir=folder / "state", workflows=[folder], python_tools=["holding"], server=server, engine={"concurrency": 128}
)
serve(settings, lambda address, application: print(address, flush=True))
"""
HOLDING: Final = '''
import asyncio

import cogwork


@cogwork.tool(effect="read")
async def hold(seconds: float) -> float:
    """Hold for so many seconds."""
    await asyncio.sleep(seconds)
    return seconds
'''
HELD: Final[dict[str, Any]] = {
    "cogwork": "v1",
    "name": "held",
    "input": {"seconds": {"type": "number"}},
    "nodes": {"wait": {"type": "tool", "tool": "hold", "args": {"seconds": "{{ input.seconds }}"}}},
    "output": "{{ wait }}",
}
MANY: Final[dict[str, Any]] = {
    "cogwork": "v1",
    "name": "many",
    "nodes": {
        "go": {"type": "human", "ask": "Go?", "form": {"yes": {"type": "boolean"}}},
        **{f"s{n}": {"type": "transform", "set": {"yes": "{{ go.yes }}"}} for n in range(100)},
    },
    "output": "{{ s0.yes }}",
}
"""A hundred steps that end once a person has answered: about as many events."""


async def http(settings: Settings) -> list[Table]:
    """All tables, over SQLite; the load comes from this process, over connections that are kept."""
    small = settings.repetitions <= 5
    cost = Table(
        name="http_cost",
        title="HTTP: milliseconds and requests per second, from one process of ours with 16 connections",
        columns=("what", "while", "requests", "p50 ms", "p95 ms", "per second", "<= 10 ms"),
    )
    events = Table(
        name="http_events",
        title="HTTP: events of one execution to listeners at once",
        columns=("listeners", "events", "seconds", "delivered/s", "all in order"),
    )
    memory = Table(name="http_memory", title="HTTP: memory of the server, MiB", columns=("while", "RSS", "<= 200 MiB"))
    cost.notes.append(f"load average {os.getloadavg()[0]:.1f} at the beginning, on {os.cpu_count()} processors")
    loads = Table(
        name="http_wrk",
        title="HTTP: requests per second by wrk, 16 connections on 2 threads",
        columns=("what", "while", "p50 ms", "p95 ms", "per second"),
    )
    async with _served() as (client, pid):
        memory.rows.append(("idle", _resident(pid), verdict(_resident(pid) <= IDLE_MIB)))
        for spec in (HELD, MANY):
            (await client.post("/workflows", json={"source": spec})).raise_for_status()
        count, running, listeners = (40, 5, 10) if small else (1000, 100, 200)
        settings.tell("http: idle")
        one = await _start(client, 0.0)
        cost.rows.append(("status", "idle", *await _load(count, 1, lambda: client.get(f"/executions/{one}"))))
        cost.rows.append(
            ("status, 16 at once", "idle", *await _load(count, 16, lambda: client.get(f"/executions/{one}")))
        )
        cost.rows.append(("start, 16 at once", "idle", *await _load(count // 4, 16, lambda: _started(client, 0.0))))
        if shutil.which("wrk") is None:
            loads.notes.append("wrk is not installed")
        else:
            seconds, at = 2 if small else 10, str(client.base_url.join("executions"))
            loads.rows.append(("status", "idle", *await _wrk(f"{at}/{one}", seconds)))
            begin = {"workflow": "held", "input": {"seconds": 0.0}}
            loads.rows.append(("start", "idle", *await _wrk(at, seconds, begin)))
        settings.tell(f"http: events to {listeners}")
        events.rows.append(await _delivered(client, listeners))
        settings.tell(f"http: {running} running")
        held = [await _start(client, 600.0) for _ in range(running)]
        await _running(client, running)
        what = f"{running} running"
        cost.rows.append(("status", what, *await _load(count, 1, lambda: client.get(f"/executions/{held[0]}"))))
        memory.rows.append((what, _resident(pid), "-"))
    return [cost, loads, events, memory]


@contextmanager
def _process() -> Iterator[tuple[str, int]]:
    """A server in a process of its own: its address and the process's id."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder, "holding.py").write_text(HOLDING, encoding="utf-8")
        made = subprocess.Popen(
            [sys.executable, "-c", SERVING, folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), folder])},
        )
        try:
            assert made.stdout is not None
            yield made.stdout.readline().strip(), made.pid
        finally:
            made.kill()
            made.wait()


@asynccontextmanager
async def _served() -> AsyncIterator[tuple[httpx2.AsyncClient, int]]:
    limits = httpx2.Limits(max_connections=None)
    with _process() as (address, pid):
        async with httpx2.AsyncClient(
            base_url=f"{address}/api/v1", trust_env=False, timeout=120, limits=limits
        ) as client:
            yield client, pid


async def _started(client: httpx2.AsyncClient, seconds: float) -> httpx2.Response:
    return await client.post("/executions", json={"workflow": "held", "input": {"seconds": seconds}})


async def _start(client: httpx2.AsyncClient, seconds: float) -> str:
    return str((await _started(client, seconds)).raise_for_status().json()["execution_id"])


async def _running(client: httpx2.AsyncClient, wanted: int) -> None:
    """Return once so many are at work in the server."""
    count = 0
    while count < wanted:
        await asyncio.sleep(0.2)
        count = len((await client.get("/executions?status=running&limit=200")).json()["executions"])


async def _load(
    count: int, at_once: int, ask: Callable[[], Awaitable[httpx2.Response]]
) -> tuple[int, float, float, float, str]:
    """Requests, p50, p95, per second, and whether the p95 is within what is wanted."""
    took, left = list[float](), iter(range(count))

    async def work() -> None:
        for _ in left:
            begun = time.perf_counter()
            (await ask()).raise_for_status()
            took.append((time.perf_counter() - begun) * 1000)

    begun = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(at_once)))
    rate = count / (time.perf_counter() - begun)
    p95 = percentile(took, 0.95)
    return count, percentile(took, 0.5), p95, rate, verdict(p95 <= STATUS_MS) if at_once == 1 else "-"


async def _wrk(url: str, seconds: int, body: Any = None) -> tuple[float, float, float]:
    """p50 and p95 (ms) and requests per second; with a body they are POSTs of it. None of them may fail."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        if body is not None:
            script.write(f"wrk.method = 'POST'\nwrk.body = [[{json.dumps(body)}]]\n")
            script.write("wrk.headers['Content-Type'] = 'application/json'\n")
        script.write("done = function(s, l) print(string.format('found %f %f %d', l:percentile(50), l:percentile(95),")
        script.write(" s.errors.status + s.errors.connect + s.errors.timeout)) end\n")
        script.flush()
        command = ["wrk", "-t2", "-c16", f"-d{seconds}s", "-s", script.name, str(url)]
        told = (await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)).stdout
    p50, p95, wrong = next(line.split()[1:] for line in told.splitlines() if line.startswith("found"))
    assert wrong == "0", told
    rate = next(line.split()[1] for line in told.splitlines() if line.startswith("Requests/sec"))
    return float(p50) / 1000, float(p95) / 1000, float(rate)


async def _delivered(client: httpx2.AsyncClient, listeners: int) -> tuple[int, int, float, float, str]:
    name = (await client.post("/executions", json={"workflow": "many", "wait": 60})).json()["execution_id"]
    ready = asyncio.Semaphore(0)

    async def listen() -> list[int]:
        found = list[int]()
        headers = {"Accept": "text/event-stream"}
        async with client.stream("GET", f"/executions/{name}/events", headers=headers) as answer:
            ready.release()
            async for line in answer.aiter_lines():
                if line.startswith("id: "):
                    found.append(int(line[4:]))
        return found

    tasks = [asyncio.create_task(listen()) for _ in range(listeners)]
    for _ in range(listeners):
        await ready.acquire()
    begun = time.perf_counter()
    (await client.post(f"/executions/{name}/resume", json={"answers": {"yes": True}})).raise_for_status()
    heard = await asyncio.gather(*tasks)
    seconds = time.perf_counter() - begun
    whole = all(each == list(range(1, len(heard[0]) + 1)) for each in heard)
    return listeners, len(heard[0]), seconds, sum(map(len, heard)) / seconds, verdict(whole)


def _resident(pid: int) -> int:
    """MiB of a process in memory."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) // 1024
