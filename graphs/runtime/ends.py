"""How an instance, and the run itself, comes to its end: the records, the events and the result."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from langgraph.types import Command

from graphs.runtime.batch import Batch
from graphs.runtime.budget import priced
from graphs.runtime.calling import standin, undo_of
from graphs.runtime.environment import body_value
from graphs.runtime.frames import Instance, Record, bare
from graphs.runtime.race import lost_to
from graphs.runtime.scheduler import Scheduler
from nodes.base import Outcome
from state.errors import Fault
from state.usage import total
from state.values import Json


def settle_skip(scheduler: Scheduler, batch: Batch, member: Instance, cause: Record) -> None:
    """The instance will not run, for this reason."""
    batch.settle(member, {"status": "skipped", "cause": cause, "ended_at": scheduler.stamp()})
    scheduler.emit("step.skipped", member.path, cause=cause)


def settle_outcome(scheduler: Scheduler, batch: Batch, member: Instance, outcome: Outcome, **more: Json) -> None:
    """The instance is done."""
    record: Record = {"status": "done", **more, "ended_at": scheduler.stamp()}
    usage = {**outcome.usage, "model": outcome.model} if outcome.usage and outcome.model else outcome.usage
    shown = _use(scheduler, record, usage)
    if outcome.fallback:
        record["fallback"] = shown["fallback"] = outcome.fallback
    if outcome.prompt:
        record["prompt"] = shown["prompt"] = dict(outcome.prompt)
    if outcome.cached:
        record["cached"] = shown["cached"] = True
    if outcome.truncated:
        record["truncated"] = shown["truncated"] = True
    if outcome.given:
        record["given"] = shown["given"] = True
    elif undo := undo_of(scheduler, member, outcome, record):
        record["undo"] = undo
    batch.messages.extend(outcome.messages)
    _settle_standin(scheduler, batch, member, outcome)
    batch.settle(member, record, outcome.value)
    if scheduler.heard:
        seconds = elapsed(record)
        if scheduler.witness is not None and scheduler.witness.traces:
            shown["output"] = outcome.value
        scheduler.emit("step.finished", member.path, attempts=more.get("attempts", 1), seconds=seconds, **shown)


def _use(scheduler: Scheduler, record: Record, usage: Mapping[str, Json]) -> Record:
    """Write what was used into the record, and count it against the limits; the event's part of it."""
    if not usage:
        return {}
    record["usage"] = priced(scheduler.services, usage)
    scheduler.budget.spend(record["usage"])
    return {"usage": record["usage"]}


def _settle_standin(scheduler: Scheduler, batch: Batch, member: Instance, outcome: Outcome) -> None:
    """The sibling that served instead is done as well; those that did not are skipped by their choice."""
    other = standin(member, outcome)
    if other is not None and other.state == "new":
        other.state = "active"
        scheduler.run.hold(other.frame, 1)
        record: Record = {"status": "done", "served": member.path, "ended_at": scheduler.stamp()}
        batch.settle(other, record, outcome.value)


def settle_failure(scheduler: Scheduler, batch: Batch, member: Instance, fault: Fault, **more: Json) -> None:
    """The instance has failed for good; its ``on_error`` says what that means."""
    record = scheduler.failure(member, fault, **more)
    if lost := lost_to(scheduler, member):
        record |= {"status": "skipped", "cause": lost}
    used = fault.details.get("usage") if isinstance(fault.details, Mapping) else None
    _use(scheduler, record, used or {})
    batch.settle(member, record)
    if record["status"] == "skipped":
        scheduler.emit("step.skipped", member.path, cause=record["cause"], error=record["error"])
    else:
        scheduler.emit("step.failed", member.path, error=record["error"])


def cancel(scheduler: Scheduler, batch: Batch, member: Instance, more: Record) -> None:
    """The instance will not end: what it belongs to has failed."""
    batch.note(member.path, {"status": "cancelled", **more, "ended_at": scheduler.stamp()})
    batch.close(member.frame)
    scheduler.enable(member.path)

    def become() -> None:
        member.state = "settled"
        scheduler.enabling.discard(member.path)
        scheduler.run.hold(member.frame, -1)

    batch.transitions.append(become)
    scheduler.emit("step.cancelled", member.path)


def finish(scheduler: Scheduler, batch: Batch, again: str | None = None) -> Command[Any] | None:
    """The command of a batch; the last one of a run carries the result."""
    if not scheduler.about.get("ended") and not scheduler.marked:
        _conclude(scheduler, batch)
    if scheduler.stopping and not scheduler.about.get("ended"):
        _rest(scheduler, batch)
    if scheduler.run.failed:
        batch.wake(scheduler.run.abandoned())
    if scheduler.budget.timed and (batch.nodes or batch.extra):
        batch.run(worked=scheduler.budget.worked)
    command = batch.command(again)
    if scheduler.quiet:
        scheduler.wake_people()
    return command


