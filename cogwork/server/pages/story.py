"""What became of each step of an execution, told by its history: a pure reading of events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from state.events import Event

_INDEX: Final = re.compile(r"\[\d+\]")
WORST: Final = ("failed", "waiting", "running", "cancelled", "done", "skipped")
"""Of several instances of a step, the state that its box shows."""
_OVER: Final = {"step.finished": "done", "step.failed": "failed", "step.cancelled": "cancelled"}


def step_of(path: str) -> str:
    """The step that a path is an instance of."""
    return _INDEX.sub("", path)


@dataclass(slots=True)
class Attempt:
    """One try of a step; ``outcome`` is that of the step, ``retried`` where another follows, or a fallback serves."""

    began: datetime
    ended: datetime | None = None
    outcome: str = "running"
    error: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Told:
    """One instance of a step, as its events tell it."""

    path: str
    state: str = "running"
    attempts: list[Attempt] = field(default_factory=list)
    cause: Any = None
    error: Mapping[str, Any] | None = None
    count: int | None = None
    notes: list[str] = field(default_factory=list)
    usage: Mapping[str, Any] | None = None
    progress: str = ""

    @property
    def began(self) -> datetime | None:
        """When it first began."""
        return self.attempts[0].began if self.attempts else None

    @property
    def ended(self) -> datetime | None:
        """When it ended; None while it has not."""
        return self.attempts[-1].ended if self.attempts else None


class Story:
    """The steps in the order in which they are first told of; fed with events in theirs."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.steps: dict[str, Told] = {}
        for event in events:
            self.take(event)

    def take(self, event: Event) -> None:
        """Read on."""
        at = datetime.fromisoformat(event.at)
        if event.kind in ("run.paused", "run.failed", "run.cancelled", "run.completed"):
            self._rest(event.kind, at)
        if not event.step or event.kind in ("step.token", "item.started", "item.finished"):
            return
        step = self.steps.setdefault(event.step, Told(event.step))
        data = event.data
        match event.kind:
            case "step.started" | "step.opened":
                step.state = "running"
                step.count = data.get("count", step.count)
                _begin(step, at)
            case "step.waiting":
                step.state = "waiting"
                _begin(step, at)
            case "step.retry":
                step.state = "running"
                _end(step, at, "retried", data.get("error"))
                step.attempts.append(Attempt(at + timedelta(seconds=float(data.get("wait") or 0))))
            case "step.fallback":
                _end(step, at, "retried", data.get("error"))
                step.attempts.append(Attempt(at))
                step.notes.append(f"failed itself; the fallback {data.get('fallback')} was asked")
            case "step.progress":
                total = data.get("total")
                step.progress = (
                    f"{data.get('done')}{f' of {total}' if total else ''} {data.get('message') or ''}".strip()
                )
            case "step.skipped":
                step.state, step.cause, step.error = "skipped", data.get("cause"), data.get("error")
            case "step.finished" | "step.failed" | "step.cancelled":
                self._over(step, event, at)
            case "step.undone":
                step.notes.append("could not be undone" if data.get("error") else "was undone")
            case "step.handoff":
                step.notes.append(f"handed over to {data.get('target')}")

    def _over(self, step: Told, event: Event, at: datetime) -> None:
        step.state, data = _OVER[event.kind], event.data
        step.error, step.usage = data.get("error"), data.get("usage")
        if not step.attempts or step.attempts[-1].ended is not None:
            began = at - timedelta(seconds=float(data.get("seconds") or 0))
            step.attempts.append(Attempt(began))
        _end(step, at, step.state, step.error)
        if data.get("cached"):
            step.notes.append("its value is from the cache")
        if data.get("given"):
            step.notes.append("its value was handed in")
        if data.get("truncated"):
            step.notes.append("the answer was cut off at the model's limit")

    def _rest(self, kind: str, at: datetime) -> None:
        """Work that was cut off is begun anew when the run goes on."""
        for step in self.steps.values():
            if step.state == "running":
                step.state = "cut off" if kind == "run.paused" else "cancelled"
                _end(step, at, "cut off", None)

    def states(self) -> dict[str, str]:
        """Step to state; a step with several instances has the worst of theirs."""
        found: dict[str, set[str]] = {}
        for path, told in self.steps.items():
            found.setdefault(step_of(path), set()).add(told.state)
        return {step: next((each for each in WORST if each in states), "") for step, states in found.items()}


def _begin(step: Told, at: datetime) -> None:
    if not step.attempts or step.attempts[-1].ended is not None:
        step.attempts.append(Attempt(at))


def _end(step: Told, at: datetime, outcome: str, error: Any) -> None:
    if step.attempts and step.attempts[-1].ended is None:
        last = step.attempts[-1]
        last.ended, last.outcome, last.error = max(at, last.began), outcome, error
