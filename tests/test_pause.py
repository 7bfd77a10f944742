"""A run that somebody pauses: it rests soon, says so, goes on from where it was, and repeats nothing that had ended."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command

from cogwork.store.checkpoints import SqliteCheckpoints
from graphs.keeping import request
from state.errors import NotResumable
from tests.conftest import Stage, ask, do, say, statuses
from tests.threads import Run, process, questions, until

pytestmark = [pytest.mark.req("X3", "D4")]

CHAIN = {
    "nodes": {"a": do(1), "b": do("{{ a + 1 }}", hold="b"), "c": do("{{ b + 1 }}")},
    "output": "{{ c }}",
}


@pytest.mark.parametrize("other", [False, True])
async def test_a_paused_run_says_so_and_goes_on_from_there(stage: Stage, other: bool) -> None:
    run = Run(stage, CHAIN)
    task = await run.begun("b")
    await (run.again() if other else run).pause()
    state = await task
    assert (state["run"]["status"], state["run"]["reason"]) == ("paused", "requested")
    assert (statuses(state), await run.asked()) == ({"a": "done"}, None)
    assert ("cancel", "b") in stage.log and stage.running == 0
    stage.door("b").set()
    state = await run.go()
    assert (state["run"]["status"], state["run"]["reason"], state["output"]) == ("completed", None, 3)
    assert stage.paths("end") == ["a", "b", "c"]


async def test_a_write_in_flight_ends_and_is_recorded_before_the_run_rests(stage: Stage) -> None:
    nodes = {
        "w": do(1, effect="write", hold="w"),
        "r": do(2, hold="r"),
        "after": do("{{ w }}"),
        "both": do("{{ r + w }}"),
    }
    run, told = Run(stage, {"nodes": nodes, "output": "{{ both }}"}), []

    async def watched() -> None:
        async for event in run.graph.aevents({}, run.config):
            told.append((event.kind, event.data.get("reason")))

    task = asyncio.create_task(watched())
    await until(lambda: set(stage.paths()) == {"w", "r"})
    pausing = asyncio.create_task(run.pause())
    await until(lambda: ("run.pausing", "requested") in told)
    assert ((await run.about())["status"], pausing.done(), task.done()) == ("running", False, False)
    stage.door("w").set()
    await asyncio.gather(pausing, task)
    assert told[-1] == ("run.paused", "requested")
    assert ((await run.about())["status"], statuses(await run.values())) == ("paused", {"w": "done"})
    stage.door("r").set()
    assert (await run.go())["output"] == 3
    assert sorted(stage.paths()) == ["after", "both", "r", "r", "w"]


NODES: dict[str, Any] = {
    "a": do(1, hold="a"),
    "w": do(10, effect="write", hold="w"),
    "loop": {"for_each": [1, 2], "nodes": {"x": do("{{ item + a }}", hold="x{{ item }}")}, "output": "x"},
    "lap": {
        "repeat": {"max_iterations": 2, "initial": 0},
        "nodes": {"y": do("{{ previous + 1 }}", effect="write", hold="y")},
    },
    "sub": {"use": "part", "with": {"n": "{{ w }}"}},
    "end": do("{{ sub + w + lap }}", effect="write", hold="end"),
}
MIXED: dict[str, Any] = {"nodes": NODES, "output": ["{{ loop }}", "{{ sub }}", "{{ end }}"]}
PART: dict[str, Any] = {
    "input": {"n": "integer"},
    "nodes": {"inner": do("{{ input.n }}", effect="write", hold="inner"), "out": do("{{ inner + 1 }}", hold="out")},
    "output": "{{ out }}",
}
DOORS = {"a", "w", "x1", "x2", "y", "inner", "out", "end"}
PLACES = [
    ("a", "a"),
    ("w", "w"),
    ("x1", "loop[0].x"),
    ("x2", "loop[1].x"),
    ("y", "lap[0].y"),
    ("y", "lap[1].y"),
    ("inner", "sub.inner"),
    ("out", "sub.out"),
    ("end", "end"),
]


@pytest.mark.parametrize(("door", "path"), PLACES)
async def test_a_run_paused_anywhere_and_resumed_is_a_run_that_was_not_paused(
    stage: Stage, door: str, path: str
) -> None:
    stage.library["part"] = PART
    run = Run(stage, MIXED)
    for name in DOORS - {door}:
        stage.door(name).set()
    reached: list[str] = []

    def at_start(begun: str) -> None:
        """Every step passes its door but the one to be paused at; what starts beside that one lets nothing pass."""
        if begun == path:
            reached.append(path)
            stage.door(door).clear()
        elif not reached:
            stage.door(door).set()

    stage.on_start = at_start
    task = await run.begun(path)
    pausing = asyncio.create_task(run.pause())
    stage.on_start = lambda begun: None
    if path in ("w", "lap[0].y", "lap[1].y", "sub.inner", "end"):
        asked = asked_of(run)
        await until(lambda: asyncio.ensure_future(_either(pausing, asked)))
        stage.door(door).set()
    await pausing
    await task
    stage.door(door).set()
    state = (await run.go()) if (await run.about())["status"] == "paused" else await run.values()
    assert (state["run"]["status"], state["output"]) == ("completed", [[2, 3], 11, 23])
    assert sorted(stage.paths("end")) == sorted(place for _, place in PLACES)
    assert {name for name in stage.paths() if stage.paths().count(name) > 1} <= {
        "a",
        "loop[0].x",
        "loop[1].x",
        "sub.out",
    }


async def _either(pausing: asyncio.Task[Any], asked: Any) -> bool:
    return pausing.done() or bool(await asked())


def asked_of(run: Run) -> Any:
    """Whether the run is asked for something."""

    async def asked() -> bool:
        return await run.asked() is not None

    return asked


async def test_a_run_paused_while_a_question_waits_asks_it_after_it_is_resumed(stage: Stage) -> None:
    nodes = {"q": ask(), "r": do(1, hold="r"), "both": do("{{ [q.answer, r] }}")}
    run = Run(stage, {"nodes": nodes, "output": "{{ both }}"})
    task = await run.begun("r")
    await run.pause()
    state = await task
    assert (state["run"]["status"], state["run"]["reason"], questions(state)) == ("paused", "requested", {})
    stage.door("r").set()
    state = await run.go()
    assert (state["run"]["status"], state["run"]["reason"], list(questions(state))) == ("paused", "human", ["q"])
    assert (await run.say("q", {"answer": "yes"}))["output"] == ["yes", 1]


async def test_a_run_can_be_paused_again_and_again(stage: Stage) -> None:
    run = Run(stage, CHAIN)
    for times in range(1, 4):
        task = asyncio.create_task(run.go({} if times == 1 else None))
        await until(lambda wanted=times: stage.paths().count("b") == wanted)  # type: ignore[misc]
        await run.pause()
        assert (await task)["run"]["status"] == "paused"
    stage.door("b").set()
    assert (await run.go())["output"] == 3
    assert stage.paths("end") == ["a", "b", "c"]


async def test_new_input_on_a_paused_run_and_an_answer_to_it_are_refused(stage: Stage) -> None:
    run = Run(stage, CHAIN)
    task = await run.begun("b")
    await run.pause()
    await task
    with pytest.raises(NotResumable, match="is not finished"):
        await run.go({})
    with pytest.raises(NotResumable, match="asks nothing"):
        await run.go(Command(resume=1))


async def test_only_a_run_that_somebody_works_on_can_be_paused(stage: Stage) -> None:
    run = Run(stage, {"nodes": {"q": ask()}})
    with pytest.raises(NotResumable, match="Nobody works on"):
        await run.pause()
    await run.go({})
    with pytest.raises(NotResumable, match="Nobody works on"):
        await run.pause()
    with pytest.raises(NotResumable, match="checkpointer"):
        await stage.graph({"nodes": {"a": do()}}).apause(run.config)
    assert await run.asked() is None


async def test_a_pause_that_comes_as_the_run_ends_leaves_no_request_behind(stage: Stage) -> None:
    run = Run(stage, {"nodes": {"w": do(1, effect="write", hold="w")}, "output": "{{ w }}"})
    task = await run.begun("w")
    pausing = asyncio.create_task(run.pause())
    await until(asked_of(run))
    stage.door("w").set()
    await pausing
    assert (await task)["run"]["status"] == "completed"
    assert await run.asked() is None
    assert (await run.go({}))["output"] == 1


async def test_a_request_to_pause_that_nobody_lived_to_heed_stops_no_later_call(stage: Stage) -> None:
    run = Run(stage, CHAIN)
    await run.die("b")
    await run.ask(request("pause", ""))
    stage.door("b").set()
    assert (await run.go())["output"] == 3


def test_callers_without_an_event_loop_can_pause_too(stage: Stage) -> None:
    run, told = Run(stage, CHAIN), []
    for event in run.graph.events({}, run.config):
        told.append(event.kind)
        if event.kind == "step.started" and event.step == "b":
            run.graph.pause(run.config)
    assert told[-1] == "run.paused"


WORKER = """
import asyncio, json, sys
from cogwork.store.checkpoints import SqliteCheckpoints
from tests.conftest import Stage
from tests.threads import Run

