"""``WorkflowEngine`` by its documented verbs, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from cogwork.errors import EngineError
from cogwork.settings import Settings
from cogwork.workflow_engine import WorkflowEngine
from state.errors import AnswerRefused
from tests.clusters import schema
from tests.fleet import drop

ASKING: dict[str, Any] = {
    "cogwork": "v1",
    "name": "asking",
    "input": {"n": {"type": "integer"}},
    "nodes": {
        "double": {"type": "transform", "set": {"value": "{{ input.n * 2 }}"}},
        "sure": {"type": "human", "ask": "{{ double.value }}?", "form": {"go": {"enum": ["yes", "no"]}}},
        "told": {"type": "transform", "set": {"value": "{{ double.value }}", "go": "{{ sure.go }}"}},
    },
    "output": {"value": "{{ told.value }}", "go": "{{ told.go }}"},
}
PLAIN: dict[str, Any] = {
    "cogwork": "v1",
    "name": "plain",
    "input": {"n": {"type": "integer", "default": 1}},
    "nodes": {"double": {"type": "transform", "set": {"value": "{{ input.n * 2 }}"}}},
    "output": "{{ double.value }}",
}


@pytest.fixture(params=["sqlite", "postgres"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[WorkflowEngine]:
    """An engine with a worker beside it."""
    if request.param == "sqlite":
        async with WorkflowEngine(settings=Settings(state_dir=tmp_path / "state", workflows=[])) as made:
            yield made
        return
    with schema() as url:
        settings = Settings(state_dir=tmp_path / "state", workflows=[], database_url=url)  # type: ignore[arg-type]
        try:
            async with WorkflowEngine(settings=settings) as made:
                yield made
        finally:
            await asyncio.to_thread(drop, url)


@pytest.mark.req("E2", "M2", "X2")
async def test_an_execution_in_the_queue_asks_a_person_and_goes_on_with_the_answer(engine: WorkflowEngine) -> None:
    workflow_id = await engine.create_workflow(source=ASKING)
    execution = await engine.execute_workflow(workflow_id=workflow_id, input_data={"n": 4}, priority="high")
    assert execution["status"] == "pending"
    resting = await execution.wait(30)
    assert (resting["status"], resting["reason"]) == ("paused", "human")
    with pytest.raises(AnswerRefused):
        await execution.resume({"go": "perhaps"})
    with pytest.raises(EngineError, match="waits for an answer at sure"):
        await execution.resume()
    result = await (await execution.resume({"go": "yes"})).wait(30)
    assert result["status"] == "completed"
    assert result["output"]["primary_result"] == {"value": 8, "go": "yes"}
    assert result["output"]["intermediate_results"]["double"] == {"value": 8}
    assert {step["path"]: step["status"] for step in result["steps"]} == dict.fromkeys(
        ["double", "sure", "told"], "done"
    )
    kinds = [told.event.kind async for told in execution.events()]
    assert kinds[0] == "run.started" and kinds[-1] == "run.completed" and "run.paused" in kinds
    numbers = [told.seq async for told in execution.events(after=2)]
    assert numbers == list(range(3, len(kinds) + 1)), (
        "a late listener sees what it has missed, in order and without gaps"
    )


@pytest.mark.req("E2", "M2", "R2")
async def test_an_execution_runs_in_the_callers_process_and_sums_up_its_results(engine: WorkflowEngine) -> None:
    await engine.create_workflow(source=PLAIN)
    context = await engine.run_workflow("plain", {"n": 21}, metadata={"why": "test"})
    summary = context.summarize_results()
    assert summary["success"] and summary["output"] == 42 and summary["execution_time"] >= 0
    assert context["mode"] == "sync" and context["metadata"] == {"why": "test"}


@pytest.mark.req("E1", "E2", "M10", "R5")
async def test_an_execution_keeps_the_version_it_began_with_while_the_workflow_changes(engine: WorkflowEngine) -> None:
    workflow_id = await engine.create_workflow(source=ASKING)
    execution = await engine.execute_workflow(workflow_id, {"n": 1})
    await execution.wait(30)
    changed = {**ASKING, "output": {"value": "{{ told.value + 100 }}", "go": "{{ told.go }}"}}
    assert await engine.update_workflow(workflow_id, source=changed)
    assert (await engine.get_workflow(workflow_id))["version"] == 2
    old = await (await execution.resume({"go": "no"})).wait(30)
    assert old["output"]["primary_result"] == {"value": 2, "go": "no"} and old["version"] == 1
    new = await engine.execute_workflow("asking", {"n": 1})
    await new.wait(30)
    assert (await (await new.resume({"go": "no"})).wait(30))["output"]["primary_result"]["value"] == 102
    first = await engine.execute_workflow("asking@1", {"n": 1})
    assert first["version"] == 1
    await first.cancel()


@pytest.mark.req("E2", "X1", "M4")
async def test_the_same_idempotency_key_is_the_same_execution_and_another_request_under_it_is_refused(
    engine: WorkflowEngine,
) -> None:
    workflow_id = await engine.create_workflow(source=PLAIN)
    asked = [engine.execute_workflow(workflow_id, {"n": 3}, idempotency_key="once") for _ in range(8)]
    handles = await asyncio.gather(*asked)
    assert len({handle.id for handle in handles}) == 1
    with pytest.raises(EngineError, match="idempotency key 'once'") as refused:
        await engine.execute_workflow(workflow_id, {"n": 4}, idempotency_key="once")
    assert refused.value.code == "conflict"
    other = await engine.execute_workflow(workflow_id, {"n": 4}, idempotency_key="once", tenant="another")
    assert other.id != handles[0].id


@pytest.mark.req("E2", "X3")
async def test_executions_are_paused_and_cancelled_whether_they_wait_run_or_rest(engine: WorkflowEngine) -> None:
    workflow_id = await engine.create_workflow(source=ASKING)
    waiting = await engine.execute_workflow(workflow_id, {"n": 1}, delay="1h")
    assert await engine.pause_execution(waiting.id)
    assert (await engine.get_execution_status(waiting.id))["reason"] == "requested"
    assert not await engine.pause_execution(waiting.id), "it rests already"
    assert (await waiting.resume())["status"] == "pending"
    assert await waiting.cancel("never mind")
    told = await engine.get_execution_status(waiting.id)
    assert told["status"] == "cancelled" and told["error"]["message"] == "never mind"
    assert not await waiting.cancel()
    with pytest.raises(EngineError) as refused:
        await waiting.resume()
    assert refused.value.code == "illegal_move"
    resting = await engine.execute_workflow(workflow_id, {"n": 1})
    await resting.wait(30)
    assert await resting.cancel("enough")
    assert (await resting.wait(30))["status"] == "cancelled"


@pytest.mark.req("E2", "X1")
async def test_a_deadline_and_a_timeout_fail_an_execution_as_timed_out(engine: WorkflowEngine) -> None:
    workflow_id = await engine.create_workflow(source=ASKING)
    late = await engine.execute_workflow(workflow_id, {"n": 1}, deadline="2020-01-01T00:00:00Z")
    told = await late.wait(30)
    assert (told["status"], told["reason"]) == ("failed", "timeout")
    for wrong in ({"timeout": -1}, {"timeout": 0}, {"priority": "urgent"}, {"prioritty": "high"}, {"tags": [""]}):
        with pytest.raises(EngineError) as refused:
            await engine.execute_workflow(workflow_id, {"n": 1}, wrong)
        assert refused.value.code == "invalid_input" and next(iter(wrong)) in refused.value.message


@pytest.mark.req("E2", "E8")
async def test_executions_are_listed_by_what_they_are_in_pages_that_equal_one_big_page(engine: WorkflowEngine) -> None:
    workflow_id = await engine.create_workflow(source=PLAIN)
    for n in range(7):
        options = {"tags": ["even" if n % 2 == 0 else "odd", "all"], "mode": "sync", "tenant": f"t{n % 2}"}
        await engine.execute_workflow(workflow_id, {"n": n}, options)
    big = (await engine.list_executions(workflow_id=workflow_id))["executions"]
    assert len(big) == 7 and all(each["status"] == "completed" for each in big)
    pages, cursor = [], None
    while True:
        page = await engine.list_executions(workflow_id=workflow_id, limit=2, cursor=cursor)
        pages += page["executions"]
        if (cursor := page["cursor"]) is None:
            break
        await engine.execute_workflow(workflow_id, {"n": 99}, {"mode": "sync"})
    assert [each["execution_id"] for each in pages] == [each["execution_id"] for each in big]
    wanted: list[dict[str, Any]] = [
        {"tags": ["all"]},
        {"tags": ["even", "all"]},
        {"end_time": big[1]["created_at"]},
        {"tags": ["all"], "start_time": big[5]["created_at"], "end_time": big[0]["created_at"]},
    ]
    for filters in wanted:
        one = (await engine.list_executions(**filters))["executions"]
        assert [each["execution_id"] for each in await _paged(engine, filters)] == [
            each["execution_id"] for each in one
        ]
    assert [each["execution_id"] for each in one] == [each["execution_id"] for each in big[1:6]]
    assert len((await engine.list_executions(tags=["even", "all"]))["executions"]) == 4
    assert len((await engine.list_executions(tags=["odd"], tenant="t1"))["executions"]) == 3
    assert (await engine.list_executions(status="failed"))["executions"] == []
    assert (await engine.list_executions(end_time="2020-01-01"))["executions"] == []
    for wrong in ({"status": "broken"}, {"start_time": "yesterday"}, {"limit": 0}, {"colour": "red"}, {"cursor": "x"}):
        with pytest.raises(EngineError):
            await engine.list_executions(**wrong)


async def _paged(engine: WorkflowEngine, filters: dict[str, Any]) -> list[dict[str, Any]]:
    found, cursor = list[dict[str, Any]](), None
    while True:
        page: Any = await engine.list_executions(**filters, limit=2, cursor=cursor)
        found += page["executions"]
        if (cursor := page["cursor"]) is None:
            return found


@pytest.mark.req("E7")
async def test_unknown_names_are_errors_with_code_suggestions_and_request_id(engine: WorkflowEngine) -> None:
    await engine.create_workflow(source=PLAIN)
    execution = await engine.execute_workflow("plain", {}, {"mode": "sync"})
    with pytest.raises(EngineError) as workflow:
        await engine.execute_workflow("plaim", {})
    with pytest.raises(EngineError) as unknown:
        await engine.get_execution_status(execution.id[:-1] + "x")
    with pytest.raises(EngineError) as unfit:
        await engine.execute_workflow("plain", {"n": "many"})
    told = [each.value.to_dict()["error"] for each in (workflow, unknown, unfit)]
    assert [each["code"] for each in told] == ["workflow_not_found", "execution_not_found", "invalid_input"]
    assert "plain" in told[0]["message"] and execution.id in told[1]["details"]["suggestions"]
    assert all(each["request_id"].startswith("req-") for each in told)
    waiting = await engine.execute_workflow("plain", {}, delay="1h")
    with pytest.raises(EngineError) as late:
        await waiting.result(0.1)
    assert late.value.code == "execution_timeout" and late.value.details["status"] == "pending"


@pytest.mark.req("M7", "R5")
async def test_a_batch_tells_its_progress_and_is_cancelled_as_one(engine: WorkflowEngine) -> None:
    workflow_id = await engine.create_workflow(source=PLAIN)
    batch = await engine.execute_batch(workflow_id, [{"n": n} for n in range(20)], name="twenty")
    async with asyncio.timeout(60):
        while not (batch := await engine.batches.get(batch.id)).done:
            await asyncio.sleep(0.05)
    assert batch.to_dict()["progress"] == 1.0 and batch.counts == {"completed": 20}
    with pytest.raises(EngineError):
        await engine.execute_batch(workflow_id, [{"n": 1}, {"n": "x"}])
    later = await engine.execute_batch(workflow_id, [{"n": n} for n in range(5)], {"delay": "1h"})
    assert (await engine.batches.cancel(later.id)).counts == {"cancelled": 5}
    with pytest.raises(EngineError) as missing:
        await engine.batches.get("batch-0")
    assert missing.value.code == "batch_not_found"


class Counted(TypedDict, total=False):
    """The state of the graph below."""

    total: Annotated[int, lambda a, b: (a or 0) + b]
    answer: str


class Counting:
    """A workflow class of the sort that the documents register."""

    description = "Counts and asks."

    def __init__(self, tools: Any, step: int = 1) -> None:
        self.tools, self.step = tools, step
        self.life: list[str] = []

    async def initialize(self) -> None:
        self.life.append("initialize")

    async def shutdown(self) -> None:
        self.life.append("shutdown")

    def build(self) -> StateGraph[Any, Any, Any, Any]:
        graph: StateGraph[Any, Any, Any, Any] = StateGraph(Counted)
        graph.add_node("add", lambda state: {"total": self.step})
        graph.add_node("ask", lambda state: {"answer": str(interrupt(f"{state['total']}?"))})
        graph.add_edge(START, "add")
        graph.add_edge("add", "ask")
        graph.add_edge("ask", END)
        return graph


@pytest.mark.req("R1", "R2", "R3", "R4")
async def test_a_class_and_any_state_graph_run_as_workflows_with_pauses_and_records(engine: WorkflowEngine) -> None:
    name = await engine.register_workflow(Counting, name="counting", step=5)
    assert name == "counting" and (await engine.list_workflows())["workflows"][0]["description"] == "Counts and asks."
    for mode in ("sync", "async"):
        execution = await engine.execute_workflow("counting", {}, {"mode": mode})
        resting = await execution.wait(30)
        assert (resting["status"], resting["reason"]) == ("paused", "human"), resting.to_dict()
        done = await (await execution.resume("go")).wait(30)
        assert done["status"] == "completed" and done["output"]["primary_result"] == {"total": 5, "answer": "go"}
        assert [step["node"] for step in done["steps"]] == ["add", "ask"]


@pytest.mark.req("X1", "M4")
async def test_overrides_and_a_retry_policy_hold_for_one_execution_only(engine: WorkflowEngine) -> None:
    spec = {
        "cogwork": "v1",
        "name": "drafts",
        "nodes": {"draft": {"type": "llm", "prompt": "Say hello"}},
    }
    workflow_id = await engine.create_workflow(source=spec)
    options = {"mode": "sync", "overrides": {"nodes": {"draft": {"prompt": "Say bye"}}}, "retry": {"max_attempts": 2}}
    changed = await engine.execute_workflow(workflow_id, {}, options)
    plain = await engine.execute_workflow(workflow_id, {}, {"mode": "sync"})
    assert changed.execution.digest != plain.execution.digest
    with pytest.raises(Exception, match="draaft"):
        await engine.execute_workflow(workflow_id, {}, {"overrides": {"nodes": {"draaft": {"prompt": "x"}}}})


def quiet(tools: Any, word: str = "hi") -> StateGraph[Any, Any, Any, Any]:
    """Code that a worker imports only in a process apart."""
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(Counted)
    graph.add_node("say", lambda state: {"answer": word})
    graph.add_edge(START, "say")
    graph.add_edge("say", END)
    return graph


@pytest.mark.req("M2", "M9", "X3")
async def test_an_isolated_execution_rests_at_a_person_goes_on_and_tells_what_held_and_was_used(
    engine: WorkflowEngine,
) -> None:
    workflow_id = await engine.create_workflow(source=ASKING)
    execution = await engine.execute_workflow(
        workflow_id, {"n": 4}, {"mode": "isolated", "isolation": {"memory_mb": 256}}
    )
    resting = await execution.wait(60)
    assert (resting["status"], resting["reason"]) == ("paused", "human"), resting["errors"]
    done = await (await execution.resume({"go": "yes"})).wait(60)
    assert done["status"] == "completed" and done["output"]["primary_result"] == {"value": 8, "go": "yes"}
    assert [step["path"] for step in done["steps"]] == ["double", "sure", "told"]
    assert "memory" in done["resources_used"]["held"]
    with pytest.raises(EngineError, match="memory_mb"):
        await engine.execute_workflow(workflow_id, {"n": 4}, {"mode": "isolated", "isolation": {"memory_mb": -1}})


@pytest.mark.req("M2", "M9", "R1")
async def test_code_that_is_no_module_is_refused_in_isolation_with_what_to_do(engine: WorkflowEngine) -> None:
    name = await engine.register_workflow(lambda: None if False else quiet(None), name="local")
    execution = await engine.execute_workflow(name, {}, {"mode": "isolated"})
    told = await execution.wait(60)
    assert told["status"] == "failed" and "module" in told["error"]["message"]


@pytest.mark.req("X1")
async def test_a_dry_run_checks_and_walks_the_paths_and_leaves_nothing(engine: WorkflowEngine) -> None:
    workflow_id = await engine.create_workflow(source=ASKING)
    told = await engine.dry_run(workflow_id, {"n": 2})
    assert told["status"] == "valid" and told["version"] == 1 and told["input"] == {"n": 2} and told["writes"] == []
    assert told["simulation"]["runs"] > 0, told["simulation"]
    with pytest.raises(EngineError) as unfit:
        await engine.dry_run(workflow_id, {"n": "x"})
    assert unfit.value.code == "invalid_input"
    assert (await engine.list_executions())["executions"] == []


@pytest.mark.req("X1", "X2", "X3")
async def test_trace_keeps_what_steps_gave_debug_tells_the_calls_and_clean_up_takes_the_checkpoints(
    engine: WorkflowEngine,
) -> None:
    source = {
        "cogwork": "v1",
        "name": "reads",
        "nodes": {"read": {"type": "tool", "tool": "tools.search", "args": {"query": "read a text file"}}},
        "output": "{{ size(read.tools) }}",
    }
    options = {"mode": "sync", "trace": True, "debug": True}
    execution = await engine.execute_workflow(source, {}, options)
    result = await engine.get_execution_result(execution.id)
    assert result["status"] == "completed", result["errors"]
    [call] = result["calls"]
    assert call["target"] == "tools.search" and call["args"] == {"query": "read a text file"}
    ends = [told.event for told in [each async for each in execution.events()] if told.event.kind == "step.finished"]
    assert ends[0].data["output"]["tools"], "the trace holds what the step gave"
    usage = await engine.get_resource_usage(execution.id)
    assert usage["calls"] == 1 and usage["seconds"] >= 0
    assert (await engine.get_resource_usage())["memory_mb"] > 10
    able = await engine.get_capabilities()
    assert able["modes"] == ["sync", "async", "isolated"] and "tools.search" in able["tools"]
    assert await engine.clean_up_execution(execution.id)
    assert not await engine.clean_up_execution(execution.id)
    after = await engine.get_execution_result(execution.id)
    assert after["status"] == "completed" and after["output"]["intermediate_results"] == {}
    waiting = await engine.execute_workflow(source, {}, delay="1h")
    with pytest.raises(EngineError) as open_:
        await engine.clean_up_execution(waiting.id)
    assert open_.value.code == "in_use"


@pytest.mark.req("M7", "R5", "E2")
async def test_a_workflow_that_calls_another_as_a_tool_has_it_recorded_as_an_execution_of_its_own(
    engine: WorkflowEngine,
) -> None:
    await engine.create_workflow(source=PLAIN)
    outer = {
        "cogwork": "v1",
        "name": "outer",
        "nodes": {"call": {"type": "tool", "tool": "workflow.plain", "args": {"n": 4}}},
        "output": "{{ call }}",
    }
    await engine.create_workflow(source=outer)
    execution = await engine.execute_workflow("outer", {})
    result = await execution.wait(60)
    assert result["status"] == "completed" and result.output == 8, result["errors"]
    [child] = (await engine.list_executions(parent_id=execution.id))["executions"]
    assert (child["workflow"], child["status"], child["origin"]) == ("plain", "completed", "workflow")
