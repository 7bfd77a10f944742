"""Executions, steps and calls, counted as they happen."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cogwork.executions.statuses import ENDED
from cogwork.observability import catalogue
from cogwork.observability.figures import Capped, Figures
from graphs.runtime.frames import bare
from state.events import Event
from state.services import MadeCall
from state.values import Json

if TYPE_CHECKING:
    from cogwork.executions.onlooking import Steps
    from cogwork.executions.record import Execution
    from cogwork.executions.settling import Settled

ENDS: Final = {
    "step.finished": "done",
    "step.failed": "failed",
    "step.skipped": "skipped",
    "step.cancelled": "cancelled",
}
"""The events with which steps settle, and how they have settled then."""
_MOST_TARGETS: Final = 200


class Counting:
    """The onlooker that counts."""

    def __init__(self, figures: Figures, workflows: int) -> None:
        self.figures = figures
        self._workflows, self._targets = Capped(workflows), Capped(_MOST_TARGETS)

    def took(self, execution: Execution, steps: Steps, *, fresh: bool) -> Counted:
        """Count an execution that begins."""
        if fresh:
            self.figures.add(catalogue.STARTED, self._workflows.of(execution.workflow))
        return Counted(self, execution, steps)

    def ended(self, execution: Execution) -> None:
        """Count an end that no call brought about."""
        self.over(execution, execution.status, execution.ended_at)

    def within(self, execution: Execution) -> AbstractContextManager[None]:
        """Nothing is to be done."""
        return nullcontext()

    def carried(self) -> str:
        """Nothing is traced here."""
        return ""

    def over(self, execution: Execution, status: str, ended_at: datetime | None) -> None:
        """Count an end."""
        workflow = self._workflows.of(execution.workflow)
        self.figures.add(catalogue.ENDED, workflow, status)
        began = execution.started_at or execution.created_at
        seconds = max(0.0, ((ended_at or datetime.now(UTC)) - began).total_seconds())
        self.figures.observe(catalogue.DURATION, seconds, workflow, status)

    def called(self, made: MadeCall, seconds: float, fault: str, usage: Mapping[str, Json]) -> None:
        """Count a call, and what it used."""
        target = self._targets.of(made.target)
        self.figures.observe(catalogue.CALLS, seconds, made.kind, target, fault)
        if made.kind != "model":
            return
        for direction in ("input", "output"):
            if tokens := usage.get(f"{direction}_tokens"):
                self.figures.add(catalogue.TOKENS_USED, target, direction, amount=float(tokens))
                if self.figures.further is not None:
                    self.figures.further(catalogue.TOKEN_USAGE, float(tokens), (target, direction))
        if cost := usage.get("cost_usd"):
            self.figures.add(catalogue.COST, target, amount=float(cost))


class Counted:
    """One call of a graph."""

    def __init__(self, counting: Counting, execution: Execution, steps: Steps) -> None:
        self._counting, self._execution, self._steps = counting, execution, steps

    def saw(self, event: Event) -> None:
        """Count the steps that settle, and the attempts that are made again."""
        figures = self._counting.figures
        if (status := ENDS.get(event.kind)) is not None:
            kind = self._steps.get(bare(event.step), {}).get("kind", "step")
            figures.add(catalogue.STEPS, kind, status)
        elif event.kind == "step.retry":
            figures.add(catalogue.RETRIES, str((event.data.get("error") or {}).get("class", "")))

    def left(self, settled: Settled) -> None:
        """Count the end, where it is one."""
        if settled.status in ENDED:
            self._counting.over(self._execution, settled.status, settled.ended_at)

    def lost(self) -> None:
        """Somebody else counts it."""
