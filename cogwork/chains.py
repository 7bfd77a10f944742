"""Tool chains from Python: a list of calls run as a workflow, with their results as one."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphs.language.dialects.tool_chain import Orchestration
from graphs.language.load import Workflow
from state.errors import SpecError
from state.problems import Problem
from state.values import Json

if TYPE_CHECKING:
    from cogwork.app import App
    from graphs.graph import WorkflowGraph

Request = str | Path | Mapping[str, Any] | Sequence[Any] | Workflow
"""A chain: a file, YAML or JSON text, the request as a mapping, the list of its calls, or one already loaded."""


def chained(
    app: App, calls: Iterable[Mapping[str, Json]], orchestration: Orchestration = "sequential", **more: Json
) -> Workflow:
    """The workflow of a chain; ``more`` are further fields of the request (``name``, ``description``, ``input``, ``context``).

    Raises:
        SpecError: holds every problem.
    """
    return loaded(app, {"chain": [dict(call) for call in calls], "orchestration": orchestration, **more})


def loaded(app: App, request: Request) -> Workflow:
    """The workflow that the request describes.

    Raises:
        SpecError: it is none, or is no chain.
    """
    if isinstance(request, Sequence) and not isinstance(request, str):
        request = {"chain": list(request)}
    found = app.load(dict(request) if isinstance(request, Mapping) else request)
    if found.dialect != "tool_chain":
        hint = "Give a mapping with `chain`, a list of calls, and `orchestration`."
        raise SpecError((Problem(code="not_a_workflow", message="This is a workflow, but no tool chain", hint=hint),))
    return found


async def run(
    app: App,
    request: Request,
    *,
    input: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    checkpointer: Any = None,
    thread: str | None = None,
) -> dict[str, Any]:
    """Run a chain to its end, or to where it rests; see ``cogwork.run_chain``."""
    workflow = loaded(app, request)
    graph = app.compile(workflow, checkpointer=checkpointer)
    config: Any = {"configurable": {"thread_id": thread or uuid.uuid4().hex}} if checkpointer else None
    state = await graph.ainvoke(dict(input or {}), config, context=dict(context or _session(request)))
    asked = [interrupt.value for interrupt in state.get("__interrupt__", ())]
    if asked:
        return {
            "status": "paused",
            "questions": asked,
            "thread": config["configurable"]["thread_id"],
            "metadata": _measured(state, {}),
        }
    output = state["output"]
    return {**output, "metadata": _measured(state, output["metadata"])}


def _session(request: Request) -> Mapping[str, Any]:
    """The caller's session, as the documents' request carries it."""
    context = request.get("context") if isinstance(request, Mapping) else None
    if not isinstance(context, Mapping):
        return {}
    return context.get("sessionContext") or context.get("session_context") or {}


def _measured(state: Mapping[str, Any], metadata: Mapping[str, Json]) -> dict[str, Json]:
    """The metadata with how long the run took, and what its calls used of models."""
    from cogwork.tools.child_run import used

    about = state["run"]
    found: dict[str, Json] = {**metadata, "run": about["id"], "usage": used(state)}
    if "ended_at" in about:
        begin, end = datetime.fromisoformat(about["started_at"]), datetime.fromisoformat(about["ended_at"])
        found["seconds"] = round((end - begin).total_seconds(), 4)
    return found


def outcome(graph: WorkflowGraph, config: Any) -> dict[str, Any]:
    """The integrated results of the chain that has ended on a thread; empty where it has not."""
    output = graph.get_state(config).values.get("output")
    return output if isinstance(output, dict) else {}
