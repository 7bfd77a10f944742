"""What other instances ask of this one over HTTP, beside what every caller may."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from fastapi import APIRouter
from pydantic import Field

from cogwork.records.tables.executions import EXECUTIONS
from cogwork.server.http.forms import Caller, Served, View, errors

if TYPE_CHECKING:
    from cogwork.workflow_engine import WorkflowEngine

router = APIRouter(prefix="/instance", tags=["instance"])


class InstanceView(View):
    """This instance, for those that would give it executions."""

    labels: list[str] = Field(description="What it is known by.")
    running: int = Field(description="Executions that run here now.")
    waiting: int = Field(description="Executions that wait to run here.")
    accepting: bool = Field(description="Whether it takes more.")
    version: str = Field(description="Which cogwork it is.")


@router.get("", response_model=InstanceView, responses=errors())
async def get_instance(acting: Caller, served: Served) -> Any:
    """How much it has to do, and what it is known by."""
    running, waiting = await acting.perform("metrics.read", "instance", _burden)
    return InstanceView(
        labels=list(served.settings.labels),
        running=running,
        waiting=waiting,
        accepting=not served.draining,
        version=version("cogwork"),
    )


async def _burden(engine: WorkflowEngine) -> tuple[int, int]:
    """How many executions run and wait here; those that other instances work on are no burden."""
    here = EXECUTIONS.c.mode != "remote"
    due = sa.or_(EXECUTIONS.c.not_before.is_(None), EXECUTIONS.c.not_before <= engine.parts.executions.now())
    counted = sa.select(EXECUTIONS.c.status, sa.func.count()).where(
        here, sa.or_(EXECUTIONS.c.status == "running", sa.and_(EXECUTIONS.c.status == "pending", due))
    )
    rows = await engine.parts.records.reading(lambda c: c.execute(counted.group_by(EXECUTIONS.c.status)).all())
    counts = {str(status): int(count) for status, count in rows}
    return counts.get("running", 0), counts.get("pending", 0)
