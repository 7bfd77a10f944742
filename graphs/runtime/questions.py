"""The questions of a run as they are put into the checkpoint: human steps, calls in doubt, limits that are used up."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from langgraph.types import Send

from graphs.analysis.plan import PlannedStep
from graphs.runtime.batch import Batch
from graphs.runtime.ends import settle_failure
from graphs.runtime.run import Instance, Record
from graphs.runtime.scheduler import Scheduler
from nodes.human import HumanNode
from state.errors import Fault, InDoubt
from state.values import Json

BUDGET: Final = "run"
"""The path of the question for a higher limit; no step may bear that name."""
DOUBT_FORM: Final[dict[str, Json]] = {
    "type": "object",
    "properties": {
        "resolution": {
            "enum": ["done", "not_done", "retry"],
            "description": "done: it took place; not_done: it did not, the step has failed; retry: call it again.",
        },
        "result": {"description": "The call's result, where it took place and later steps need it."},
    },
    "required": ["resolution"],
    "additionalProperties": False,
}


def human_question(scheduler: Scheduler, batch: Batch, member: Instance) -> None:
    """Put the question of a human step into the checkpoint."""
    node = member.planned.step
    assert isinstance(node, HumanNode)
    try:
        question = node.question(scheduler.call(member, None))
    except Fault as fault:
        settle_failure(scheduler, batch, member, fault, attempts=1)
        return
    record: Record = {"status": "waiting", "question": {"kind": "human", **question}, "started_at": scheduler.stamp()}
    if node.timeout is not None:
        record["deadline"] = (scheduler.now() + timedelta(seconds=node.timeout)).isoformat()
    _put(scheduler, batch, member, record)


def doubt_question(scheduler: Scheduler, batch: Batch, member: Instance, doubt: InDoubt, more: Record) -> None:
    """Ask a person what became of a call that nobody may repeat blindly."""
    question: Record = {
        "kind": "in_doubt",
        "at": member.path,
        "ask": f"Did {doubt.target} take place? {doubt.message}",
        "show": {"tool": doubt.target, "args": doubt.arguments, "begun_at": doubt.begun_at},
        "form": DOUBT_FORM,
    }
    error = doubt.record(node=member.path, pointer=member.planned.pointer)
    record: Record = {"status": "waiting", "question": question, "doubt": {"key": doubt.key, "error": error}, **more}
    _put(scheduler, batch, member, record)


def _put(scheduler: Scheduler, batch: Batch, member: Instance, record: Record) -> None:
    batch.note(member.path, record)
    batch.sends.append(Send(member.planned.id, {"ask": member.path}))

    def become() -> None:
        member.state = "waiting"
        scheduler.enabling.discard(member.path)
        scheduler.run.asked[member.path] = member
        scheduler.run.hold(member.frame, -1)

    batch.transitions.append(become)
    scheduler.emit("step.waiting", member.path, **record["question"])


def budget_question(scheduler: Scheduler, batch: Batch, planned: PlannedStep, limit: str) -> None:
    """Ask for a higher limit, unless that is asked already."""
    if scheduler.about.get("budget"):
        return
    question = scheduler.budget.question(scheduler.about["id"], limit)
    scheduler.about["budget"] = question
    batch.run(budget=question, worked=scheduler.budget.worked)
    batch.sends.append(Send(planned.id, {"ask": BUDGET}))
    scheduler.emit("step.waiting", BUDGET, **question)
