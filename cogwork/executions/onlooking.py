"""Who looks on as executions are taken up, go on and end, beside what is recorded of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from state.events import Event

if TYPE_CHECKING:
    from cogwork.executions.record import Execution
    from cogwork.executions.settling import Settled

Steps = Mapping[str, Mapping[str, str]]


class Sight(Protocol):
    """One call of a graph, as an onlooker sees it."""

    def saw(self, event: Event) -> None:
        """An event of a step; returns at once."""

    def left(self, settled: Settled) -> None:
        """What the call came to is in the records; where that is an end, it has been written by this call and no other."""

    def lost(self) -> None:
        """The execution was no longer this call's when it wrote down what it came to."""


class Onlooker(Protocol):
    """Somebody who looks on; nothing that he does may fail or take time."""

    def took(self, execution: Execution, steps: Steps, *, fresh: bool) -> Sight:
        """An execution is running from now on; ``fresh`` where it was never taken up before."""

    def ended(self, execution: Execution) -> None:
        """An execution has ended without a call of its graph."""

    def within(self, execution: Execution) -> AbstractContextManager[None]:
        """Around a process's work on an execution, from before it is running."""

    def carried(self) -> str:
        """The ``traceparent`` of the place in a trace where the caller is; empty where nothing is traced."""