def _rest(scheduler: Scheduler, batch: Batch) -> None:
    """Say that the run rests, as somebody asks for; all that can go on does so when it is resumed."""
    batch.wake(scheduler.run.frontier())
    in_flight = any(scheduler.writing(work) for work in scheduler.at_work())  # who reads the state sees this at once
    if scheduler.durable and not scheduler.marked and not in_flight:
        scheduler.marked = True
        batch.run(**scheduler.moved("paused", reason=scheduler.pausing or "requested"))
    scheduler.halt()


def _conclude(scheduler: Scheduler, batch: Batch) -> None:
    """Write the result if this batch brings the end of the run, or begin what follows its steps.

    Only what the checkpoint has and this batch writes counts: of two that end together neither is the last, and the
    sink, woken by both, goes on in a superstep of its own. What follows begins once all is in the checkpoint.
    """
    run, top = scheduler.run, scheduler.run.top
    if top.error is None:
        if len(top.view) + batch.top_settled < len(top.scope.names):
            return
        output = _output(scheduler, batch)
        if isinstance(output, Fault):
            _fail_at_output(scheduler, batch, output)
        elif run.due(top, undo=False) is None:
            batch.goto.pop(run.plan.sink, None)
            batch.extra["output"] = output
            batch.run(**_ending(scheduler, batch, "completed", **_beside(scheduler)))
            return
    if top.busy or (top.error is None and len(top.view) < len(top.scope.names)):
        return
    following = run.due(top, undo=wants_undo(scheduler))
    if following is not None:
        begin_stage(scheduler, batch, following)
        return
    status = "cancelled" if scheduler.about.get("cancelled") else "failed"
    error = top.error or {}
    batch.run(**_ending(scheduler, batch, status, reason=error.get("class"), error=top.error, **_beside(scheduler)))


def begin_stage(scheduler: Scheduler, batch: Batch, holder: Instance) -> None:
    """Let what follows a workflow's steps begin in the next superstep, also if the process dies before it."""
    if holder.state == "new":
        holder.state = "ready"
        scheduler.run.ready.setdefault(holder.planned.id, []).append(holder)
        batch.run()
        batch.urge(holder.path)
    if holder.state == "ready":
        header = holder.frame.header
        batch.wake([holder.planned.id, *([header.planned.id] if header is not None else [])])


def wants_undo(scheduler: Scheduler) -> bool:
    """Whether finished steps are taken back: after a failure yes, after a cancellation if that asks for it."""
    cancelled = scheduler.about.get("cancelled")
    return bool(cancelled.get("undo")) if cancelled else True


def _output(scheduler: Scheduler, batch: Batch) -> Json | Fault:
    """The run's result, by the checkpoint and this batch."""
    run = scheduler.run
    kept = run.results, run.records
    run.results, run.records = {**run.results, **batch.results}, {**run.records, **batch.nodes}
    try:
        return body_value(run, run.top, scheduler.about)
    except Fault as fault:
        return fault
    finally:
        run.results, run.records = kept


def _fail_at_output(scheduler: Scheduler, batch: Batch, fault: Fault) -> None:
    error = fault.record(node="", pointer="/output")
    scheduler.about["error"] = error
    batch.run(error=error)
    scheduler.fail(scheduler.run.top, error)
    batch.wake([scheduler.run.plan.sink])


def _ending(scheduler: Scheduler, batch: Batch, status: str, **more: Json) -> Record:
    """The last entries of the run's record."""
    entries = scheduler.moved(status, **more)
    scheduler.about["ended"] = True
    used = total([*{**scheduler.run.records, **batch.nodes}.values()])
    return {**entries, "ended_at": scheduler.stamp(), **({"usage": used} if used else {})}


def _beside(scheduler: Scheduler) -> Record:
    """What was undone and what was not, and what failed beside the first failure."""
    records, found = scheduler.run.records, dict[str, Json]()
    if (undo := records.get("undo")) is not None and "order" in undo:
        ends = [(path, records.get(f"undo[{i}]", {})) for i, path in enumerate(undo["order"])]
        found["undo"] = {
            "done": [path for path, end in ends if end.get("status") == "done"],
            "not_done": [
                {"step": path, "error": end.get("error")} for path, end in ends if end.get("status") != "done"
            ],
        }
    plan = scheduler.run.plan
    blocks = {step_id for scope in plan.scopes.values() for step_id in scope.stages.values()}
    errors = [record["error"] for path, record in records.items() if record.get("error") and bare(path) in blocks]
    if errors:
        found["also"] = errors
    return found


def elapsed(record: Record) -> float:
    """Seconds between a record's start and end; 0 where it never started."""
    if "started_at" not in record:
        return 0.0
    begin, end = datetime.fromisoformat(record["started_at"]), datetime.fromisoformat(record["ended_at"])
    return round((end - begin).total_seconds(), 4)
