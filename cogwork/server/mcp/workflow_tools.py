"""The verbs of workflows as tools: list, validate, publish; and the workflows themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from cogwork.errors import EngineError
from cogwork.library.entries import WorkflowRecord
from cogwork.library.pinned import services_of
from cogwork.server.mcp.arguments import ListWorkflows, Publish, Validate
from cogwork.server.mcp.asking import waited_for
from cogwork.server.mcp.door import Answer, Call, Tool
from cogwork.server.mcp.execution_tools import verb
from cogwork.server.mcp.offers import Offer, tool_name
from cogwork.server.mcp.pursuing import Pursuit
from cogwork.server.mcp.refusals import problem_of
from cogwork.server.mcp.replies import reply
from cogwork.server.mcp.shelf import listed
from cogwork.server.mcp.specs import given, named
from cogwork.workflow_engine import WorkflowEngine
from graphs.analysis.check import check
from state.errors import SpecError
from state.problems import Problem
from state.values import Json


async def list_workflows(call: Call) -> Answer:
    """A page of workflows of the library, the settings' folders and the catalog."""
    asked = ListWorkflows.model_validate(call.arguments)

    async def look(engine: WorkflowEngine) -> dict[str, Json]:
        page = await listed(engine, asked.folder, asked.pattern, limit=asked.limit, cursor=asked.cursor)
        rows: list[Json] = []
        for row in page.items:
            offer = await call.door.offers.of(engine, row.record, row.path)
            known = {"description": offer.description, "input": dict(offer.input)} if offer is not None else {}
            rows.append({**row.to_dict(), **known, "valid": offer is not None})
        return {"workflows": rows, "total_count": page.total, "cursor": page.cursor}

    return reply(await call.acting.perform("workflows.read", "workflows", look), call.door.rules)


async def validate_workflow(call: Call) -> Answer:
    """Every problem of a workflow."""
    asked = Validate.model_validate(call.arguments)
    if (asked.workflow is None) == (asked.workflow_name is None):
        raise EngineError("invalid_input", "Give either the workflow itself as workflow, or workflow_name")

    async def look(engine: WorkflowEngine) -> list[Problem]:
        if asked.workflow is None:
            return await _problems_of(engine, await named(engine, asked.workflow_name or ""))
        try:
            workflow = given(asked.workflow)
        except SpecError as err:
            return list(err.problems)
        return await asyncio.to_thread(engine.app.check, workflow)

    problems = await call.acting.perform("workflows.read", asked.workflow_name or "a workflow that was given", look)
    errors = sum(1 for problem in problems if problem.severity == "error")
    told: list[Json] = [problem_of(problem) for problem in problems]
    return reply({"valid": not errors, "errors": errors, "problems": told}, call.door.rules)


async def _problems_of(engine: WorkflowEngine, name: str) -> list[Problem]:
    try:
        content = await engine.library.content(name)
    except EngineError as err:
        if err.code != "workflow_not_found":
            raise
        return await asyncio.to_thread(engine.app.check, name if not name.startswith("/") else Path(name))
    if (bundle := content.bundle) is None:
        return []
    services = services_of(engine.library.house, bundle)
    return list(await asyncio.to_thread(check, bundle.workflow, services, bundle.resolve))


async def publish_workflow(call: Call) -> Answer:
    """A new workflow of the library, or a new version of one."""
    asked = Publish.model_validate(call.arguments)
    workflow = given(asked.workflow)
    name, author = asked.name or workflow.spec.name, call.acting.principal.name

    async def publish(engine: WorkflowEngine) -> WorkflowRecord:
        try:
            known = await engine.library.get(name)
        except EngineError as err:
            if err.code != "workflow_not_found":
                raise
            return await engine.library.create(workflow, name=name, author=author, note=asked.note)
        return await engine.library.update(known.id, workflow, author=author, note=asked.note)

    record = await call.acting.perform("workflows.write", name, publish)
    return reply({**record.to_dict(), "tool": tool_name(record.name)}, call.door.rules)


async def call_workflow(call: Call, offer: Offer) -> Answer:
    """A call of a workflow that is a tool of its own: executed, and waited for."""

    async def begin() -> Pursuit:
        return await Pursuit.begun(call, offer.source, call.arguments, {})

    return await waited_for(call, begin, patience=call.door.rules.patience)


def workflow_tools() -> Iterator[Tool]:
    """All of them."""
    yield verb(
        "list_workflows",
        "The workflows that can be executed, by folder and pattern, page by page, with what they take.",
        ListWorkflows,
        list_workflows,
        reads=True,
    )
    yield verb(
        "validate_workflow",
        "Every problem of a workflow, with its code, place and a hint; nothing is executed.",
        Validate,
        validate_workflow,
        reads=True,
    )
    yield verb(
        "publish_workflow",
        "Check a workflow and publish it in the library: a new one, or a new version of the one of that name. It becomes a tool.",
        Publish,
        publish_workflow,
        repeats=True,
    )
