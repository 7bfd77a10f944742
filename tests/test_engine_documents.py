"""The documents' own examples of the engine's API, as they would be written for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cogwork import BlockingEngine, EngineError, WorkflowEngine
from cogwork.settings import Settings

STEPS: list[dict[str, Any]] = [
    {
        "id": "architecture",
        "name": "Architecture Planning",
        "agent_id": "agent-project-architect",
        "input_mapping": {"feature_request": "${input.feature_request}"},
        "output_mapping": {"architecture_plan": "${output.plan}"},
        "timeout": 60,
        "retry_policy": {"max_retries": 3, "backoff_factor": 2},
        "fallback": {"agent_id": "agent-fallback"},
    },
    {
        "id": "detail",
        "agent_id": "agent-detail",
        "input_mapping": {"architecture_plan": "${steps.architecture.output.architecture_plan}"},
        "output_mapping": {"detailed_specs": "${output.specifications}"},
        "depends_on": ["architecture"],
    },
]


@pytest.fixture
async def workflow_engine(tmp_path: Path) -> AsyncIterator[WorkflowEngine]:
    """The engine with the documents' agents."""
    settings = Settings(state_dir=tmp_path / "state", workflows=[], agents=[])
    async with WorkflowEngine(settings=settings) as engine:
        for name, output in (
            ("Project Architect Agent", "plan"),
            ("Detail Agent", "specifications"),
            ("Fallback Agent", "plan"),
        ):
            await engine.register_agent(
                name=name,
                description="Designs and maintains project structure",
                capabilities=["structure_generation", "dependency_analysis"],
                config={
                    "model": "offline",
                    "instructions": "You design well-structured projects.",
                    "output": {output: {"type": "string"}},
                },
            )
        yield engine


@pytest.mark.req("E1", "E2", "E3", "E4", "E6", "E7")
async def test_the_documents_complete_example_runs_from_agents_to_metrics(workflow_engine: WorkflowEngine) -> None:
    workflow_id = await workflow_engine.create_workflow(
        name="Feature Implementation Workflow",
        description="Workflow for implementing new features",
        steps=STEPS,
        tags=["feature", "implementation"],
        metadata={"owner": "engineering", "priority": "high"},
    )
    workflow = await workflow_engine.get_workflow(workflow_id)
    assert workflow["title"] == "Feature Implementation Workflow" and workflow["metadata"]["owner"] == "engineering"
    updates = {"description": "Improved workflow for implementing new features"}
    assert await workflow_engine.update_workflow(workflow_id=workflow_id, updates=updates)
    listed = await workflow_engine.list_workflows(tags=["feature"], status="active", limit=10)
    assert [each["workflow_id"] for each in listed["workflows"]] == [workflow_id]

    execution = await workflow_engine.execute_workflow(
        workflow_id=workflow_id,
        input_data={"feature_request": "Implement user authentication system"},
        execution_options={"priority": "high", "timeout": 300, "trace": True},
    )
    async with asyncio.timeout(60):
        while True:
            status = await workflow_engine.get_execution_status(execution["execution_id"])
            if status["status"] in ["completed", "failed"]:
                break
            await asyncio.sleep(0.05)
    result = await workflow_engine.get_execution_result(execution["execution_id"])
    assert status["status"] == "completed", result["errors"]
    assert result["version"] == 2 and result.summarize_results()["success"]

    metrics = await workflow_engine.get_workflow_metrics(
        workflow_id=workflow_id,
        time_range="last_30_days",
        metrics=["execution_count", "success_rate", "average_duration"],
    )
    assert metrics["execution_count"] == 1 and metrics["success_rate"] == 1.0, metrics
    performance = await workflow_engine.get_agent_performance(
        agent_id="agent-detail",
        time_range="last_7_days",
        metrics=["success_rate", "average_duration", "error_count"],
    )
    assert performance["success_rate"] == 1.0 and performance["error_count"] == 0
    health = await workflow_engine.get_system_health()
    assert health["status"] in ("healthy", "degraded") and {"records", "queue", "workers"} <= health["parts"].keys()
    assert await workflow_engine.delete_workflow(workflow_id)
    with pytest.raises(EngineError) as gone:
        await workflow_engine.get_workflow(workflow_id)
    assert gone.value.to_dict()["error"]["code"] == "workflow_not_found"


@pytest.mark.req("E3", "E4", "E7")
async def test_the_documents_agents_and_handoffs_are_registered_listed_and_missed(
    workflow_engine: WorkflowEngine,
) -> None:
    agent = await workflow_engine.get_agent("agent-project-architect")
    assert agent["name"] == "Project Architect Agent"
    agents = await workflow_engine.list_agents(capabilities=["structure_generation"], status="active", limit=10)
    assert len(agents["agents"]) == 3
    handoff_id = await workflow_engine.create_handoff(
        source_agent_id="agent-project-architect",
        target_agent_id="agent-detail",
        handoff_type="sequential",
        data_mapping={"architecture_plan": "detailed_requirements"},
        trigger_conditions=["completion", "source_output.plan_complete = true"],
    )
    assert (await workflow_engine.get_handoff(handoff_id))["target"] == "agent-detail"
    listed = await workflow_engine.list_handoffs(source_agent_id="agent-project-architect", limit=10)
    assert [each["id"] for each in listed["handoffs"]] == [handoff_id]
    with pytest.raises(EngineError) as missing:
        await workflow_engine.get_agent("agent-project-architekt")
    assert missing.value.code == "agent_not_found" and "agent-project-architect" in missing.value.message


@pytest.mark.req("X10", "X9", "X1")
async def test_an_execution_in_a_session_sees_its_history_and_leaves_its_answer_there(
    workflow_engine: WorkflowEngine,
) -> None:
    session = await workflow_engine.sessions.create(user_id="ada", mode="coding", preferences={"tone": "short"})
    source = {
        "cogwork": "v1",
        "name": "talk",
        "input": {"request": {"type": "string"}},
        "nodes": {
            "say": {"type": "transform", "set": {"text": "{{ size(context.history) }} before, {{ input.request }}"}}
        },
        "output": "{{ say.text }}",
    }
    said = []
    for request in ("one", "two"):
        execution = await workflow_engine.execute_workflow(source, {"request": request}, session_id=session.id)
        said.append((await execution.wait(60))["output"]["primary_result"])
    assert said == ["0 before, one", "2 before, two"]
    listed = await workflow_engine.list_executions(session_id=session.id, user_id="ada")
    assert len(listed["executions"]) == 2
    with pytest.raises(EngineError) as missing:
        await workflow_engine.execute_workflow(source, {"request": "x"}, session_id="nobody")
    assert missing.value.code == "session_not_found"


@pytest.mark.req("E2", "R2")
def test_a_program_without_an_event_loop_has_the_same_verbs(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state", workflows=[])
    source = {
        "cogwork": "v1",
        "name": "one",
        "nodes": {"a": {"type": "transform", "set": {"x": 1}}},
        "output": "{{ a.x }}",
    }
    with BlockingEngine(settings=settings) as engine:
        workflow_id = engine.create_workflow(source=source)
        execution = engine.execute_workflow(workflow_id)
        result = execution.wait(60)
        assert result["status"] == "completed" and result["output"]["primary_result"] == 1
        assert [told.event.kind for told in execution.events()][-1] == "run.completed"
        assert engine.library.get("one").version == 1
    with pytest.raises(RuntimeError):
        engine.get_workflow("one")
