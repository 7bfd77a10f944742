"""Random workflows in which parts fail inside loops and used workflows: runs, forks of every past, and crashes agree."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver

from graphs.graph import WorkflowGraph
from state.errors import SpecError, WorkflowFailed
from tests.conftest import Stage, answer
from tests.test_random_graphs import Case, Died, DyingSaver, cases, costly, ended, ordinary, to_the_end

pytestmark = pytest.mark.timeout(900)
"""Hundreds of workflows, each run to its end many times."""
FORKS = 6
"""How many checkpoints of a run's past are run again."""


def break_some(nodes: dict[str, Any], chance: random.Random, inside: bool) -> None:
    """Let tools fail and write here and there, and let loops and used workflows live with it."""
    for step in nodes.values():
        if step.get("type") == "tool":
            step["tool"] = chance.choice(["do.read"] * 3 + ["do.write"])
            if chance.random() < (0.3 if inside else 0.03):
                step["args"]["fault"] = "tool_error"
                step["on_error"] = step["on_error"] if isinstance(step["on_error"], dict) else "fail"
        if "for_each" in step:
            step["on_item_error"] = chance.choice(["fail", "skip", "collect"])
        if {"for_each", "repeat", "use"} & step.keys():
            step["on_error"] = chance.choice(["skip", "skip", "fail"]) if inside else "skip"
            break_some(step.get("nodes", {}), chance, True)


def built(case: Case, seed: int, saver: Any) -> tuple[Stage, WorkflowGraph] | None:
    """The broken workflow on a stage; None where the checks refuse it."""
    stage, spec = case.staged(seed)
    chance = random.Random(seed)
    break_some(spec["nodes"], chance, False)
    for used in stage.library.values():
        break_some(used["nodes"], chance, True)
    try:
        return stage, stage.graph(spec, saver)
    except SpecError:
        return None


async def outcome(stage: Stage, graph: WorkflowGraph, given_: Any, config: Any, chance: random.Random) -> Any:
    """How the run ends: its status and output; nothing is left open, waiting or to do."""
    with contextlib.suppress(WorkflowFailed):
        await to_the_end(stage, graph, given_, config, chance)
    snapshot = await graph.aget_state(config)
    state = snapshot.values
    assert (snapshot.next, snapshot.tasks) == ((), ())
    assert {record["status"] for record in state["nodes"].values()} <= {"done", "skipped", "failed", "cancelled"}
    return state["run"]["status"], state.get("output")


async def _forked(case: Case, seed: int) -> None:
    """Run, then run on from checkpoints of the past: each is a new run, repeats nothing, and ends alike."""
    if (made := built(case, seed, InMemorySaver())) is None:
        return
    (stage, graph), config, chance = made, made[0].thread(), random.Random(seed)
    first = await outcome(stage, graph, case.flags, config, chance)
    assert len(stage.paths()) == len(set(stage.paths())), "a step ran more than once"
    runs = {(await graph.aget_state(config)).values["run"]["id"]}
    past = [snapshot async for snapshot in graph.aget_state_history(config) if snapshot.tasks]
    past = [snapshot for snapshot in past if snapshot.values.get("run", {}).get("status") == "running"]
    for snapshot in chance.sample(past, min(len(past), FORKS)):
        stage.log.clear()
        with contextlib.suppress(WorkflowFailed):
            await graph.ainvoke(None, {"configurable": {**snapshot.config["configurable"]}})
        newest = await graph.aget_state(config)
        asked = {i.value["at"]: {"answer": i.value["at"]} for i in newest.interrupts}
        if asked:
            assert await outcome(stage, graph, answer(asked), config, chance) == first
        assert (newest.values["run"]["status"], newest.values.get("output")) == first or asked
        assert newest.values["run"]["id"] not in runs
        runs.add(newest.values["run"]["id"])
        assert not set(stage.paths()) & set(snapshot.values.get("path", ())), "a settled step ran again"


async def _crashed(case: Case, seed: int, after: int) -> bool:
    """Whether a run whose saver dies at that write crashed; resumed, it repeats nothing settled and ends alike."""
    saver = DyingSaver()
    if (whole := built(case, seed, InMemorySaver())) is None or (made := built(case, seed, saver)) is None:
        return False
    expected = await outcome(*whole, case.flags, whole[0].thread(), random.Random(seed))
    (stage, graph), config, saver.left = made, made[0].thread(), after
    try:
        assert await outcome(stage, graph, case.flags, config, random.Random(seed)) == expected
        return False
    except Died:
        saver.left = 10**9
    kept = await graph.aget_state(config)
    settled = set(kept.values.get("path", ()))
    asked = {i.value["at"]: {"answer": i.value["at"]} for i in kept.interrupts}
    goes_on = answer(asked) if asked else None if kept.values.get("run") else case.flags
    stage.log.clear()
    assert await outcome(stage, graph, goes_on, config, random.Random(seed + 1)) == expected
    assert not set(stage.paths()) & settled, "a settled step ran again"
    return True


@given(cases(people=True, most=5), st.integers(0, 9999))
@ordinary
def test_a_fork_of_any_past_ends_as_the_run_did_and_repeats_nothing_before_it(case: Case, seed: int) -> None:
    ended(_forked(case, seed))


@given(cases(people=True, most=4), st.integers(0, 9999))
@costly
def test_a_crash_at_any_write_ends_as_no_crash_though_parts_fail(case: Case, seed: int) -> None:
    after = 1
    while ended(_crashed(case, seed, after)):
        after += 1
