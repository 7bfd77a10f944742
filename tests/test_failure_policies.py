"""Failure policies: retries, timeouts, ``on_error``, and what the first failure stops."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from state.errors import WorkflowFailed
from tests.conftest import Stage, answer, causes, do, say, statuses

QUICK = {"backoff": "1ms", "jitter": False}


async def failure(stage: Stage, spec: Any) -> dict[str, Any]:
    """The error that a run of the spec fails with."""
    with pytest.raises(WorkflowFailed) as failed:
        await stage.run(spec)
    return failed.value.error


@pytest.mark.req("T4", "X12")
async def test_a_retry_ends_with_the_first_attempt_that_succeeds(stage: Stage) -> None:
    state = await stage.run(
        {"nodes": {"a": do(1, fault="connection", until=2, retry={"max_attempts": 5, **QUICK})}, "output": "{{ a }}"}
    )
    assert (state["output"], state["nodes"]["a"]["attempts"]) == (1, 3)
    assert stage.log == [("start", "a"), ("fail", "a")] * 2 + [("start", "a"), ("end", "a")]


@pytest.mark.req("T4")
async def test_max_attempts_counts_the_first_one(stage: Stage) -> None:
    error = await failure(stage, {"nodes": {"a": do(fault="timeout", retry={"max_attempts": 3, **QUICK})}})
    assert (error["class"], error["node"], len(stage.paths())) == ("timeout", "a", 3)


@pytest.mark.req("T4")
@pytest.mark.parametrize(
    ("on", "fault", "attempts"),
    [
        (["transient"], "unavailable", 2),
        (["transient"], "tool_error", 1),
        (["tool_error"], "tool_error", 2),
        (["tool_error"], "timeout", 1),
        (["rate_limited", "timeout"], "rate_limited", 2),
    ],
)
async def test_only_the_named_classes_are_tried_again(stage: Stage, on: list[str], fault: str, attempts: int) -> None:
    await failure(stage, {"nodes": {"a": do(fault=fault, retry={"max_attempts": 2, "on": on, **QUICK})}})
    assert len(stage.paths()) == attempts


@pytest.mark.req("X12")
async def test_a_retry_waits_at_least_as_long_as_the_service_asked_for(stage: Stage) -> None:
    node = do(1, fault="rate_limited", until=1, retry_after=0.02, retry={"max_attempts": 2, **QUICK})
    graph = stage.graph({"nodes": {"a": node}})
    waits = [event.data["wait"] async for event in graph.aevents({}) if event.kind == "step.retry"]
    assert waits == [0.02]


async def test_all_attempts_of_a_call_bear_one_idempotency_key(stage: Stage) -> None:
    await stage.run({"nodes": {"a": do(fault="timeout", until=2, retry={"max_attempts": 3, **QUICK}), "b": do()}})
    assert sorted(map(stage.keys.count, set(stage.keys))) == [1, 3]


@pytest.mark.req("T1", "T4")
async def test_an_attempt_that_takes_too_long_is_cut_off_as_a_timeout(stage: Stage) -> None:
    error = await failure(stage, {"nodes": {"a": do(hold="for ever", timeout="200ms")}})
    assert (error["class"], error["recoverable"]) == ("timeout", True)
    assert stage.log == [("start", "a"), ("cancel", "a")]


@pytest.mark.req("T4")
async def test_a_skipped_error_counts_as_a_choice_and_can_be_read(stage: Stage) -> None:
    state = await stage.run(
        {
            "nodes": {
                "a": do(fault="tool_error", on_error="skip"),
                "b": do(2),
                "c": say("{{ a | default: 'none' }}", depends_on=["b"]),
                "d": say("{{ a }}"),
                "e": say("{{ steps.a.error.class }}", join="always"),
            }
        }
    )
    assert statuses(state) == {"a": "skipped", "b": "done", "c": "done", "d": "skipped", "e": "done"}
    assert causes(state) == {"a": ("error_ignored", "a"), "d": ("error_ignored", "a")}
    assert (state["results"]["c"], state["results"]["e"]) == ("none", "tool_error")


@pytest.mark.req("T4")
@pytest.mark.parametrize(("fails", "ran"), [(True, ["work", "mend"]), (False, ["work", "next"])])
async def test_on_error_then_runs_its_target_only_in_that_case(stage: Stage, fails: bool, ran: list[str]) -> None:
    fault = {"fault": "tool_error"} if fails else {}
    nodes = {"work": do(1, on_error={"then": "mend"}, **fault), "mend": do(2), "next": do("{{ work }}")}
    state = await stage.run({"nodes": nodes})
    assert stage.paths() == ran
    skipped = {"next": ("upstream_failed", "work")} if fails else {"mend": ("not_selected", "work")}
    assert (state["run"]["status"], causes(state)) == ("completed", skipped)


async def test_a_skip_out_of_a_failure_blocks_a_default_join(stage: Stage) -> None:
    state = await stage.run(
        {
            "nodes": {
                "a": do(fault="tool_error", on_error={"then": "mend"}),
                "mend": do(1),
                "b": do(2),
                "default": say(1, depends_on=["a", "b"]),
                "any": say(1, depends_on=["a", "b"], join="any"),
                "behind": say(1, depends_on=["default", "b"]),
            }
        }
    )
    assert causes(state) == dict.fromkeys(["default", "behind"], ("upstream_failed", "a"))
    assert statuses(state)["any"] == "done"


@pytest.mark.parametrize("slow", ["choice", "failure"])
async def test_the_cause_of_a_skip_does_not_depend_on_which_parent_was_faster(stage: Stage, slow: str) -> None:
    turns = {"choice": 0, "failure": 0, slow: 30}
    state = await stage.run(
        {
            "nodes": {
                "wait": do(turns=turns["choice"]),
                "choice": do(when="false", depends_on=["wait"]),
                "failure": do(fault="tool_error", turns=turns["failure"], on_error={"then": "mend"}),
                "mend": do(),
                "both": do(join="all", depends_on=["choice", "failure"]),
                "behind": do(depends_on=["both", "mend"]),
            }
        }
    )
    assert causes(state)["behind"] == causes(state)["both"] == ("upstream_failed", "failure")


@pytest.mark.req("T4")
async def test_the_first_failure_cancels_reads_lets_writes_finish_and_starts_nothing_more(stage: Stage) -> None:
    nodes = {
        "bad": do(fault="tool_error", turns=3),
        "read": do(hold="for ever"),
        "write": do("written", effect="write", turns=40),
        "after_write": do("{{ write }}"),
        "after_bad": do("{{ bad }}"),
    }
    graph, config = stage.graph({"nodes": nodes}, _saver()), stage.thread()
    with pytest.raises(WorkflowFailed, match="bad was told to fail"):
        await graph.ainvoke({}, config)
    state = (await graph.aget_state(config)).values
    assert sorted(stage.paths()) == ["bad", "read", "write"]
    assert statuses(state) == {"bad": "failed", "read": "cancelled", "write": "done"}
    assert (state["results"], state["run"]["status"]) == ({"write": "written"}, "failed")
    assert state["run"]["error"]["node"] == "bad"


async def test_a_run_that_its_caller_cancels_leaves_no_work_behind(stage: Stage) -> None:
    started = asyncio.Event()
    stage.on_start = lambda path: started.set()
    run = asyncio.create_task(stage.run({"nodes": {"a": do(hold="for ever")}}))
    await started.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert (stage.running, stage.log) == (0, [("start", "a"), ("cancel", "a")])


async def test_an_expression_that_fails_fails_its_step_with_the_place(stage: Stage) -> None:
    error = await failure(stage, {"nodes": {"a": do({}), "b": say("{{ a.missing }}")}})
    assert (error["class"], error["node"], error["pointer"]) == ("invalid_input", "b", "/nodes/b")


async def test_more_steps_than_the_limit_rest_the_run_and_never_fail_it(stage: Stage) -> None:
    nodes = {"a": do(), "b": do(depends_on=["a"]), "c": do(depends_on=["b"])}
    graph, config = stage.graph({"limits": {"max_steps": 2}, "nodes": nodes}, _saver()), stage.thread()
    state = await graph.ainvoke({}, config)
    assert (state["run"]["status"], state["run"]["reason"], stage.paths()) == ("paused", "budget", ["a", "b"])
    assert (await graph.ainvoke(answer({"max_steps": 3}), config))["run"]["status"] == "completed"


def _saver() -> Any:
    from langgraph.checkpoint.memory import InMemorySaver

    return InMemorySaver()
