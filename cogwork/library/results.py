"""What came of a run, summed up: of code by its events, of a workflow by its state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from state.events import Event
from state.values import Json

if TYPE_CHECKING:
    from cogwork.library.code_run import Story


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The end of a run, or where it rests: ``outputs`` by step, ``execution_time`` in seconds."""

    workflow: str
    run: str
    status: str
    output: Json = None
    outputs: Mapping[str, Json] = field(default_factory=dict)
    errors: tuple[Mapping[str, Json], ...] = ()
    questions: tuple[Mapping[str, Json], ...] = ()
    execution_time: float = 0.0

    @property
    def success(self) -> bool:
        """Whether the run has completed."""
        return self.status == "completed"

    def summarize_results(self) -> dict[str, Json]:
        """Success, execution time, the outputs by step and the errors, as plain JSON."""
        return {
            "success": self.success,
            "status": self.status,
            "execution_time": self.execution_time,
            "output": self.output,
            "outputs": dict(self.outputs),
            "errors": [dict(error) for error in self.errors],
            "questions": [dict(question) for question in self.questions],
        }

    @classmethod
    def from_story(cls, workflow: str, story: Story, last: Event | None, began: datetime, ended: datetime) -> RunResult:
        """The result of a run of code, by what was seen of it; a failure of the run itself is among the errors."""
        data = last.data if last is not None else {}
        known = [error.get("message") for error in story.errors]
        error = data.get("error")
        also = [error] if error and error.get("class") != "cancelled" and error.get("message") not in known else []
        return cls(
            workflow=workflow,
            run=story.run,
            status=last.kind.removeprefix("run.") if last is not None else "unfinished",
            output=data.get("output"),
            outputs=dict(story.outputs),
            errors=(*story.errors, *also),
            questions=tuple(data.get("questions") or ()),
            execution_time=round((ended - began).total_seconds(), 6),
        )

    @classmethod
    def from_state(cls, values: Mapping[str, Any]) -> RunResult:
        """The result of a workflow's run, by the state that its thread holds (``state.graph.GraphState``)."""
        about, nodes = values.get("run") or {}, values.get("nodes") or {}
        errors = [record["error"] for record in nodes.values() if record.get("error")]
        first = about.get("error")
        if first and first not in errors:
            errors.insert(0, first)
        return cls(
            workflow=str(about.get("workflow", "")),
            run=str(about.get("id", "")),
            status=str(about.get("status", "unfinished")),
            output=values.get("output"),
            outputs=dict(values.get("results") or {}),
            errors=tuple(errors),
            execution_time=_seconds(about),
        )


def _seconds(about: Mapping[str, Any]) -> float:
    try:
        begin, end = (datetime.fromisoformat(str(about.get(key))) for key in ("started_at", "ended_at"))
    except ValueError:
        return 0.0
    return round((end - begin).total_seconds(), 6)
