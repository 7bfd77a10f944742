"""A dry run: everything that is checked before an execution, and its paths walked on mocks; nothing is called or kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from cogwork.engine.parts import Parts
from cogwork.executions.options import Options
from graphs.graph import WorkflowGraph
from state.errors import SpecError
from state.values import Json

RUNS: Final = 200
SECONDS: Final = 10.0


async def dry_run(
    parts: Parts, source: Any, input: Mapping[str, Any] | None, options: Options, context: Mapping[str, Any] | None
) -> dict[str, Json]:
    """What an execution would be: the version that is meant, its input with defaults, the steps that would change something,
    and what a simulation says of every path that this input may take.

    Raises:
        EngineError, SpecError: as the execution would be refused.
    """
    request, graph = await parts.starting.request(source, input, options, context)
    told: dict[str, Json] = {
        "dry_run": True,
        "status": "valid",
        "workflow": request.workflow,
        "workflow_id": request.workflow_id,
        "version": request.version,
        "input": request.input,
        "writes": [],
        "simulation": None,
    }
    if isinstance(graph, WorkflowGraph):
        told["writes"] = _writes(graph)
        told["simulation"] = await asyncio.to_thread(_simulated, parts, graph, request.input, request.context)
    return told


def _writes(graph: WorkflowGraph) -> list[Json]:
    """The steps that change something outside."""
    return [
        step.id
        for step in graph.plan.steps.values()
        if hasattr(step.step, "effect_of") and step.step.effect_of(graph.services) == "write"
    ]


def _simulated(parts: Parts, graph: WorkflowGraph, input: Any, context: Any) -> Json:
    from cogwork.simulation import bounds_of, simulated

    house: Any = parts.house
    bounds = bounds_of(
        input=input, context=dict(context) or None, recording=None, runs=RUNS, seconds=SECONDS, prices=None
    )
    try:
        report: Json = simulated(house, graph.plan.documents[0], bounds).to_dict()
    except SpecError as err:  # what a version has pinned is not in the folders
        return {"error": str(err.problems[0])}
    return report
