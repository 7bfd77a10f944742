"""The engine: how soon executions begin, many at once, what a status costs, and what an engine at rest takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from benchmarks.databases import DATABASES, database
from benchmarks.figures import Cell, Table, median, percentile, verdict
from benchmarks.houses import CHAIN, Asked, Door, Place, process
from benchmarks.settings import Settings
from benchmarks.throughput import throughput
from cogwork.executions.listing import Filter, listed
from cogwork.executions.record import Execution
from cogwork.workflow_engine import WorkflowEngine

BEGINNING_MS: Final = 50
STATUS_MS: Final = 10
IDLE_MIB: Final = 150
IDLE_CPU: Final = 5.0
"""Percent of a core."""
HOLD: Final = 0.2
LONGER: Final = 2.0
"""Seconds of a step: of a quick tool, and of a model."""
QUEUED: Final = 100
"""How many run while their status is asked for."""


async def engine(settings: Settings) -> list[Table]:
    """All tables, on each database that there is."""
    few = settings.repetitions <= 5
    tables = (
        Table(
            name="engine_begin",
            title="milliseconds from the call of execute to the first step, one at a time",
            columns=("database", "how", "runs", "first step", "p95", "end", "< 50 ms"),
        ),
        Table(
            name="engine_status",
            title=f"milliseconds of a status query from another process, {QUEUED} executions running",
            columns=("database", "while", "queries", "p50", "p95", "<= 10 ms"),
        ),
        Table(
            name="engine_many",
            title=f"executions of three steps of {HOLD} s at once in one worker: seconds, and KiB of one that is at work",
            columns=(
                "database",
                "at once",
                "start p50",
                "start p95",
                "end p50",
                "end p95",
                "all in",
                "success %",
                "KiB each",
            ),
        ),
        Table(
            name="engine_rate",
            title="executions of three steps that do nothing per second",
            columns=("database", "what", "at once", "executions/s", "to LangGraph", "CPU ms each"),
        ),
        Table(
            name="engine_idle",
            title="an engine at rest: MiB, and percent of a core",
            columns=("database", "process", "RSS", "PSS", "private", "CPU %", "<= 150 MiB", "<= 5 %"),
        ),
    )
    begin, status, many, rate, idle = tables
    for name in DATABASES:
        try:
            with database(name) as (folder, url):
                place = Place(folder=folder, url=url)
                settings.tell(f"engine: {name}, at rest")
                idle.rows.extend([(name, *row) for row in await _idle(place, 3.0 if few else 20.0)])
                settings.tell(f"engine: {name}, one at a time")
                begin.rows.extend([(name, *row) for row in await _beginnings(place, 5 if few else 40)])
                for count in (10, 30) if few else (100, 300, 1000):
                    settings.tell(f"engine: {name}, {count} at once")
                    many.rows.append((name, *await _many(place, count)))
                settings.tell(f"engine: {name}, status")
                status.rows.extend([(name, *row) for row in await _statuses(place, 20 if few else 400)])
                settings.tell(f"engine: {name}, per second")
                rate.rows.extend([(name, *row) for row in await throughput(place, *((1, 16) if few else (5, 96)))])
        except LookupError as missing:
            begin.notes.append(str(missing))
    return list(tables)


@asynccontextmanager
async def _client(place: Place) -> AsyncIterator[WorkflowEngine]:
    """An engine in this process, without a worker, that knows the workflow."""
    async with WorkflowEngine(settings=place.settings, tools=[Door().step()], worker=False) as made:
        if not (await made.library.list(limit=1)).items:
            await made.create_workflow(source=CHAIN)
        yield made


async def _beginnings(place: Place, runs: int) -> list[tuple[Cell, ...]]:
    rows = list[tuple[Cell, ...]]()
    with process("worker", place):
        async with _client(place) as client:
            for how, mode in (("here (sync)", "sync"), (f"queue, poll {place.poll * 1000:.0f} ms", "async")):
                first, end = [], []
                for number in range(runs + 3):
                    begun = time.monotonic()
                    handle = await client.execute_workflow("chain", {}, mode=mode)
                    if mode == "async":
                        await client.parts.dispatch.wait(handle.id)
                    over = time.monotonic()
                    result = await client.get_execution_result(handle.id)
                    if number >= 3:
                        first.append((float(str(result.output)) - begun) * 1000)
                        end.append((over - begun) * 1000)
                judged = verdict(median(first) < BEGINNING_MS)
                rows.append((how, runs, median(first), percentile(first, 0.95), median(end), judged))
    return rows


async def _many(place: Place, count: int) -> tuple[Cell, ...]:
    wide = Place(folder=place.folder, url=place.url, concurrency=count)
    with process("worker", wide) as worker:
        async with _client(wide) as client:
            await _all(client, 5, hold=0.0)  # The graph is built, and the pools are warm.
            before = worker.memory()["Pss"]
            held = asyncio.create_task(_all(client, count, door=True))
            await _at_door(worker, count, held)
            each = (worker.memory()["Pss"] - before) * 1024 / count
            worker.ask("open")
            await held
            worker.ask("shut")
            begun = time.monotonic()
            found = await _all(client, count, hold=HOLD)
            seconds = time.monotonic() - begun
    starts = [(one.started_at - one.created_at).total_seconds() for one in found if one.started_at]
    ends = [(one.ended_at - one.created_at).total_seconds() for one in found if one.ended_at]
    share = 100 * sum(one.status == "completed" for one in found) / count
    times = [figure for some in (starts, ends) for figure in (percentile(some, 0.5), percentile(some, 0.95))]
    return (count, *times, seconds, share, each)


async def _all(client: WorkflowEngine, count: int, **input: Any) -> list[Execution]:
    """Start so many, wait until all have ended, and see what has become of them."""
    tag = f"round-{time.monotonic_ns()}"
    handles = await asyncio.gather(*(client.execute_workflow("chain", dict(input), tags=[tag]) for _ in range(count)))
    names = {handle.id for handle in handles}
    since = min(handle.execution.created_at for handle in handles)
    found = list[Execution]()
    while len([one for one in found if one.ended]) < count:
        await asyncio.sleep(0.25)
        found = await _of_tag(client, tag)
    assert {one.id for one in found} == names and since, "the executions of this round and no others"
    return found


async def _of_tag(client: WorkflowEngine, tag: str) -> list[Execution]:
    found, cursor = list[Execution](), None
    while True:
        page = await client.parts.records.reading(
            lambda c, cursor=cursor: listed(c, Filter(tags=(tag,)), limit=200, cursor=cursor)  # type: ignore[misc]
        )
        found.extend(page.items)
        if (cursor := page.cursor) is None:
            return found


async def _at_door(worker: Asked, count: int, held: asyncio.Task[Any]) -> None:
    while await asyncio.to_thread(worker.ask, "waiting") < count:
        if held.done():
            held.result()
        await asyncio.sleep(0.1)


async def _statuses(place: Place, queries: int) -> list[tuple[Cell, ...]]:
    rows = list[tuple[Cell, ...]]()
    with process("worker", place) as worker:
        async with _client(place) as client:
            await _all(client, 5, hold=0.0)
            handles = [await client.execute_workflow("chain", {"door": True}) for _ in range(QUEUED)]
            await _at_door(worker, QUEUED, asyncio.create_task(asyncio.sleep(0)))
            rows.append(("they wait", *await _asked(client, [each.id for each in handles], queries)))
            worker.ask("open")
            for each in handles:
                await each.wait()
            handles = [await client.execute_workflow("chain", {"hold": LONGER}) for _ in range(QUEUED)]
            names = [each.id for each in handles]
            rows.append((f"they work, steps of {LONGER:.0f} s", *await _asked(client, names, queries)))
            for name in names:
                await client.parts.dispatch.wait(name)
    return rows


async def _asked(client: WorkflowEngine, names: list[str], queries: int) -> tuple[Cell, ...]:
    taken = []
    for number in range(queries):
        begun = time.perf_counter()
        await client.get_execution_status(names[number * 7 % len(names)])
        taken.append((time.perf_counter() - begun) * 1000)
    return (queries, median(taken), percentile(taken, 0.95), verdict(percentile(taken, 0.95) <= STATUS_MS))


async def _idle(place: Place, seconds: float) -> list[tuple[Cell, ...]]:
    rows = list[tuple[Cell, ...]]()
    named = {
        "imports": "imports only",
        "client": "engine without worker",
        "worker": "worker",
        "engine": "engine with worker",
    }
    for role, title in named.items():
        with process(role, place) as other:
            await asyncio.sleep(3)
            begun, before = time.monotonic(), other.cpu()
            await asyncio.sleep(seconds)
            share = 100 * (other.cpu() - before) / (time.monotonic() - begun)
            found: Mapping[str, float] = other.memory()
            met = (verdict(found["Rss"] <= IDLE_MIB), verdict(share <= IDLE_CPU))
            rows.append((title, found["Rss"], found["Pss"], found["Private_Dirty"], share, *met))
    return rows
