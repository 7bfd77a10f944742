"""Two callers at one execution: in whatever order their reads and writes follow each other, one of two that exclude each other
wins, the other is told, and the execution comes to an end that both can explain."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cogwork.engine.chores import orphans, wake
from cogwork.errors import EngineError
from cogwork.executions.record import Execution
from cogwork.executions.statuses import IllegalMove
from state.errors import AnswerRefused
from tests.lawful import RIGHT, Process, Scene, all_of, finish, sound

pytestmark = [pytest.mark.req("E2", "X3")]
Verb = Callable[[Scene, Process, Execution], Awaitable[Any]]


class Turns:
    """Gives the steps of several callers their order: at each step the next choice says whose turn it is."""

    def __init__(self, choices: list[int]) -> None:
        self._choices = iter(choices)
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._alive: set[str] = set()
        self.order = ""

    async def step(self) -> None:
        """Wait for this caller's turn."""
        name = (asyncio.current_task() or asyncio.Task).get_name()
        if name not in self._alive:
            return
        turn = self._waiting[name] = asyncio.get_running_loop().create_future()
        self._next()
        await asyncio.wait([turn], timeout=0.1)
        if not turn.done():  # The others wait for something else, perhaps for this one.
            self._waiting.pop(name)

    def _next(self) -> None:
        if self._waiting and set(self._waiting) >= self._alive:
            names = sorted(self._waiting)
            name = names[next(self._choices, 0) % len(names)]
            self.order += name
            self._waiting.pop(name).set_result(None)

    async def play(self, **callers: Awaitable[Any]) -> dict[str, Any]:
        """What the callers come to, or were refused with."""
        self._alive = set(callers)

        async def one(name: str, work: Awaitable[Any]) -> Any:
            try:
                return await work
            except (IllegalMove, AnswerRefused, EngineError) as err:
                return err
            finally:
                self._alive.discard(name)
                self._next()

        tasks = {name: asyncio.create_task(one(name, work), name=name) for name, work in callers.items()}
        async with asyncio.timeout(30):
            await asyncio.wait(tasks.values())
        return {name: task.result() for name, task in tasks.items()}

    def over(self, process: Process) -> None:
        """Let each transaction and each word to the queue be a step."""
        for thing, name in (
            (process.parts.records, "reading"),
            (process.parts.records, "writing"),
            (process.parts.queue(), "enqueue"),
            (process.parts.saver.requests, "make"),
            (process.parts.saver.requests, "open"),
        ):
            setattr(thing, name, self._stepped(getattr(thing, name)))

    def _stepped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        async def stepped(*args: Any, **kwargs: Any) -> Any:
            await self.step()
            return await call(*args, **kwargs)

        return stepped


async def _work(scene: Scene, process: Process, execution: Execution) -> Any:
    return await process.worker.run(execution.id, execution.segment)


VERBS: dict[str, Verb] = {
    "pause": lambda scene, process, each: process.parts.dispatch.pause(each.id, wait=False),
    "answer": lambda scene, process, each: process.parts.dispatch.resume(each.id, RIGHT),
    "cancel": lambda scene, process, each: process.parts.dispatch.cancel(each.id, "enough", undo=True),
    "expire": lambda scene, process, each: process.parts.dispatch.expire(each, "its time is up"),
    "hand on": lambda scene, process, each: process.parts.dispatch.hand_on(each.id, each.segment),
    "work": _work,
    "wake": lambda scene, process, each: wake(process.parts),
    "orphans": lambda scene, process, each: orphans(process.parts),
}
PAIRS = [*itertools.combinations_with_replacement(VERBS, 2)]
EXAMPLES = 40
EXCLUSIVE = [("answer", "answer"), ("expire", "expire"), ("answer", "expire")]


async def _played(folder: Path, stands: str, pair: tuple[str, str], choices: list[int]) -> None:
    scene = Scene(folder)
    process = await scene.open()
    try:
        execution = await process.parts.dispatch.start(scene.asked(process, "asking"))
        if stands != "pending":
            await scene.work(process, scene.line.waiting()[0])
        if stands == "answered":
            await process.parts.dispatch.resume(execution.id, RIGHT)
        execution = await process.parts.executions.get(execution.id)
        turns = Turns(choices)
        turns.over(process)
        first, second = (VERBS[name](scene, process, execution) for name in pair)
        came = await turns.play(a=first, b=second)
        told = f"{pair} on {stands}, {turns.order}: {came}"
        refused = [each for each in came.values() if isinstance(each, BaseException)]
        for each in refused:
            assert each.code in ("illegal_move", "invalid_input"), told  # type: ignore[union-attr]
        if stands == "resting" and pair in EXCLUSIVE:
            assert len(refused) == 1, told
        await finish(scene, process)
        await sound(scene, process, resting=True)
        (end,) = await all_of(process)
        cancelled = [name for name, key in zip(pair, "ab", strict=True) if name == "cancel" and not _refused(came[key])]
        expired = [name for name, key in zip(pair, "ab", strict=True) if name == "expire" and not _refused(came[key])]
        if cancelled:
            assert end.status in (("cancelled", "failed") if expired else ("cancelled",)), told
        elif expired:
            assert (end.status, end.reason or (end.error or {})["class"]) == ("failed", "timeout"), told
        else:
            assert end.status == "completed", told
    finally:
        await process.close()


def _refused(came: Any) -> bool:
    return isinstance(came, BaseException)


@pytest.mark.parametrize("stands", ["pending", "resting", "answered"])
def test_of_two_callers_in_any_order_one_wins_and_nothing_is_lost(stands: str, tmp_path: Path) -> None:
    async def template() -> None:
        await (await Scene(tmp_path / "template").open()).close()

    asyncio.run(template())
    numbers = itertools.count()

    @settings(max_examples=EXAMPLES, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
    @given(pair=st.sampled_from(PAIRS), choices=st.lists(st.integers(0, 1), max_size=30))
    def played(pair: tuple[str, str], choices: list[int]) -> None:
        folder = tmp_path / str(next(numbers))
        shutil.copytree(tmp_path / "template" / "state", folder / "state")
        asyncio.run(_played(folder, stands, pair, choices))
        shutil.rmtree(folder)

    played()
