"""Compensation: the undo calls of finished steps, in the reverse of the order in which they were recorded as done.

The order is written down when the undoing begins, as the record ``undo``; each call has a record of its own, ``undo[0]`` …,
so that a crash in the middle of it costs none and repeats none. What cannot be undone is listed, and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphs.analysis.plan import PlannedStep
from graphs.runtime.batch import Batch
from graphs.runtime.calling import undo_call
from graphs.runtime.frames import OVER, Instance, Record, bare
from graphs.runtime.questions import doubt_question
from graphs.runtime.run import Run
from graphs.runtime.scheduler import Scheduler, Work
from graphs.runtime.stages import Staged
from graphs.runtime.work import Resolve, launch
from nodes.base import Outcome, Undo
from nodes.tool import ToolNode
from state.errors import Fault, InDoubt
from state.values import Json


def undone_in_order(path: Sequence[str], records: Mapping[str, Record]) -> list[str]:
    """The paths of the steps to take back: those done that say how, the last one first."""
    order = [p for p in dict.fromkeys(path) if records.get(p, {}).get("status") == "done" and "undo" in records[p]]
    return order[::-1]


def reopen(scheduler: Scheduler, holder: Instance) -> None:
    """Take over the question that the undoing may wait for."""
    run = scheduler.run
    for path, record in run.records.items():
        if path.startswith("undo[") and record.get("status") == "waiting":
            run.asked[path] = Instance(planned=holder.planned, path=path, frame=holder.frame, state="waiting")


def attend_undo(
    scheduler: Scheduler, batch: Batch, planned: PlannedStep, starting: list[Instance], path: Sequence[str]
) -> None:
    """One pass: begin the undoing, take the next step back, or end it."""
    for holder in starting:
        _begin(scheduler, batch, holder, path)
    for work in list(scheduler.finished(planned.id)):
        if not _cut(work):
            _settle(scheduler, batch, work)
    for holder in list(scheduler.run.open.get(planned.id, {}).values()):
        _go_on(scheduler, batch, holder)


def _begin(scheduler: Scheduler, batch: Batch, holder: Instance, path: Sequence[str]) -> None:
    order = undone_in_order(path, scheduler.run.records)
    batch.note(holder.path, {"status": "open", "order": order, "started_at": scheduler.stamp()})
    batch.wake([holder.planned.id])
    batch.urge(holder.path)
    scheduler.emit("step.opened", holder.path, count=len(order))

    def become() -> None:
        scheduler.run.mark_open(holder)
        scheduler.run.hold(holder.frame, -1)

    batch.transitions.append(become)


def _go_on(scheduler: Scheduler, batch: Batch, holder: Instance) -> None:
    """Begin the next undo call, unless one is at work, asked about, or on its way to the checkpoint."""
    run = scheduler.run
    order = run.records[holder.path]["order"]
    index = next((i for i in range(len(order)) if _status(run, i) not in OVER), None)
    if index is None:
        Staged(scheduler, batch, holder).end(
            {**run.records[holder.path], "status": "done", "ended_at": scheduler.stamp()}
        )
        return
    path = f"undo[{index}]"
    busy = scheduler.work.get(holder.planned.id) or path in run.asked or path in batch.nodes or scheduler.pending
    if not busy and not scheduler.stopping:
        member = Instance(planned=holder.planned, path=path, frame=holder.frame, state="active")
        run.hold(member.frame, 1)
        take_back(scheduler, batch, member)


def take_back(scheduler: Scheduler, batch: Batch, member: Instance, *, resolve: Resolve | None = None) -> None:
    """Begin one undo call; where its arguments could not be told, it has failed."""
    run = scheduler.run
    path = run.records["undo"]["order"][_index(member.path)]
    how = run.records[path]["undo"]
    step = run.plan.steps[how.get("of") or bare(path)].step
    undo = getattr(step, "undo", None)
    assert isinstance(undo, Undo)
    if "error" in how:
        settle_undo(scheduler, batch, member, Fault.from_record(how["error"]), {})
        return
    node = ToolNode(tool=how["tool"], args=undo.args, retry=undo.retry, timeout=undo.timeout)
    launch(scheduler, member, node, undo_call(scheduler, path, how["args"]), resolve=resolve)
    scheduler.emit("step.started", member.path, of=path)


def _settle(scheduler: Scheduler, batch: Batch, work: Work) -> None:
    error = work.task.exception()
    more: Record = {"attempts": work.call.attempt, "started_at": work.started_at}
    if isinstance(error, InDoubt) and scheduler.durable:  # without checkpoints nobody can ever say
        doubt_question(scheduler, batch, work.member, error, more)
    elif error is None or isinstance(error, Fault):
        settle_undo(scheduler, batch, work.member, error or work.task.result(), more)
    else:
        raise error


def settle_undo(scheduler: Scheduler, batch: Batch, member: Instance, outcome: Outcome | Fault, more: Record) -> None:
    """One step is taken back, or could not be; its own record says so too."""
    run = scheduler.run
    path = run.records["undo"]["order"][_index(member.path)]
    record: Record = {"of": path, **more, "ended_at": scheduler.stamp()}
    if isinstance(outcome, Fault):
        error = outcome.record(node=member.path)
        record |= {"status": "failed", "error": error}
        batch.note(path, {**run.records[path], "undone": False})
        scheduler.emit("step.undone", path, of=path, error=error)
    else:
        record |= {"status": "done"}
        batch.note(path, {**run.records[path], "undone": True})
        scheduler.emit("step.undone", path, of=path)
    batch.note(member.path, record)
    batch.wake([member.planned.id])
    batch.urge(member.path)

    def become() -> None:
        member.state = "settled"
        run.hold(member.frame, -1)

    batch.transitions.append(become)


def _cut(work: Work) -> bool:
    return work.task.cancelled()


def _status(run: Run, index: int) -> Json:
    return run.records.get(f"undo[{index}]", {}).get("status")


def _index(path: str) -> int:
    return int(path[len("undo[") : -1])
