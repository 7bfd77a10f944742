"""A run that somebody cancels, wherever it is: what follows a failure runs, finished work is taken back on request only."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cogwork.store.checkpoints import SqliteCheckpoints
from graphs.keeping import request
from state.errors import NotResumable, WorkflowCancelled, WorkflowFailed
from tests.conftest import Stage, ask, do, statuses
from tests.threads import Run, process, questions, until

pytestmark = [pytest.mark.req("X3", "X12")]

ENDS = {
    "on_failure": {"nodes": {"notify": do("{{ run.error.class }}", effect="write")}},
    "finally": {"nodes": {"clean": do("{{ run.status }}", effect="write")}},
}


def undoing(value: Any, **more: Any) -> dict[str, Any]:
    """A write that can be taken back."""
    return {**do(value, effect="write", **more), "undo": {"tool": "do.write", "args": {"value": "undone"}}}


SPEC: dict[str, Any] = {
    "nodes": {
        "one": undoing(1),
        "two": undoing("{{ one + 1 }}"),
        "slow": do("{{ two }}", hold="slow"),
        "last": do("{{ slow }}"),
    },
    "output": "{{ last }}",
    **ENDS,
}


async def cancelled(task: asyncio.Task[Any]) -> WorkflowCancelled:
    """What the runner of a cancelled run is told."""
    with pytest.raises(WorkflowCancelled) as told:
        await task
    return told.value


@pytest.mark.parametrize("other", [False, True])
async def test_a_run_at_work_is_cancelled_and_its_runner_is_told(stage: Stage, other: bool) -> None:
    run = Run(stage, SPEC)
    task = await run.begun("slow")
    state = await (run.again() if other else run).cancel(reason="enough")
    told = await cancelled(task)
    assert (told.run, told.error["class"], told.error["message"]) == (state["run"]["id"], "cancelled", "enough")
    assert (state["run"]["status"], state["run"]["reason"]) == ("cancelled", "cancelled")
    assert (statuses(state)["slow"], "last" in statuses(state)) == ("cancelled", False)
    assert state["results"]["on_failure.notify"] == "cancelled"
    assert stage.paths("end") == ["one", "two", "on_failure.notify", "finally.clean"]
    assert await run.asked() is None


@pytest.mark.parametrize("undo", [False, True])
async def test_finished_steps_are_taken_back_on_request_only(stage: Stage, undo: bool) -> None:
    run = Run(stage, SPEC)
    task = await run.begun("slow")
    state = await run.cancel(undo=undo)
    await cancelled(task)
    taken = ["two", "one"] if undo else []
    assert stage.paths("end") == ["one", "two", "on_failure.notify", *taken, "finally.clean"]
    assert (state["run"].get("undo") or {"done": []})["done"] == taken


async def test_a_write_in_flight_ends_and_is_recorded_before_the_run_is_cancelled(stage: Stage) -> None:
    run = Run(stage, {"nodes": {"w": do(1, effect="write", hold="w"), "r": do(hold="r"), "x": do("{{ w }}")}})
    task = await run.begun("w", "r")
    cancelling = asyncio.create_task(run.cancel())
    await until(lambda: ("cancel", "r") in stage.log)
    assert not task.done()
    stage.door("w").set()
    state = await cancelling
    await cancelled(task)
    assert statuses(state) == {"w": "done", "r": "cancelled"}
    assert sorted(stage.paths()) == ["r", "w"]


async def resting_at_a_person(stage: Stage) -> Run:
    """A run that asks somebody."""
    run = Run(stage, {**SPEC, "nodes": {**SPEC["nodes"], "slow": do("{{ two }}"), "q": ask(depends_on=["slow"])}})
    assert list(questions(await run.go({}))) == ["q"]
    return run


async def paused(stage: Stage) -> Run:
    """A run that somebody has paused."""
    run = Run(stage, SPEC)
    task = await run.begun("slow")
    await run.pause()
    await task
    return run


async def crashed(stage: Stage) -> Run:
    """A run whose process is gone."""
    run = Run(stage, SPEC)
    await run.die("slow")
    return run


async def at_its_limit(stage: Stage) -> Run:
    """A run that has used up its steps."""
    run = Run(stage, {**SPEC, "limits": {"max_steps": 2}})
    assert list(questions(await run.go({}))) == ["run"]
    return run


async def in_doubt(stage: Stage) -> Run:
    """A run that asks what became of a write."""
    slow = do("{{ two }}", effect="write", fault="timeout")
    run = Run(stage, {**SPEC, "nodes": {**SPEC["nodes"], "slow": slow}})
    assert list(questions(await run.go({}))) == ["slow"]
    return run


@pytest.mark.parametrize("place", [resting_at_a_person, paused, crashed, at_its_limit])
@pytest.mark.parametrize("undo", [False, True])
async def test_a_run_on_which_nobody_works_is_cancelled_by_who_asks_for_it(
    stage: Stage, place: Any, undo: bool
) -> None:
    run = await place(stage)
    begun = len(stage.paths())
    state = await run.again().cancel(undo=undo)
    assert (state["run"]["status"], await run.asked()) == ("cancelled", None)
    undone = ["two", "one"] if undo else []
    assert stage.paths()[begun:] == ["on_failure.notify", *undone, "finally.clean"]
    with pytest.raises((NotResumable, WorkflowCancelled)):
        await run.go()
    with pytest.raises(NotResumable, match="nothing to cancel"):
        await run.cancel()


async def test_a_cancelled_run_in_doubt_asks_first_what_became_of_its_write(stage: Stage) -> None:
    run = await in_doubt(stage)
    state = await run.cancel(undo=True)
    assert (state["run"]["status"], state["run"]["reason"]) == ("paused", "in_doubt")
    with pytest.raises(WorkflowCancelled):
        await run.say("slow", {"resolution": "done", "result": 1})
    assert (statuses(await run.values())["slow"], await run.asked()) == ("done", None)
    assert stage.paths()[3:] == ["on_failure.notify", "two", "one", "finally.clean"]


async def completed(stage: Stage) -> Run:
    """A run that is over."""
    run = Run(stage, {"nodes": {"a": do(1)}, "output": "{{ a }}"})
    await run.go({})
    return run


async def failed(stage: Stage) -> Run:
    """A run that has failed."""
    run = Run(stage, {"nodes": {"a": do(fault="{{ input.fault }}")}, "input": {"fault": "string"}})
    with pytest.raises(WorkflowFailed):
        await run.go({"fault": "tool_error"})
    return run


async def unbegun(stage: Stage) -> Run:
    """A thread without a run."""
    return Run(stage, SPEC)


@pytest.mark.parametrize("place", [completed, failed, unbegun])
async def test_what_has_ended_or_never_begun_cannot_be_cancelled(stage: Stage, place: Any) -> None:
    run = await place(stage)
    with pytest.raises(NotResumable, match="nothing to cancel"):
        await run.cancel()
    assert await run.asked() is None


async def test_a_request_that_came_too_late_for_its_run_does_not_cancel_the_next_one(stage: Stage) -> None:
    run = await completed(stage)
    await run.ask(request("cancel", "late"))
    assert (await run.go({}))["output"] == 1
    assert await run.asked() is None


async def test_a_request_outlives_the_process_that_did_not_heed_it(stage: Stage) -> None:
    run = await crashed(stage)
    await run.ask(request("cancel", "gone", undo=True))
    with pytest.raises(WorkflowCancelled, match="gone"):
        await run.go()
    assert (await run.about())["undo"]["done"] == ["two", "one"]


async def test_a_cancelled_run_can_crash_on_its_way_and_ends_the_same(stage: Stage) -> None:
    spec = {**SPEC, "finally": {"nodes": {"clean": do("{{ run.status }}", hold="clean")}}}
    run = Run(stage, spec)
    task = await run.begun("slow")
    cancelling = asyncio.create_task(run.cancel(undo=True))
    await until(lambda: "finally.clean" in stage.paths())
    task.cancel()
    await asyncio.wait([task])
    stage.door("clean").set()
    assert (await cancelling)["run"]["status"] == "cancelled"
    assert stage.paths("end") == ["one", "two", "on_failure.notify", "two", "one", "finally.clean"]


async def test_the_events_of_a_cancelled_run_end_with_run_cancelled(stage: Stage) -> None:
    run, told = Run(stage, SPEC), []

    async def watched() -> None:
        async for event in run.graph.aevents({}, run.config):
            told.append((event.kind, event.step, event.data))

    task = asyncio.create_task(watched())
    await until(lambda: "slow" in stage.paths())
    await run.cancel(reason="enough")
    await task
    kind, _, data = told[-1]
    assert (kind, data["error"]["message"]) == ("run.cancelled", "enough")
    assert ("step.cancelled", "slow") in [(kind, step) for kind, step, _ in told]


async def test_after_a_cancelled_run_its_thread_takes_new_input(stage: Stage) -> None:
    run = await paused(stage)
    await run.cancel()
    stage.door("slow").set()
    assert (await run.go({}))["output"] == 2


def test_callers_without_an_event_loop_can_cancel_too(stage: Stage) -> None:
    run = Run(stage, {"nodes": {"q": ask()}})
    run.graph.invoke({}, run.config)
    assert run.graph.cancel(run.config, reason="no need")["run"]["error"]["message"] == "no need"


WORKER = """
import asyncio, json, sys
from cogwork.store.checkpoints import SqliteCheckpoints
from state.errors import WorkflowCancelled
from tests.conftest import Stage
from tests.threads import Run

async def main(path, spec):
    with SqliteCheckpoints(path) as saver:
        stage = Stage()
        try:
            await Run(stage, json.loads(spec), saver, {"configurable": {"thread_id": "t"}}).go({})
        except WorkflowCancelled as told:
            print(json.dumps([told.error["message"], stage.paths("end")]))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_run_of_another_process_is_cancelled_from_here(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.sqlite"
    worker = process(WORKER, str(path), json.dumps(SPEC))
    with SqliteCheckpoints(path) as saver:
        run = Run(stage, SPEC, saver, {"configurable": {"thread_id": "t"}})

        async def there() -> bool:
            return worker.poll() is not None or "two" in (await run.values()).get("nodes", {})

        await until(there)
        state = await run.cancel(undo=True, reason="from afar")
        said, _ = await asyncio.to_thread(worker.communicate, timeout=30)
        message, ended = json.loads(said.splitlines()[-1])
        assert (state["run"]["status"], message) == ("cancelled", "from afar"), said
        assert ended == ["one", "two", "on_failure.notify", "two", "one", "finally.clean"]
    assert stage.paths() == []
