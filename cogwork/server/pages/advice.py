"""What happened, and what to do about it, in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cogwork.cli.reasons import RESTS, brief_cause, brief_error
from cogwork.metrics.axes import span
from state.errors import FaultClass
from state.events import Event
from state.values import Json

ADVICE: Final[Mapping[FaultClass, str]] = {
    "timeout": "It took longer than it may: raise its timeout or make what it calls faster, then fork before this step.",
    "connection": "What it calls could not be reached: see Health on the first page, then fork before this step.",
    "unavailable": "What it calls is out of order: fork before this step later, or give the step a retry policy.",
    "rate_limited": "The service asked to be called less often: fork before this step later, or give it a retry policy.",
    "invalid_input": "What it was given does not fit: look at the step's input, and mend the workflow or start with another.",
    "invalid_output": "What came back does not fit the step's schema: mend the schema or the prompt, publish, and start anew.",
    "tool_error": "The tool failed by itself: look at its arguments and at what it says, then fork before this step.",
    "refused": "The model refused to answer: change the prompt or the model, publish, and start anew.",
    "permission_denied": "It was not allowed: mend the credentials or the rights, then fork before this step.",
    "cancelled": "Somebody ended it. Run it again from the beginning, or fork from a step to keep what was done.",
    "budget_exceeded": "A limit of the workflow was used up: raise it in the workflow, or start with an override.",
    "internal": "This is a fault of cogwork or of code in the workflow: the server's log has more under the execution's id.",
}


def of(error: Mapping[str, Json]) -> str:
    """What to do about the error of an execution."""
    known = next((words for name, words in ADVICE.items() if name == error.get("class")), "")
    return known or "Look at the step it names; once its cause is mended, fork before it, or run the workflow again."


def told(event: Event) -> str:
    """What an event says beside its kind and step."""
    data: Mapping[str, Any] = event.data
    match event.kind:
        case "step.finished":
            tries = data.get("attempts") or 1
            return f"in {span(data.get('seconds') or 0)}{f', {tries} attempts' if tries > 1 else ''}"
        case "step.skipped":
            return brief_cause(data.get("cause"), data.get("error"))
        case "step.failed" | "run.failed" | "run.cancelled":
            return brief_error(data.get("error")) if data.get("error") else ""
        case "step.retry":
            return f"attempt {data.get('attempt')} failed: {brief_error(data.get('error'))}; again in {span(data.get('wait'))}"
        case "step.fallback":
            return f"{brief_error(data.get('error'))}; {data.get('fallback')} serves instead"
        case "step.waiting":
            return str(data.get("ask") or "")
        case "step.opened":
            return f"{data.get('count')} at once or in turn" if data.get("count") is not None else ""
        case "step.progress":
            return f"{data.get('done')} of {data.get('total') or '?'} {data.get('message') or ''}"
        case "step.token":
            return str(data.get("text") or "")
        case "run.paused":
            return RESTS.get(str(data.get("reason")), str(data.get("reason") or ""))
        case _:
            return ""
