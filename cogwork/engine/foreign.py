"""Runs of graphs of either sort, ours and others: how they stand by their checkpoints, and recorded by their events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from langchain_core.runnables import RunnableConfig

from cogwork.engine.isolated import IsolatedGraph
from cogwork.executions.recorder import Recorder, Silent, Watch
from cogwork.executions.settling import Settled, settle, step_row
from cogwork.executions.statuses import ENDED
from cogwork.library.code_graph import REASON, cancelled, status_of
from cogwork.library.code_steps import output_of
from cogwork.remote.graph import RemoteGraph
from graphs.graph import WorkflowGraph
from graphs.keeping import SHUTDOWN
from graphs.witnessing import step_facts
from state.errors import Fault
from state.events import Event
from state.values import Json

_ENDS = ("run.completed", "run.failed", "run.cancelled", "run.paused")
_STEP_ENDS = {
    "step.finished": "done",
    "step.failed": "failed",
    "step.skipped": "skipped",
    "step.cancelled": "cancelled",
}


async def recorded(
    events: AsyncIterator[Event],
    recorder: Recorder,
    thread: str,
    about: Mapping[str, Json],
    config: RunnableConfig,
    graph: Any = None,
) -> AsyncIterator[Event]:
    """The events, each of them recorded; ``about`` names the ``workflow`` and its ``digest``."""
    witness: Watch | Silent | None = None
    steps: dict[str, dict[str, Any]] = {}
    try:
        async for event in events:
            if witness is None:
                taken = {**about, "id": event.run}
                witness = await recorder.began(
                    thread, taken, input=None, steps={}, configurable=config.get("configurable", {})
                )
            if event.kind in _ENDS and isinstance(witness, Watch):
                settled = settled_of(event, tuple(steps.values()))
                if isinstance(graph, IsolatedGraph):
                    settled = await graph.settled(event, settled, config)
                await witness.settled(settled)
            elif event.kind.startswith("step."):
                _note(steps, event)
                witness.saw(event)
            yield event
    except BaseException as err:
        if witness is not None:
            await witness.broke(err)
        raise


def _note(steps: dict[str, dict[str, Any]], event: Event) -> None:
    """Keep what the event tells of its step's times and end."""
    known = steps.setdefault(event.step, {"path": event.step})
    if event.kind == "step.started":
        known["started_at"] = event.at
    if (status := _STEP_ENDS.get(event.kind)) is not None:
        known |= {**event.data, "status": status, "ended_at": event.at}
        known.setdefault("started_at", event.at)


def settled_of(event: Event, steps: tuple[dict[str, Any], ...] = ()) -> Settled:
    """What the last event of a call says that its run has come to."""
    data = event.data
    rows = tuple(step_row(s["path"], s["path"], s, {"kind": "code"}) for s in steps if "status" in s)
    usage = data.get("usage") or {}
    at = datetime.fromisoformat(event.at)
    match event.kind:
        case "run.completed":
            return Settled(
                status="completed", output=data.get("output"), ended_at=at, usage=usage, steps=rows, whole=False
            )
        case "run.failed" | "run.cancelled":
            error = data.get("error") or {}
            status = "failed" if event.kind == "run.failed" else "cancelled"
            return Settled(
                status=status,  # type: ignore[arg-type]
                reason=str(error.get("class") or ""),
                error=error,
                ended_at=at,
                usage=usage,
                steps=rows,
                whole=False,
            )
        case _:
            questions = tuple(data.get("questions") or ())
            reason = str(data.get("reason") or ("human" if questions else "requested"))
            if reason == SHUTDOWN and not questions:
                return Settled(status="pending", reason=SHUTDOWN, usage=usage, steps=rows, whole=False)
            more: dict[str, Any] = {"usage": usage, "steps": rows, "whole": False}
            return Settled(status="paused", reason=reason, questions=questions, **more)


# -- by the checkpoint ---------------------------------------------------------------------------------------------------


def run_of(snapshot: Any) -> Mapping[str, Json]:
    """What a checkpoint of ours says of its run; nothing for other graphs."""
    run = snapshot.values.get("run") if isinstance(snapshot.values, Mapping) else None
    return run if isinstance(run, Mapping) else {}


def end_of(graph: Any, snapshot: Any) -> Settled | None:
    """The end that the thread's run has come to; None where it goes on, or has not begun."""
    if "__start__" in snapshot.next or isinstance(graph, RemoteGraph):
        return None
    graph = graph.graph if isinstance(graph, IsolatedGraph) else graph
    if graph is None:
        return None
    if isinstance(graph, WorkflowGraph):
        ended = run_of(snapshot).get("status") in ENDED
        return settle(snapshot.values, (), step_facts(graph.plan)) if ended else None
    match status_of(snapshot):
        case "completed":
            try:
                output = output_of(graph.graph.output_channels, snapshot.values)
            except Fault as fault:
                return Settled(status="failed", error=fault.record(node=""))
            return Settled(status="completed", output=output)
        case "failed":
            message = str((snapshot.metadata or {}).get(REASON) or "it failed")
            return Settled(status="failed", error=Fault("internal", message, origin="workflow").record(node=""))
        case "cancelled":
            return Settled(status="cancelled", error=cancelled(str((snapshot.metadata or {}).get(REASON) or "")))
        case _:
            return None


async def asking(graph: Any, snapshot: Any, config: RunnableConfig, given: set[str]) -> set[str]:
    """The steps at which the run asks something; all that are ``given`` where nobody here can tell."""
    if isinstance(graph, RemoteGraph):
        return given
    if isinstance(graph, IsolatedGraph):
        if graph.graph is None:
            return given
        graph = graph.graph
    if isinstance(graph, WorkflowGraph):
        return {i.value["at"] for i in snapshot.interrupts if isinstance(i.value, dict) and "at" in i.value}
    return {str(question["at"]) for question in await graph.aquestions(config)}
