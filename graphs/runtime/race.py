"""Races: once a step with ``cancel_rest`` starts, the parents that it need not wait for are given up."""

from __future__ import annotations

from graphs.runtime.batch import Batch
from graphs.runtime.ends import settle_skip
from graphs.runtime.run import Instance, Record, Run
from graphs.runtime.scheduler import Scheduler

RACE = "race"


def lost_to(run: Run, member: Instance) -> Record | None:
    """The cause for which the instance is given up: a race that it was in is decided in the checkpoint."""
    frame = member.frame
    for racer, step in run.racers.get(member.planned.id, ()):
        ended = frame.view.get(racer)
        if ended is not None and ended.status in ("done", "failed"):
            return {"reason": "race_lost", "by": frame.prefix + step}
    return None


def lost_by(scheduler: Scheduler, member: Instance) -> str:
    """The path of the step that the instance has lost the race to."""
    frame = member.frame
    racers = scheduler.run.racers.get(member.planned.id, ())
    begun = [name for racer, name in racers if frame.members[racer].state not in ("new", "ready")]
    return frame.prefix + (begun or [name for _, name in racers])[0]


def give_up(scheduler: Scheduler, batch: Batch, racer: Instance) -> None:
    """Give up all that only leads to ``racer``, which has started: work that changes something ends and is recorded."""
    cause: Record = {"reason": "race_lost", "by": racer.path}
    for step_id in racer.planned.losers:
        member = racer.frame.members[step_id]
        if step_id in racer.frame.ahead:
            continue
        if member.state in ("new", "ready", "waiting"):
            _skip(scheduler, batch, member, cause)
        elif member.state == "open":
            abandon(scheduler, batch, member)
        else:
            work = scheduler.work.get(step_id, {}).get(member.path)
            if work is not None and not work.task.done() and not scheduler.writing(work):
                scheduler.cut_off(work, RACE)


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


def abandon(scheduler: Scheduler, batch: Batch, member: Instance) -> None:
    """Give up a loop or used workflow: nothing more starts in it, and it is skipped when its writes have ended."""
    scheduler.given_up[member.path] = RACE
    error: Record = {"class": "cancelled", "origin": "workflow", "message": "the race is lost", "node": member.path}
    for frame in member.frames.values():
        scheduler.fail(frame, error)
    batch.wake([member.planned.id])
