"""The engine: how soon executions begin, many at once, what a status costs, and what an engine at rest takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """How much is measured."""

    idle_seconds: float = 20.0
    roles: tuple[str, ...] = ("imports", "client", "worker", "engine")
    beginnings: int = 40
    polls: tuple[float, ...] = (0.1, 0.02)
    at_once: tuple[int, ...] = (100, 300, 1000)
    running: int = 100
    queries: int = 400
    rounds: int = 5
    count: int = 96


QUICK: Final = Amounts(idle_seconds=3.0, beginnings=5, at_once=(10, 30), queries=20, rounds=1, count=16)


async def engine(settings: Settings) -> list[Table]:
    """All tables, on each database that there is."""
    return await measured(settings, QUICK if settings.repetitions <= 5 else Amounts(), DATABASES)


async def measured(settings: Settings, amounts: Amounts, databases: tuple[str, ...]) -> list[Table]:
    """All tables, on these databases."""
    tables = _tables(amounts)
    begin, status, many, rate, idle = tables
    for name in databases:
        try:
            with database(name) as (folder, url):
                place = Place(folder=folder, url=url)
                settings.tell(f"engine: {name}, at rest")
                idle.rows.extend([(name, *row) for row in await _idle(place, amounts)])
                settings.tell(f"engine: {name}, one at a time")
                begin.rows.extend([(name, *row) for row in await _beginnings(place, amounts)])
                for count in amounts.at_once:
                    settings.tell(f"engine: {name}, {count} at once")
                    many.rows.append((name, *await _many(place, count)))
                settings.tell(f"engine: {name}, status")
                status.rows.extend([(name, *row) for row in await _statuses(place, amounts)])
                settings.tell(f"engine: {name}, per second")
                rate.rows.extend([(name, *row) for row in await throughput(place, amounts.rounds, amounts.count)])
        except LookupError as missing:
            begin.notes.append(str(missing))
    return list(tables)


def _tables(amounts: Amounts) -> tuple[Table, ...]:
    return (
        Table(
            name="engine_begin",
            title="milliseconds from the call of execute to the first step, one at a time",
            columns=("database", "how", "runs", "first step", "p95", "end", "< 50 ms"),
        ),
        Table(
            name="engine_status",
            title=f"milliseconds of a status query from another process, {amounts.running} executions running",
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


@asynccontextmanager
async def _client(place: Place) -> AsyncIterator[WorkflowEngine]:
    """An engine in this process, without a worker, that knows the workflow."""
    async with WorkflowEngine(settings=place.settings, tools=[Door().step()], worker=False) as made:
        if not (await made.library.list(limit=1)).items:
            await made.create_workflow(source=CHAIN)
        yield made


async def _beginnings(place: Place, amounts: Amounts) -> list[tuple[Cell, ...]]:
    """In this process, and through the queue with each interval at which its worker may look into it."""
    rows, runs = list[tuple[Cell, ...]](), amounts.beginnings
    queued = [("queue", "async", replace(place, poll=poll)) for poll in amounts.polls]
    ways = [("here (sync)", "sync", place), *queued]
    for way, mode, how_often in ways:
        async with _client(place) as client:
            with process("worker", how_often):
                how = f"{way}, poll {how_often.poll * 1000:.0f} ms" if mode == "async" else way
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


async def _statuses(place: Place, amounts: Amounts) -> list[tuple[Cell, ...]]:
    rows, running, queries = list[tuple[Cell, ...]](), amounts.running, amounts.queries
    with process("worker", place) as worker:
        async with _client(place) as client:
            await _all(client, 5, hold=0.0)
            handles = [await client.execute_workflow("chain", {"door": True}) for _ in range(running)]
            await _at_door(worker, running, asyncio.create_task(asyncio.sleep(0)))
            rows.append(("they wait", *await _asked(client, [each.id for each in handles], queries)))
            worker.ask("open")
            for each in handles:
                await each.wait()
            handles = [await client.execute_workflow("chain", {"hold": LONGER}) for _ in range(running)]
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


async def _idle(place: Place, amounts: Amounts) -> list[tuple[Cell, ...]]:
    rows = list[tuple[Cell, ...]]()
    named = {
        "imports": "imports only",
        "client": "engine without worker",
        "worker": "worker",
        "engine": "engine with worker",
    }
    for role in amounts.roles:
        with process(role, place) as other:
            await asyncio.sleep(3)
            begun, before = time.monotonic(), other.cpu()
            await asyncio.sleep(amounts.idle_seconds)
            share = 100 * (other.cpu() - before) / (time.monotonic() - begun)
            found: Mapping[str, float] = other.memory()
            met = (verdict(found["Rss"] <= IDLE_MIB), verdict(share <= IDLE_CPU))
            rows.append((named[role], found["Rss"], found["Pss"], found["Private_Dirty"], share, *met))
    return rows
