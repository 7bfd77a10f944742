"""Steps that hold others: loops and used workflows, one kind a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from graphs.analysis.plan import PlannedStep
from graphs.runtime.batch import Batch
from graphs.runtime.frames import Instance
from graphs.runtime.loops.agent import Talk
from graphs.runtime.loops.for_each import Items
from graphs.runtime.loops.holding import Holding
from graphs.runtime.loops.repeat import Iterations
from graphs.runtime.loops.use import Used
from graphs.runtime.scheduler import Scheduler
from graphs.runtime.stages import Staged
from graphs.runtime.undoing import reopen

_KINDS: Mapping[str, type[Holding]] = {
    "for_each": Items,
    "repeat": Iterations,
    "use": Used,
    "agent": Talk,
    "stage": Staged,
}


def attend_loop(scheduler: Scheduler, batch: Batch, planned: PlannedStep, starting: Iterable[Instance]) -> None:
    """One pass over a loop's or used workflow's instances: begin the new ones, move the open ones on."""
    kind = _KINDS[planned.kind]
    scheduler.run.closable.discard(planned.id)
    for member in starting:
        kind(scheduler, batch, member).begin()
    for member in list(scheduler.run.open.get(planned.id, {}).values()):
        kind(scheduler, batch, member).advance()


def reopened(scheduler: Scheduler, member: Instance) -> None:
    """Open again, from the records, the frames of a loop that the checkpoint says is open.

    Raises:
        NotResumable: changed values leave no sense in what the loop had begun.
    """
    if member.planned.kind == "undo":
        reopen(scheduler, member)
        return
    holding = _KINDS[member.planned.kind](scheduler, Batch(scheduler), member)
    holding.remember()
    holding.reopen()
