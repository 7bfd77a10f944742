"""The laws of executions: whatever callers ask, workers do and processes suffer, in any order, every execution keeps the table of
moves, its history and its effects, and comes to an end that all agree on."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cogwork.errors import EngineError
from cogwork.executions.record import Execution
from cogwork.executions.statuses import IllegalMove
from state.errors import AnswerRefused
from tests.clusters import schema
from tests.fleet import drop
from tests.lawful import RIGHT, SPECS, WRONG, Process, Scene, all_of, finish, sound
from tests.threads import until

pytestmark = [pytest.mark.req("E2", "X3", "R3")]
PHASES = (Phase.generate,)
EXAMPLES = 25
REFUSED = (IllegalMove, AnswerRefused)
pick = st.integers(0, 30)


class Engine(RuleBasedStateMachine):
    """All verbs in any order, by callers, workers that die, and time that passes."""

    template: Path
    server = False

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="laws-"))
        if self.template.exists():
            shutil.copytree(self.template, self.folder / "state")
        self.stack = ExitStack()
        url = self.stack.enter_context(schema()) if self.server else ""
        self.stack.callback(lambda: drop(url) if url else None)
        self.scene = Scene(self.folder, url)
        self.ids: list[str] = []
        self.keys: dict[str, str] = {}
        self.tasks: dict[str, asyncio.Task[Any]] = {}
        self.process: Process = self.runner.run(self.scene.open())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Let it happen; what the engine refuses in order is None."""

        async def bounded() -> Any:
            async with asyncio.timeout(15):
                return await work

        try:
            return self.runner.run(bounded())
        except REFUSED:
            return None
        except EngineError as err:
            assert err.code in ("invalid_input", "conflict"), err
            return None

    @property
    def dispatch(self) -> Any:
        return self.process.parts.dispatch

    def one(self, which: int) -> str:
        return self.ids[which % len(self.ids)]

    # -- callers ---------------------------------------------------------------------------------------------

    @initialize(name=st.sampled_from(sorted(SPECS)))
    def first(self, name: str) -> None:
        self.started(self.do(self.dispatch.start(self.scene.asked(self.process, name))))

    def started(self, execution: Execution) -> None:
        if execution.id not in self.ids:
            self.ids.append(execution.id)

    @rule(name=st.sampled_from(sorted(SPECS)), hold=st.sampled_from(["", "a"]), late=st.sampled_from([None, "2h"]))
    def start(self, name: str, hold: str, late: str | None) -> None:
        more = {"deadline": self.scene.clock.at.replace(year=self.scene.clock.at.year + 1)} if late else {}
        self.started(self.do(self.dispatch.start(self.scene.asked(self.process, name, {"hold": hold}, **more))))

    @rule(name=st.sampled_from(sorted(SPECS)), key=st.sampled_from(["k1", "k2"]), n=st.integers(1, 2))
    def start_once(self, name: str, key: str, n: int) -> None:
        found = self.do(self.dispatch.start(self.scene.asked(self.process, name, {"n": n}, idempotency_key=key)))
        about = f"{name}/{n}"
        if found is None:
            assert self.keys[key].split("=")[0] != about, "the same request under the same key is refused"
            return
        self.started(found)
        assert self.keys.setdefault(key, f"{about}={found.id}") == f"{about}={found.id}"

    @rule(name=st.sampled_from(sorted(SPECS)))
    def run_here(self, name: str) -> None:
        self.started(self.do(self.dispatch.run(self.scene.asked(self.process, name, mode="sync"))))

    @rule(which=pick)
    def pause(self, which: int) -> None:
        self.do(self.dispatch.pause(self.one(which), wait=False))

    @rule(which=pick, answers=st.sampled_from([None, RIGHT, WRONG, {"sure": RIGHT}]), here=st.booleans())
    def resume(self, which: int, answers: Any, here: bool) -> None:
        execution = self.do(self.process.parts.executions.get(self.one(which)))
        self.do(self.dispatch.resume(execution.id, answers, here=here and execution.mode == "sync"))

    @rule(which=pick, undo=st.booleans())
    def cancel(self, which: int, undo: bool) -> None:
        self.do(self.dispatch.cancel(self.one(which), "enough", undo=undo))

    # -- workers ---------------------------------------------------------------------------------------------

    @precondition(lambda self: self.scene.line.waiting())
    @rule(which=pick, parked=st.booleans())
    def work(self, which: int, parked: bool) -> None:
        waiting = self.scene.line.waiting()
        name = waiting[which % len(waiting)]
        if self.scene.line.meant[name][0] in {each.rpartition(".")[0] for each in self.tasks}:
            return

        before = self.scene.parked

        async def begun() -> None:
            task = asyncio.create_task(self.scene.work(self.process, name))
            await until(lambda: task.done() or self.scene.parked > before)
            if task.done():
                await task
            else:
                self.tasks[name] = task

        self.scene.holding = parked
        self.do(begun())
        self.scene.holding = False

    @rule()
    def open_doors(self) -> None:
        self.do(self._open_doors())

    async def _open_doors(self) -> None:
        for door in self.scene.doors.values():
            door.set()
        if self.tasks:
            await asyncio.wait(self.tasks.values(), timeout=20)
        for name, task in list(self.tasks.items()):
            assert task.done(), f"{name} does not end"
            del self.tasks[name]
            await task
        self.scene.doors.clear()

    @precondition(lambda self: self.scene.line.meant)
    @rule(which=pick)
    def work_again(self, which: int) -> None:
        names = [name for name in self.scene.line.meant if name not in self.tasks]
        if names:
            execution, number = self.scene.line.meant[names[which % len(names)]]
            self.do(self._open_doors())
            self.do(self.process.worker.run(execution, number))

    @precondition(lambda self: self.scene.line.waiting())
    @rule(which=pick)
    def worker_dies_before_it_begins(self, which: int) -> None:
        waiting = self.scene.line.waiting()
        self.scene.line.rows[waiting[which % len(waiting)]] = "PENDING"

    @rule(lost=st.booleans())
    def worker_is_cut_off(self, lost: bool) -> None:
        """All that is worked on breaks off; the queue takes it up again, or has lost it."""

        async def cut_off() -> None:
            for name, task in list(self.tasks.items()):
                task.cancel()
                await asyncio.wait([task])
                self.scene.line.rows[name] = "ERROR" if lost else "ENQUEUED"
                del self.tasks[name]

        self.do(cut_off())

    @rule()
    def worker_hands_on(self) -> None:
        self.do(self.process.parts.segments.hand_on())
        self.do(asyncio.sleep(0.1))

    @rule()
    def recover(self) -> None:
        busy = set(self.tasks)
        rows = self.scene.line.rows
        rows.update({name: "ENQUEUED" for name, status in rows.items() if status == "PENDING" and name not in busy})

    @rule(minutes=st.sampled_from([1, 61]))
    def time_passes(self, minutes: int) -> None:
        self.scene.clock.pass_(minutes=minutes)

    @rule()
    def chores(self) -> None:
        self.do(self.scene.chores(self.process))

    # -- laws ------------------------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        self.runner.run(sound(self.scene, self.process))

    def teardown(self) -> None:
        try:
            self.runner.run(self._ended())
        finally:
            self.runner.close()
            self.stack.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _ended(self) -> None:
        try:
            await self._open_doors()
            await finish(self.scene, self.process)
            await sound(self.scene, self.process, resting=True)
            assert {each.id for each in await all_of(self.process)} >= set(self.ids), "one is lost"
        finally:
            await self.process.close()


@contextmanager
def _template(folder: Path) -> Iterator[Path]:
    """A folder of state whose databases are made."""

    async def made() -> None:
        await (await Scene(folder).open()).close()

    asyncio.run(made())
    yield folder / "state"


def test_whatever_happens_in_any_order_executions_keep_their_laws_and_end(tmp_path: Path) -> None:
    with _template(tmp_path) as template:
        machine = type("OnSqlite", (Engine,), {"template": template})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES, stateful_step_count=25, phases=PHASES, suppress_health_check=list(HealthCheck)
            ),
        )


def test_whatever_happens_in_any_order_executions_keep_their_laws_on_a_server_too(tmp_path: Path) -> None:
    with schema():  # Skips where no server answers.
        pass
    machine = type("OnPostgres", (Engine,), {"template": tmp_path / "none", "server": True})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=4, stateful_step_count=25, phases=PHASES, suppress_health_check=list(HealthCheck)
        ),
    )
