"""What becomes of those that have lost a race: nothing starts, reads are cut off, and writes end and are recorded."""

from __future__ import annotations

from graphs.runtime.batch import Batch
from graphs.runtime.ends import settle_skip
from graphs.runtime.frames import Instance, Record
from graphs.runtime.race import RACE
from graphs.runtime.scheduler import Scheduler


def give_up(scheduler: Scheduler, batch: Batch, racer: Instance) -> None:
    """Give up all that only leads to ``racer``, which has started."""
    cause: Record = {"reason": "race_lost", "by": racer.path}
    for step_id in racer.planned.losers:
        member = racer.frame.members[step_id]
        if step_id in racer.frame.ahead or member.path in racer.frame.open | scheduler.interrupted:
            _abandon(scheduler, batch, member)
        elif member.state in ("new", "ready", "waiting"):
            _skip(scheduler, batch, member, cause)
        elif work := scheduler.work.get(step_id, {}).get(member.path):
            if not work.task.done() and not scheduler.writing(work):
                scheduler.cut_off(work, RACE)


def _abandon(scheduler: Scheduler, batch: Batch, member: Instance) -> None:
    """A loop or used workflow sees by itself that it is given up; a call in doubt is asked about all the same."""
    if member.state == "open":
        batch.run()
        batch.urge(member.path)
        batch.wake([member.planned.id])


def _skip(scheduler: Scheduler, batch: Batch, member: Instance, cause: Record) -> None:
    run = scheduler.run
    if member.state == "ready":
        run.ready[member.planned.id].remove(member)
    scheduler.held.pop(member.path, None)
    run.asked.pop(member.path, None)
    scheduler.answers.pop(member.path, None)
    member.state = "active"
    run.hold(member.frame, 1)
    settle_skip(scheduler, batch, member, cause)
