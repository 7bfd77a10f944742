"""Races: once a step with ``cancel_rest`` starts, the parents that it need not wait for have lost."""

from __future__ import annotations

from graphs.runtime.frames import Frame, Instance, Record, within
from graphs.runtime.scheduler import Scheduler
from state.errors import Fault

RACE = "race"


def lost_to(scheduler: Scheduler, member: Instance) -> Record | None:
    """The cause for which the instance is given up: a race that it was in is decided.

    A race is decided when its winner starts. That is read from what the winner is now, so that a process that takes over
    after a crash sees it too, before it starts a loser again.
    """
    for racer, name in scheduler.run.racers.get(member.planned.id, ()):
        if _decided(scheduler, member.frame, racer):
            return {"reason": "race_lost", "by": member.frame.prefix + name}
    return None


def lost_around(scheduler: Scheduler, frame: Frame) -> bool:
    """Whether a loop or used workflow around the frame has lost a race: nothing may start in it, but in its blocks."""
    if not scheduler.run.racers:
        return False
    headers = (around.header for around in within(frame) if around.scope.kind != "stage")
    return any(header is not None and lost_to(scheduler, header) is not None for header in headers)


def _decided(scheduler: Scheduler, frame: Frame, racer: str) -> bool:
    winner, ended = frame.members[racer], frame.ahead.get(racer)
    if ended is not None:
        return ended.status in ("done", "failed")
    if winner.state == "ready":
        return winner.verdict == "start" and _wanted(scheduler, winner)
    return winner.state in ("active", "open", "waiting")


def _wanted(scheduler: Scheduler, winner: Instance) -> bool:
    """Whether the winner's ``when`` lets it start."""
    if winner.planned.step.when is None:
        return True
    try:
        return scheduler.call(winner, None).value("/when") is True
    except Fault:
        return False
