"""How an instance, and the run itself, comes to its end: the records, the events and the result."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from langgraph.types import Command

from graphs.runtime.batch import Batch
from graphs.runtime.environment import body_value
from graphs.runtime.run import Instance, Record
from graphs.runtime.scheduler import Scheduler
from nodes.base import Outcome
from state.errors import Fault
from state.values import Json


def settle_skip(scheduler: Scheduler, batch: Batch, member: Instance, cause: Record) -> None:
    """The instance will not run, for this reason."""
    batch.settle(member, {"status": "skipped", "cause": cause, "ended_at": scheduler.stamp()})
    scheduler.emit("step.skipped", member.path, cause=cause)


def settle_outcome(scheduler: Scheduler, batch: Batch, member: Instance, outcome: Outcome, **more: Json) -> None:
    """The instance is done."""
    record: Record = {"status": "done", **more, "ended_at": scheduler.stamp()}
    if outcome.usage:
        record["usage"] = dict(outcome.usage)
    batch.messages.extend(outcome.messages)
    batch.settle(member, record, outcome.value)
    if scheduler.telling:
        shown = {"usage": record["usage"]} if outcome.usage else {}
        seconds = elapsed(record)
        scheduler.emit("step.finished", member.path, attempts=more.get("attempts", 1), seconds=seconds, **shown)


def settle_failure(scheduler: Scheduler, batch: Batch, member: Instance, fault: Fault, **more: Json) -> None:
    """The instance has failed for good; its ``on_error`` says what that means."""
    record = scheduler.failure(member, fault, **more)
    batch.settle(member, record)
    if record["status"] == "skipped":
        scheduler.emit("step.skipped", member.path, cause=record["cause"], error=record["error"])
    else:
        scheduler.emit("step.failed", member.path, error=record["error"])


def cancel(scheduler: Scheduler, batch: Batch, member: Instance, more: Record) -> None:
    """The instance will not end: what it belongs to has failed."""
    batch.note(member.path, {"status": "cancelled", **more, "ended_at": scheduler.stamp()})
    batch.close(member.frame)

    def become() -> None:
        member.state = "settled"
        scheduler.enabling.discard(member.path)
        scheduler.run.hold(member.frame, -1)

    batch.transitions.append(become)
    scheduler.emit("step.cancelled", member.path)


def finish(scheduler: Scheduler, batch: Batch, again: str | None = None) -> Command[Any] | None:
    """The command of a batch; the last one of a run carries the result."""
    if not scheduler.about.get("ended"):
        _conclude(scheduler, batch)
    if scheduler.run.failed:
        batch.wake(scheduler.run.abandoned())
    command = batch.command(again)
    if scheduler.quiet:
        scheduler.wake_people()
    return command


def _conclude(scheduler: Scheduler, batch: Batch) -> None:
    """Write the result, or the failure, if this batch brings the end.

    Only what the checkpoint has and this batch writes counts: of two that end together neither is the last, and the
    sink, woken by both, writes the result in a superstep of its own.
    """
    run = scheduler.run
    if run.top.error is not None:
        batch.extra["run"] = _ending(scheduler, "failed", error=run.top.error)
        return
    if len(run.top.view) + batch.top_settled < len(run.top.scope.names):
        return
    batch.goto.pop(run.plan.sink, None)
    kept = run.results, run.records
    run.results, run.records = {**run.results, **batch.results}, {**run.records, **batch.nodes}
    try:
        output = body_value(run, run.top, scheduler.about)
    except Fault as fault:
        batch.extra["run"] = _ending(scheduler, "failed", error=fault.record(node="", pointer="/output"))
    else:
        batch.extra |= {"output": output, "run": _ending(scheduler, "completed")}
    finally:
        run.results, run.records = kept


def _ending(scheduler: Scheduler, status: str, **more: Json) -> Record:
    """The last entries of the run's record."""
    scheduler.about |= {"status": status, "ended": True, **more}
    return {"status": status, "ended_at": scheduler.stamp(), **more}


def elapsed(record: Record) -> float:
    """Seconds between a record's start and end; 0 where it never started."""
    if "started_at" not in record:
        return 0.0
    begin, end = datetime.fromisoformat(record["started_at"]), datetime.fromisoformat(record["ended_at"])
    return round((end - begin).total_seconds(), 4)
