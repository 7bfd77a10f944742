"""The questions of a run as they are put into the checkpoint: human steps, calls in doubt, limits that are used up."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from langgraph.types import Send

from graphs.analysis.plan import PlannedStep
from graphs.runtime.batch import Batch
from graphs.runtime.ends import settle_failure
from graphs.runtime.frames import Instance, Record
from graphs.runtime.scheduler import Scheduler
from nodes.human import HumanNode
from nodes.tool import ToolNode
from state.errors import Asked, Fault, InDoubt
from state.schemas import faults
from state.values import Json, Schema

BUDGET: Final = "run"
"""The path of the question for a higher limit; no step may bear that name."""
PERSONAL: Final = frozenset({"human", "approval", "elicitation"})
"""The kinds of questions to a person that the workflow foresees: its own, an agent's and a tool's."""
_RESOLUTION: Final[dict[str, Json]] = {
    "enum": ["done", "not_done", "retry"],
    "description": "done: it took place; not_done: it did not, the call has failed; retry: call it again.",
}
_RESULT: Final = "The call's result, where it took place."


def doubt_form(schema: Schema) -> dict[str, Json]:
    """What may be said of a call in doubt; ``schema`` is that of the call's result, which has to fit where it was done."""
    described = {"description": _RESULT, **schema}
    shared: dict[str, Json] = {name: described.pop(name) for name in ("$defs", "definitions") if name in described}
    form: dict[str, Json] = {
        "type": "object",
        "properties": {"resolution": _RESOLUTION, "result": described},
        "required": ["resolution"],
        "additionalProperties": False,
        **shared,
    }
    if faults(schema, None):
        form |= {"if": {"properties": {"resolution": {"const": "done"}}}, "then": {"required": ["result"]}}
    return form


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
        "form": doubt_form(_result_schema(scheduler, member, doubt.target)),
    }
    error = doubt.record(node=member.path, pointer=member.planned.pointer)
    record: Record = {"status": "waiting", "question": question, "doubt": {"key": doubt.key, "error": error}, **more}
    _put(scheduler, batch, member, record)


def asked_question(scheduler: Scheduler, batch: Batch, member: Instance, asked: Asked, more: Record) -> None:
    """Ask a person what a call needs to know before it does anything."""
    question: Record = {
        "kind": "elicitation",
        "at": member.path,
        "ask": asked.message,
        "show": {**asked.show, "tool": asked.target},
        "form": asked.form,
    }
    about: Record = {"key": asked.key, "id": asked.id, "tool": asked.target, "kept": asked.kept}
    _put(scheduler, batch, member, {"status": "waiting", "question": question, "asked": about, **more})


def _result_schema(scheduler: Scheduler, member: Instance, target: str) -> Schema:
    """What the call in doubt promises: what its step declares of its own tool, else what the tool says."""
    node = member.planned.step
    if isinstance(node, ToolNode) and node.tool == target and member.planned.kind != "undo":
        return node.result_schema(scheduler.services)
    tool = scheduler.services.tools.find(target)
    return tool.output_schema if tool is not None else {}


def _put(scheduler: Scheduler, batch: Batch, member: Instance, record: Record) -> None:
    batch.note(member.path, record)
    batch.sends.append(Send(member.planned.id, {"ask": member.path}))

    def become() -> None:
        member.state = "waiting"
        scheduler.enabling.discard(member.path)
        scheduler.run.asked[member.path] = member
        if "doubt" in record:
            member.frame.open.add(member.path)
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
