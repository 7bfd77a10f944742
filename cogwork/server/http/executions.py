"""Executions over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from cogwork.server.http.forms import Caller, Cursor, Limit, errors

router = APIRouter(prefix="/executions", tags=["executions"])
Id = Annotated[str, Path(max_length=255, description="The execution's id.")]


@router.get("", responses=errors())
async def list_executions(
    acting: Caller,
    workflow: str | None = None,
    status: str | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """A page of executions, the latest first."""
    return await acting.perform(
        "executions.read",
        "",
        lambda engine: engine.list_executions(workflow, status, limit=limit, cursor=cursor),
    )


@router.get("/{execution}", responses=errors(404))
async def get_execution(acting: Caller, execution: Id) -> dict[str, Any]:
    """How an execution stands."""
    return await acting.perform("executions.read", execution, lambda engine: engine.get_execution_status(execution))
