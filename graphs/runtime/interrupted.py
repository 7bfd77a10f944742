"""The writes that an earlier process had begun and whose steps are not at their end: they are taken up first of all.

A write in flight ends and is recorded, also when the run fails, is cancelled or the write has lost a race; so does one whose
process died, or a person is asked what became of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from graphs.runtime.frames import Frame, Instance
from graphs.runtime.scheduler import Scheduler
from state.durable import RecordedCall


def take_up(scheduler: Scheduler, calls: Iterable[RecordedCall]) -> None:
    """Let the steps start whose writes had begun, whatever has happened to the run since."""
    run = scheduler.run
    begun = {call.step for call in calls if call.effect == "write" and call.status != "failed"}
    begun |= {path for path, record in run.records.items() if record.get("status") == "again"}
    if not any(run.records.get(path, {}).get("status") in (None, "again") for path in begun):
        return
    for member in _instances(run.top):
        if member.path in begun:
            _take_up(scheduler, member.frame.members.get(member.planned.stands_in, member))


def _take_up(scheduler: Scheduler, member: Instance) -> None:
    if member.state not in ("new", "ready"):
        return
    scheduler.interrupted.add(member.path)
    member.frame.open.add(member.path)
    member.verdict = "start"
    if member.state == "new":
        member.state = "ready"
        scheduler.run.ready.setdefault(member.planned.id, []).append(member)


def _instances(frame: Frame) -> Iterator[Instance]:
    for member in (*frame.members.values(), *frame.stages.values()):
        yield member
        for inner in member.frames.values():
            yield from _instances(inner)
