"""The typed stream of a run's events, out of LangGraph's ``custom``, ``messages`` and ``updates`` streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import RunnableConfig

from graphs.runtime.calling import STEP_METADATA
from state.errors import WorkflowCancelled, WorkflowFailed
from state.events import Event, EventKind, is_event
from state.usage import total
from state.values import Json

if TYPE_CHECKING:
    from graphs.graph import WorkflowGraph


async def events_of(
    graph: WorkflowGraph, input: Any, config: RunnableConfig | None, *, tokens: bool, **options: Any
) -> AsyncIterator[Event]:
    """The events of one call; the last one is ``run.completed``, ``run.failed``, ``run.cancelled`` or ``run.paused``."""
    modes = ["custom", "updates", *(["messages"] if tokens else []), "values"]
    story = _Story(fresh=isinstance(input, dict))
    try:
        async for mode, chunk in graph.astream(input, config, stream_mode=modes, **options):
            for event in story.told(mode, chunk):
                yield event
    except WorkflowFailed as failed:
        yield story.event("run.failed", error=failed.error, **story.used())
        return
    except WorkflowCancelled as cancelled:
        yield story.event("run.cancelled", error=cancelled.error, **story.used())
        return
    yield story.ending()


class _Story:
    """What has been seen of a run so far."""

    def __init__(self, *, fresh: bool) -> None:
        self.fresh, self.begun = fresh, False
        self.values: dict[str, Any] = {}
        self.questions: list[Json] = []

    def told(self, mode: str, chunk: Any) -> list[Event]:
        """The events that one chunk gives."""
        if mode == "values":
            self.values = chunk
            return self._beginning()
        if mode == "updates":
            self.questions += [i.value for i in chunk.get("__interrupt__", ())]
            return []
        if mode == "messages":
            message, about = chunk
            if isinstance(message, AIMessageChunk) and message.text:
                step = about.get(STEP_METADATA) or about.get("langgraph_node", "")
                return [self.event("step.token", step=str(step), text=message.text)]
            return []
        return [Event.from_dict(chunk)] if is_event(chunk) else []

    def _beginning(self) -> list[Event]:
        if self.begun or not self.values.get("run"):
            return []
        self.begun = True
        return [self.event("run.started" if self.fresh else "run.resumed", workflow=self.values["run"].get("workflow"))]

    def ending(self) -> Event:
        """The event that says where the run rests: at questions, on request, or at a breakpoint, where there are none."""
        run = self.values.get("run", {})
        if self.questions or run.get("status") in ("running", "paused"):
            return self.event("run.paused", questions=self.questions, reason=run.get("reason"), **self.used())
        return self.event("run.completed", output=self.values.get("output"), **self.used())

    def used(self) -> dict[str, Json]:
        """What the run has used up to now, where it has asked a model."""
        usage = total(self.values.get("nodes", {}).values())
        return {"usage": usage} if usage else {}

    def event(self, kind: EventKind, *, step: str = "", **data: Json) -> Event:
        run = self.values.get("run", {}).get("id", "")
        return Event(kind=kind, run=run, at=datetime.now(UTC).isoformat(), step=step, data=data)
