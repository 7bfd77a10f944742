"""Executions per second: bare LangGraph, the engine in the caller's process and through its queue, and DBOS alone."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, TypedDict

import sqlalchemy as sa
from langgraph.graph import END, START, StateGraph

from benchmarks.figures import Cell, median
from benchmarks.houses import CHAIN, STEPS, TRIVIAL, Asked, Door, Place, process
from cogwork.engine.queue import DEFAULT, VERSION, QueueClient
from cogwork.executions.statuses import ENDED
from cogwork.records.tables.executions import EXECUTIONS
from cogwork.workflow_engine import WorkflowEngine

AT_ONCE: Final = 16
LOOK: Final = 0.02
Subject = Callable[[int], Awaitable[None]]


class _Values(TypedDict):
    one: float
    two: float
    three: float


async def throughput(place: Place, rounds: int, count: int) -> list[tuple[Cell, ...]]:
    """The medians of rounds of so many executions, in which the subjects take turns."""
    own = Place(folder=place.folder, url=place.url, concurrency=AT_ONCE)
    with process("worker", own) as worker:
        async with WorkflowEngine(settings=own.settings, tools=[Door().step()], worker=False) as client:
            if not (await client.library.list(limit=1)).items:
                await client.create_workflow(source=CHAIN)
            subjects = _subjects(client)
            seconds: dict[str, list[float]] = {name: [] for name in subjects}
            spent: dict[str, list[float]] = {name: [] for name in subjects}
            for number in range(rounds + 1):
                for name, run in subjects.items():
                    wall, cpu = await _timed(worker, run, count)
                    if number:
                        seconds[name].append(wall)
                        spent[name].append(cpu)
    base = median(seconds["LangGraph, same checkpoints"])
    return [
        (name, AT_ONCE, count / median(taken), base / median(taken), 1000 * median(spent[name]) / count)
        for name, taken in seconds.items()
    ]


async def _timed(worker: Asked, run: Subject, count: int) -> tuple[float, float]:
    """Seconds on the clock, and of the processor in both processes."""
    begun, spent = time.monotonic(), time.process_time() + worker.cpu()
    await run(count)
    return time.monotonic() - begun, time.process_time() + worker.cpu() - spent


def _subjects(client: WorkflowEngine) -> dict[str, Subject]:
    saver = client.parts.saver
    plain = _plain(saver)
    ours = client.app.compile(CHAIN, checkpointer=saver)

    async def bare(name: str) -> None:
        config: Any = {"configurable": {"thread_id": name}}
        await plain.ainvoke({"one": 0.0}, config, durability="sync")

    async def graph(name: str) -> None:
        await ours.ainvoke({}, {"configurable": {"thread_id": name}})

    async def sync(name: str) -> None:
        await client.execute_workflow("chain", {}, mode="sync")

    return {
        "LangGraph, same checkpoints": lambda count: _here(bare, count),
        "cogwork graph, nothing recorded": lambda count: _here(graph, count),
        "engine, in the caller's process": lambda count: _here(sync, count),
        "engine, through the queue": lambda count: _queued(client, count),
        "DBOS alone, an empty workflow": lambda count: _dbos(client.parts.queue(), count),
    }


def _plain(saver: Any) -> Any:
    builder: Any = StateGraph(_Values)
    for name in STEPS:
        builder.add_node(name, _step(name))
    for before, after in zip((START, *STEPS), (*STEPS, END), strict=True):
        builder.add_edge(before, after)
    return builder.compile(checkpointer=saver)


def _step(name: str) -> Callable[[_Values], Awaitable[dict[str, float]]]:
    async def step(values: _Values) -> dict[str, float]:
        return {name: time.monotonic()}

    return step


async def _here(run: Callable[[str], Awaitable[None]], count: int) -> None:
    free = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with free:
            await run(uuid.uuid4().hex)

    await asyncio.gather(*(one() for _ in range(count)))


async def _queued(client: WorkflowEngine, count: int) -> None:
    handles = await asyncio.gather(*(client.execute_workflow("chain", {}) for _ in range(count)))
    since = min(handle.execution.created_at for handle in handles)
    while True:
        over = await client.parts.records.reading(lambda c: _over(c, since))
        if over >= count:
            return
        await asyncio.sleep(LOOK)


def _over(connection: sa.Connection, since: datetime) -> int:
    matching = (EXECUTIONS.c.created_at >= since, EXECUTIONS.c.status.in_(ENDED))
    return int(connection.execute(sa.select(sa.func.count()).select_from(EXECUTIONS).where(*matching)).scalar_one())


async def _dbos(queue: QueueClient, count: int) -> None:
    """The trivial workflow, as often, on the same road into the same queue and worker."""
    names = [uuid.uuid4().hex for _ in range(count)]

    def enqueue(name: str) -> None:
        options: Any = {
            "workflow_name": TRIVIAL,
            "queue_name": DEFAULT,
            "workflow_id": name,
            "app_version": VERSION,
            "priority": 10,
        }
        queue._client.enqueue(options, name, 1)

    await asyncio.gather(*(queue._apart(lambda name=name: enqueue(name)) for name in names))  # type: ignore[misc]
    while True:
        found = await queue.standing(names)
        if sum(status == "SUCCESS" for status in found.values()) == count:
            return
        await asyncio.sleep(LOOK)