async def main(path, spec):
    with SqliteCheckpoints(path) as saver:
        state = await Run(Stage(), json.loads(spec), saver, {"configurable": {"thread_id": "t"}}).go({})
        print(json.dumps(state["run"]))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_run_of_another_process_is_paused_from_here_and_goes_on_here(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.sqlite"
    worker = process(WORKER, str(path), json.dumps(CHAIN))
    with SqliteCheckpoints(path) as saver:
        run = Run(stage, CHAIN, saver, {"configurable": {"thread_id": "t"}})

        async def there() -> bool:
            return worker.poll() is not None or "a" in (await run.values()).get("nodes", {})

        await until(there)
        await run.pause()
        said, _ = await asyncio.to_thread(worker.communicate, timeout=30)
        about = json.loads(said.splitlines()[-1])
        assert (about["status"], about["reason"]) == ("paused", "requested"), said
        stage.door("b").set()
        assert (await run.go())["output"] == 3
    assert stage.paths() == ["b", "c"]


async def test_steps_without_work_are_paused_between_supersteps(stage: Stage) -> None:
    nodes: dict[str, Any] = {"s0": say(0)} | {f"s{i}": say(f"{{{{ s{i - 1} + 1 }}}}") for i in range(1, 400)}
    run = Run(stage, {"nodes": nodes, "output": "{{ s399 }}"})
    task = asyncio.create_task(run.go({}))

    async def on_its_way() -> bool:
        return task.done() or len((await run.values()).get("nodes", {})) > 3

    await until(on_its_way)
    await run.pause()
    state = await task
    assert state["run"]["status"] == "paused" and 3 < len(state["nodes"]) < 400
    state = await run.go()
    assert (state["run"]["status"], state["output"], len(state["path"])) == ("completed", 399, 400)
