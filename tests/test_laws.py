"""Laws of runs, on random workflows: a pause changes nothing, undo is the mirror of what finished, faults are survived.

That a kill changes nothing is held by ``tests/kills``.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START

from cogwork.app import app
from cogwork.tools.function import tool
from graphs.graph import WorkflowGraph
from state.errors import CogworkError, Fault, SpecError, WorkflowCancelled, WorkflowFailed
from state.services import CallContext
from tests.conftest import Stage, answer, do
from tests.test_random_graphs import Case, cases, ordinary

T = TypeVar("T")
PAUSABLE = pytest.mark.skipif(not hasattr(WorkflowGraph, "apause"), reason="runs cannot be paused from outside yet")
CALLS = 60
SECONDS = 60
"""After which a run hangs, however busy the machine is."""
"""Calls of the graph after which a run hangs."""


def ended(work: Coroutine[Any, Any, T]) -> T:
    """What the work gives."""

    async def within() -> T:
        return await asyncio.wait_for(work, SECONDS)

    return asyncio.run(within())


# -- pause + resume = no pause -------------------------------------------------------------------------------------


async def _paused_again_and_again(case: Case, seed: int, turns: list[int]) -> tuple[Stage, dict[str, Any], int]:
    """The end of a run that another task asks to pause, each time after so many turns of the loop."""
    stage, spec = case.staged(seed)
    graph, config, chance = stage.graph(spec, InMemorySaver()), stage.thread(), random.Random(seed)
    work: Any = case.flags
    pauses = 0
    for left in range(CALLS):
        call = asyncio.create_task(graph.ainvoke(work, config))
        if left < len(turns):
            for _ in range(turns[left]):
                await asyncio.sleep(0)
            if not call.done():
                with contextlib.suppress(CogworkError):  # It may not have begun, or has just ended.
                    await graph.apause(config, reason="the law")
        await call
        state = await graph.aget_state(config)
        run = state.values.get("run") or {}
        pauses += run.get("reason") == "requested"
        if not run or START in state.next:
            work = case.flags
        elif asked := {each.value["at"]: {"answer": each.value["at"]} for each in state.interrupts}:
            work = answer(dict(chance.sample(sorted(asked.items()), chance.randint(1, len(asked)))))
        elif state.tasks or run.get("status") == "paused":
            work = None
        else:
            return stage, state.values, pauses
    raise AssertionError("the run does not end")


@PAUSABLE
@pytest.mark.req("X3", "D4")
@given(cases(people=True, most=6), st.integers(0, 999), st.lists(st.integers(0, 60), min_size=1, max_size=4))
@ordinary
def test_a_run_paused_at_any_moments_and_resumed_ends_as_if_it_had_not_been(
    case: Case, seed: int, turns: list[int]
) -> None:
    if not case.sound():
        return
    stage, state, _ = ended(_paused_again_and_again(case, seed, turns))
    case.compare(state)
    finished = Counter(stage.paths("end"))
    assert not [path for path, times in finished.items() if times > 1], "what had finished ran again"


@PAUSABLE
async def test_a_pause_while_a_step_works_is_one_that_the_law_sees() -> None:
    stage = Stage()
    graph, config = stage.graph({"nodes": {"a": do(1, hold="door")}}, InMemorySaver()), stage.thread()
    call = asyncio.create_task(graph.ainvoke({}, config))
    while not stage.paths():
        await asyncio.sleep(0)
    await graph.apause(config)
    assert (await call)["run"]["status"] == "paused"
    stage.door("door").set()
    state = await graph.ainvoke(None, config)
    assert (state["run"]["status"], state["output"]) == ("completed", 1)


# -- undo is the mirror of what finished -----------------------------------------------------------------------------


def _undoing(nodes: dict[str, Any], chance: random.Random) -> None:
    """Give tools an undo; one of them in five cannot be done."""
    for step in nodes.values():
        if step.get("type") == "tool" and chance.random() < 0.7:
            step["tool"] = chance.choice(["do.write", "do.read"])
            fault = {"fault": "tool_error"} if chance.random() < 0.2 else {}
            step["undo"] = {"tool": "do.write", "args": {"value": "back", **fault}, "retry": {"max_attempts": 1}}
        _undoing(step.get("nodes", {}), chance)


def _to_undo(spec: dict[str, Any], library: dict[str, Any], path: str) -> bool:
    """Whether the step of that path has an undo."""
    steps: Any = spec
    for name in re.sub(r"\[\d+\]", "", path).split("."):
        if "use" in steps:
            steps = library[steps["use"]]
        steps = steps.get("nodes", {}).get(name, {})
    return "undo" in steps


@pytest.mark.req("T4")
@given(cases(most=6, depth=1), st.integers(0, 999))
@ordinary
def test_undo_runs_exactly_the_reverse_of_what_finished(case: Case, seed: int) -> None:
    if not case.sound():
        return
    stage, spec = case.staged(seed)
    chance = random.Random(seed)
    for holder in (spec, *stage.library.values()):
        _undoing(holder["nodes"], chance)
    last = do(None, fault="tool_error", depends_on=list(spec["nodes"]), join="always")
    spec["nodes"]["last"] = last
    try:
        graph = stage.graph(spec, InMemorySaver())
    except SpecError:
        return
    config = stage.thread()
    with contextlib.suppress(WorkflowCancelled, WorkflowFailed):
        ended(graph.ainvoke(case.flags, config))
    state = graph.get_state(config).values
    finished = [path for path in state["path"] if state["nodes"][path]["status"] == "done"]
    expected = [path for path in reversed(finished) if _to_undo(spec, stage.library, path)]
    told = state["run"].get("undo") or {"done": [], "not_done": []}
    failed = [each["step"] for each in told["not_done"]]
    assert sorted([*told["done"], *failed]) == sorted(expected)
    assert told["done"] == [path for path in expected if path not in failed]
    assert len(stage.keys) == len(set(stage.keys)), "something was called twice"
    assert state["run"]["status"] == "failed"


# -- faults ----------------------------------------------------------------------------------------------------------

RUNS, SHARE = 200, 0.1


def _busy() -> dict[str, Any]:
    """Eight calls per run, some beside each other, some in a loop; each tries four times."""
    call = {"type": "tool", "tool": "busy.call", "retry": {"max_attempts": 4, "backoff": 0.001, "jitter": False}}
    loop = {"for_each": [1, 2, 3], "nodes": {"s": call}, "depends_on": ["b", "c"]}
    nodes = {
        "a": call,
        "b": {**call, "depends_on": ["a"]},
        "c": {**call, "depends_on": ["a"]},
        "each": loop,
        "d": {**call, "depends_on": ["each"]},
        "e": {**call, "depends_on": ["d"]},
    }
    return {"cogwork": "v1", "name": "busy", "nodes": nodes, "output": "{{ e }}"}


@pytest.mark.req("X12", "X14", "T4")
async def test_with_a_transient_fault_in_every_tenth_call_99_percent_of_the_runs_complete() -> None:
    chance, told = random.Random(1), Counter[str]()
    struck: set[str] = set()

    @tool(name="busy.call", effect="write", idempotent=True)
    async def call(context: CallContext) -> str:
        """Work, or say that it cannot right now."""
        told["calls"] += 1
        if chance.random() < SHARE:
            told["faults"] += 1
            struck.add(context.run)
            raise Fault("unavailable", "not right now", origin="tool")
        return context.idempotency_key

    graph = app(tools=[call]).compile(_busy(), checkpointer=InMemorySaver())
    ends = []
    for index in range(RUNS):
        config: Any = {"configurable": {"thread_id": f"t{index}"}}
        with contextlib.suppress(WorkflowCancelled, WorkflowFailed):
            await graph.ainvoke({}, config)
        ends.append((await graph.aget_state(config)).values["run"])
    completed = {run["id"] for run in ends if run["status"] == "completed"}
    assert told["faults"] / told["calls"] > 0.08
    assert len(completed) >= 0.99 * RUNS
    assert len(struck & completed) > 0.8 * len(struck)
