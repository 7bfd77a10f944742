"""A process that dies before or after any of its writes: the next one brings every execution to its right end, repeats nothing
that was done, and loses nothing that was asked for."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cogwork.executions.record import Execution
from cogwork.executions.statuses import IllegalMove
from tests.lawful import RIGHT, Died, Fate, Process, Scene, all_of, finish, sound

pytestmark = [pytest.mark.req("E2", "M2", "X3", "R3"), pytest.mark.slow]
Verb = Callable[[Scene, Process], Awaitable[Any]]


async def _one(process: Process) -> Execution:
    (execution,) = await all_of(process)
    return execution


async def _worked(scene: Scene, process: Process) -> None:
    for name in scene.line.waiting():
        await scene.work(process, name)


async def _nothing(scene: Scene, process: Process) -> None:
    pass


async def _started(scene: Scene, process: Process) -> None:
    await process.parts.dispatch.start(scene.asked(process, "asking", idempotency_key="once"))
    await _worked(scene, process)


async def _failing(scene: Scene, process: Process) -> None:
    await process.parts.dispatch.start(scene.asked(process, "failing", idempotency_key="once"))
    await _worked(scene, process)


async def _run_here(scene: Scene, process: Process) -> None:
    await process.parts.dispatch.run(scene.asked(process, "asking", mode="sync", idempotency_key="once"))


async def _resumed(scene: Scene, process: Process) -> None:
    execution = await _one(process)
    answers = RIGHT if execution.questions else None
    with suppress(IllegalMove):
        await process.parts.dispatch.resume(execution.id, answers, here=execution.mode == "sync")
    await _worked(scene, process)


async def _cancelled(scene: Scene, process: Process) -> None:
    with suppress(IllegalMove):
        await process.parts.dispatch.cancel((await _one(process)).id, "enough", undo=True)
    await _worked(scene, process)


async def _paused(scene: Scene, process: Process) -> None:
    await process.parts.dispatch.start(scene.asked(process, "asking", idempotency_key="once"))
    with suppress(IllegalMove):
        await process.parts.dispatch.pause((await _one(process)).id)


async def _paused_at_work(scene: Scene, process: Process) -> None:
    await process.parts.dispatch.start(scene.asked(process, "asking", {"hold": "a"}, idempotency_key="once"))
    scene.holding = True
    tasks = [asyncio.create_task(scene.work(process, name)) for name in scene.line.waiting()]
    await asyncio.wait(tasks, timeout=0.2) if tasks else None
    with suppress(IllegalMove):
        await process.parts.dispatch.pause((await _one(process)).id, wait=False)
    scene.holding = False
    await asyncio.gather(*tasks)


VERBS: dict[str, tuple[Verb, Verb, str]] = {
    "start": (_nothing, _started, "completed"),
    "fail": (_nothing, _failing, "failed"),
    "run here": (_nothing, _run_here, "completed"),
    "answer": (_started, _resumed, "completed"),
    "answer here": (_run_here, _resumed, "completed"),
    "cancel": (_started, _cancelled, "cancelled"),
    "cancel what ran here": (_run_here, _cancelled, "cancelled"),
    "pause": (_nothing, _paused, "completed"),
    "pause at work": (_nothing, _paused_at_work, "completed"),
}
"""What is done before, what a process dies in, and what the execution comes to when its caller asks for the same again."""


@pytest.mark.parametrize("verb", VERBS)
async def test_a_process_that_dies_at_any_of_its_writes_repeats_nothing_and_loses_nothing(
    verb: str, tmp_path: Path
) -> None:
    before, act, end = VERBS[verb]
    scene = Scene(tmp_path / "first")
    process = await scene.open(whole := Fate())
    await before(scene, process)
    whole.count = 0
    await act(scene, process)
    await process.close()
    assert whole.count > 3
    for at in range(1, whole.count + 1):
        for after in (False, True):
            folder = tmp_path / f"{at}-{after}"
            await _died_at(scene, folder, Fate(at=at, after=after), before, act, end)
            shutil.rmtree(folder)


async def _died_at(model: Scene, folder: Path, fate: Fate, before: Verb, act: Verb, end: str) -> None:
    scene = Scene(folder)
    at, fate.at = fate.at, 10**9
    process = await scene.open(fate)
    await before(scene, process)
    fate.at, fate.count = at, 0
    others = asyncio.all_tasks()
    try:
        async with asyncio.timeout(20):
            with suppress(Died):
                await act(scene, process)
        if left := asyncio.all_tasks() - others:
            for task in left:
                task.cancel()
            await asyncio.wait(left)
            assert all(task.cancelled() or task.done() for task in left)
        await process.close()
        scene.holding = False
        process = await scene.open()
        scene.line.recover()
        await scene.quiet(process)
        async with asyncio.timeout(20):
            await act(scene, process)
        await finish(scene, process)
        await sound(scene, process, resting=True)
        execution = await _one(process)
        assert execution.status == end
        assert scene.paid(execution.run) == [1]
        assert scene.paid(execution.run, "refund") == ([] if end == "completed" else [1])
    except BaseException as err:
        err.add_note(f"the process died {'after' if fate.after else 'before'} write {at}: {fate.told[-at:]}")
        raise
    finally:
        await process.close()
