"""Listeners who come at any time and begin at any number see every event once, in order and without gaps, while workers die."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cogwork.executions.history import Entry, History
from state.events import Event
from tests.clusters import schema
from tests.fleet import drop
from tests.lawful import Process, Scene, finish, sound
from tests.threads import until

pytestmark = [pytest.mark.req("E2", "R3", "T8")]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where executions are kept."""
    if request.param == "sqlite":
        yield ""
        return
    with schema() as found:
        try:
            yield found
        finally:
            drop(found)


async def _listening(process: Process, name: str, after: int, seen: list[Any]) -> None:
    async for told in process.parts.history.follow(name, after=after):
        seen.append(told)


async def _heard(folder: Path, comes: list[tuple[int, int]], deaths: list[str]) -> None:
    """Listeners come after so many stages, beginning after so many events, while an execution lives through deaths."""
    scene = Scene(folder)
    process, other = await scene.open(), await scene.open()
    heard: list[tuple[int, list[Any], asyncio.Task[None]]] = []
    try:
        execution = await process.parts.dispatch.start(scene.asked(process, "asking", {"hold": "a"}))

        def arrive(stage: int) -> None:
            for after in [after for at, after in comes if at == stage]:
                seen: list[Any] = []
                heard.append((after, seen, asyncio.create_task(_listening(other, execution.id, after, seen))))

        arrive(0)
        for stage, death in enumerate(deaths, 1):
            waiting = scene.line.waiting()
            if waiting:
                scene.holding = True
                task = asyncio.create_task(scene.work(process, waiting[0]))
                await until(lambda task=task: "a" in scene.doors or task.done())
                scene.holding = False
                if death == "cut off":
                    task.cancel()
                elif death == "hands on":
                    await process.parts.segments.hand_on()
                elif not task.done():
                    scene.doors["a"].set()
                await asyncio.wait([task])
                scene.doors.clear()
                for name, status in scene.line.rows.items():
                    scene.line.rows[name] = "ENQUEUED" if status == "PENDING" else status
            arrive(stage)
        await finish(scene, process)
        await sound(scene, process, resting=True)
        whole = [told async for told in other.parts.history.follow(execution.id)]
        async with asyncio.timeout(20):
            for after, seen, task in heard:
                await task
                assert seen == whole[after:], (after, [told.seq for told in seen])
    finally:
        for *_, task in heard:
            task.cancel()
        await process.close()
        await other.close()


def test_whoever_listens_from_any_number_at_any_time_hears_every_event_once_in_order(tmp_path: Path) -> None:
    async def template() -> None:
        await (await Scene(tmp_path / "template").open()).close()

    asyncio.run(template())
    numbers = itertools.count()
    deaths = st.lists(st.sampled_from(["cut off", "hands on", "none"]), min_size=1, max_size=4)

    @settings(max_examples=12, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
    @given(comes=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=4), deaths=deaths)
    def heard(comes: list[tuple[int, int]], deaths: list[str]) -> None:
        folder = tmp_path / str(next(numbers))
        shutil.copytree(tmp_path / "template" / "state", folder / "state")
        asyncio.run(_heard(folder, comes, deaths))
        shutil.rmtree(folder)

    heard()


async def test_listeners_hear_every_event_once_in_order_on_either_database(tmp_path: Path, url: str) -> None:
    scene = Scene(tmp_path, url)
    process = await scene.open()
    try:
        execution = await process.parts.dispatch.start(scene.asked(process, "plain"))
        seen: list[list[Any]] = [[], []]
        tasks = [asyncio.create_task(_listening(process, execution.id, n, seen[n])) for n in (0, 1)]
        await scene.work(process, scene.line.waiting()[0])
        async with asyncio.timeout(20):
            await asyncio.gather(*tasks)
        assert [told.seq for told in seen[0]] == list(range(1, len(seen[0]) + 1)) and seen[1] == seen[0][1:]
    finally:
        await process.close()


async def test_an_end_waits_for_the_events_before_it_that_are_being_written(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    process = await scene.open()
    try:
        records = process.parts.records
        history, write, door = History(records), records.writing, asyncio.Event()

        async def slow(call: Any) -> Any:
            await door.wait()
            return await write(call)

        records.writing = slow  # type: ignore[method-assign]
        for seq in (1, 2):
            history.add(Entry("one", "me", seq, Event(kind="step.started", run="r", at=scene.clock().isoformat())))
        flushing = asyncio.create_task(history.flushed())
        await asyncio.sleep(0)
        taking = asyncio.create_task(history.take("one"))
        await asyncio.wait([taking], timeout=0.05)
        assert not taking.done()
        door.set()
        assert await taking == []
        await flushing
        await history.close()
    finally:
        await process.close()
