"""Batches of executions over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter

from cogwork.server.http.execution_forms import BatchView, Reason, StartBatch
from cogwork.server.http.executions import chosen
from cogwork.server.http.forms import Caller, Key, errors, named
from cogwork.server.sources import workflow_of
from cogwork.workflow_engine import WorkflowEngine

router = APIRouter(prefix="/batches", tags=["batches"])
Id = Annotated[str, named("batch's id")]


@router.post("", status_code=202, response_model=BatchView, responses=errors())
async def start_batch(acting: Caller, body: StartBatch, key: Key = None) -> Any:
    """Ask for an execution per input; its progress is that of the batch, its executions are listed by `batch_id`."""
    workflow, options = await workflow_of(body.workflow), chosen(body.options.given(), None)

    async def start(engine: WorkflowEngine) -> Any:
        batch = await engine.execute_batch(workflow, body.inputs, options, name=body.name, key=key)
        return batch.to_dict()

    return await acting.perform("executions.start", str(body.name or "a batch"), start)


@router.get("/{batch}", response_model=BatchView, responses=errors())
async def get_batch(acting: Caller, batch: Id) -> Any:
    """How far a batch has come."""

    async def get(engine: WorkflowEngine) -> Any:
        return (await engine.batches.get(batch)).to_dict()

    return await acting.perform("executions.read", batch, get)


@router.post("/{batch}/cancel", response_model=BatchView, responses=errors())
async def cancel_batch(acting: Caller, batch: Id, body: Reason | None = None) -> Any:
    """End all of its executions that are open."""

    async def cancel(engine: WorkflowEngine) -> Any:
        return (await engine.batches.cancel(batch, body.reason if body is not None else "")).to_dict()

    return await acting.perform("executions.move", batch, cancel)
