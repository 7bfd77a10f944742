"""What people are asked in a run: the questions of its human steps, calls in doubt, and limits that are used up.

A question is a record in the checkpoint and a task of its own (``Send``), addressed by its path. It is asked, by LangGraph's
interrupt, when nothing else can go on, in a superstep that asks and does nothing else: then the state names questions, and
nothing else, as what comes next, and says that the run rests.
"""

from __future__ import annotations

import asyncio
from typing import Any

from langgraph.types import Command, Send, interrupt

from graphs.analysis.plan import PlannedStep
from graphs.runtime.batch import Batch
from graphs.runtime.ends import cancel, finish, settle_failure, settle_outcome, settle_skip
from graphs.runtime.frames import Instance, Record
from graphs.runtime.questions import BUDGET, PERSONAL
from graphs.runtime.race import lost_around, lost_to
from graphs.runtime.recording import Recording
from graphs.runtime.scheduler import Scheduler
from graphs.runtime.undoing import take_back
from graphs.runtime.work import Resolve, start
from nodes.base import Outcome
from nodes.human import HumanNode, accepted
from state.errors import AnswerRefused, Fault
from state.values import Json


async def ask(scheduler: Scheduler, planned: PlannedStep, path: str) -> Command[Any] | None:
    """Ask the person, or take the answer; yield while anything else can go on."""
    await asyncio.sleep(0)
    if path == BUDGET:
        return await _ask_budget(scheduler, planned)
    member = scheduler.run.asked.get(path)
    if member is None:
        return None
    batch, record = Batch(scheduler), scheduler.run.records[path]
    if "doubt" not in record and _void(scheduler, batch, member, record):
        return finish(scheduler, batch)
    known = path in scheduler.answers or path in scheduler.expired
    if not known and (resting := await _resting(scheduler, batch, planned, path, record["question"])):
        return resting
    _take(scheduler, batch, member, record)
    return finish(scheduler, batch)


async def _resting(
    scheduler: Scheduler, batch: Batch, planned: PlannedStep, path: str, question: Record
) -> Command[Any] | None:
    """The command that puts the question off: others can go on, or the state does not yet say that the run rests."""
    again: Command[Any] = Command(goto=[Send(planned.id, {"ask": path})])
    if scheduler.stopping:
        batch.sends.append(Send(planned.id, {"ask": path}))
        return finish(scheduler, batch)
    if scheduler.passed or not scheduler.quiet:
        if not scheduler.pending and not scheduler.quiet:
            await scheduler.attend(path, lambda: bool(scheduler.pending) or scheduler.quiet)
        return again
    if scheduler.about.get("status") != "paused":
        kind = question.get("kind", "human")
        batch.run(**scheduler.moved("paused", reason="human" if kind in PERSONAL else kind))
        batch.sends.append(Send(planned.id, {"ask": path}))
        return batch.command()
    return None


def _void(scheduler: Scheduler, batch: Batch, member: Instance, record: Record) -> bool:
    """Whether nobody needs the answer any more; what a call in doubt did to the world, one needs to know in any case."""
    failing, lost = scheduler.run.failing(member.frame), lost_to(scheduler, member)
    if failing or lost_around(scheduler, member.frame):
        withdraw(scheduler, batch, member)
        cancel(scheduler, batch, member, {"started_at": record["started_at"]})
    elif lost is not None:
        withdraw(scheduler, batch, member)
        settle_skip(scheduler, batch, member, lost)
    else:
        return False
    return True


def withdraw(scheduler: Scheduler, batch: Batch, member: Instance) -> None:
    """The question is not asked any more; the instance counts as active until its end is in the checkpoint."""
    scheduler.run.asked.pop(member.path, None)
    scheduler.answers.pop(member.path, None)
    member.frame.open.discard(member.path)
    scheduler.run.hold(member.frame, 1)


def _take(scheduler: Scheduler, batch: Batch, member: Instance, record: Record) -> None:
    """Settle the question with its answer; raises LangGraph's interrupt where there is none yet."""
    if "doubt" in record:
        _take_resolution(scheduler, batch, member, record)
        return
    if "asked" in record:
        _take_answer(scheduler, batch, member, record)
        return
    node, path = member.planned.step, member.path
    assert isinstance(node, HumanNode)
    more: Record = {"attempts": 1, "started_at": record["started_at"]}
    if path not in scheduler.expired:
        asked = {"run": scheduler.about["id"], **record["question"]}
        if "deadline" in record:
            asked["deadline"] = record["deadline"]
        answer = _answer(scheduler, asked)
    elif node.on_timeout is not None:
        answer, more = accepted(path, node.form, node.on_timeout), {**more, "timed_out": True}
    withdraw(scheduler, batch, member)
    if path in scheduler.expired and node.on_timeout is None:
        fault = Fault("timeout", f"nobody answered by {record['deadline']}")
        settle_failure(scheduler, batch, member, fault, **more)
        return
    settle_outcome(scheduler, batch, member, Outcome(value=answer), **more)


def _take_resolution(scheduler: Scheduler, batch: Batch, member: Instance, record: Record) -> None:
    """Note in the record of calls what the person says of the call in doubt, and let the step go on from there."""
    answer = _begin_again(scheduler, batch, member, record)
    resolve = _resolving(answer, record["doubt"]["key"], record["question"]["show"]["tool"])
    if member.planned.kind == "undo":
        take_back(scheduler, batch, member, resolve=resolve)
    else:
        start(scheduler, member, None, resolve=resolve)


def _take_answer(scheduler: Scheduler, batch: Batch, member: Instance, record: Record) -> None:
    """Note what the call has asked for in the record of calls, and make it again."""
    answer, about = _begin_again(scheduler, batch, member, record), record["asked"]

    async def resolve(recording: Recording) -> None:
        given = {"answer": answer, "kept": about["kept"]}
        await recording.answered(about["key"], about["tool"], about["id"], given)

    start(scheduler, member, None, resolve=resolve)


def _begin_again(scheduler: Scheduler, batch: Batch, member: Instance, record: Record) -> dict[str, Json]:
    """The answer with which the step's work begins anew; raises LangGraph's interrupt where there is none yet."""
    answer: dict[str, Json] = _answer(scheduler, {"run": scheduler.about["id"], **record["question"]})
    withdraw(scheduler, batch, member)
    more: Record = {k: v for k, v in record.items() if k in ("attempts", "started_at")}
    batch.note(member.path, {"status": "again", **more})
    batch.wake([member.planned.id])
    member.state = "active"
    return answer


def _resolving(answer: dict[str, Json], key: str, tool: str) -> Resolve:
    """What is changed in the record of calls: the call is done, has failed, or may be made again."""

    async def resolve(recording: Recording) -> None:
        match answer["resolution"]:
            case "done":
                await recording.take(key, answer.get("result"))
            case "not_done":
                recording.failed(key, Fault("tool_error", f"{tool} did not take place, a person says", origin="tool"))
            case _:
                await recording.forget(key)

    return resolve


async def _ask_budget(scheduler: Scheduler, planned: PlannedStep) -> Command[Any] | None:
    """Ask for a higher limit, and let what was held back go on."""
    batch, about = Batch(scheduler), scheduler.about
    question = about.get("budget")
    if not question:
        return None
    if scheduler.run.top.error is None and (BUDGET in scheduler.answers or scheduler.budget.reached()):
        if BUDGET not in scheduler.answers and (resting := await _resting(scheduler, batch, planned, BUDGET, question)):
            return resting
        scheduler.budget.raise_to(_answer(scheduler, question))
        about["limits"] = dict(scheduler.budget.limits)
    scheduler.answers.pop(BUDGET, None)
    about["budget"] = None
    batch.run(budget=None, limits=about.get("limits"))
    batch.wake(scheduler.release())
    return finish(scheduler, batch)


def _answer(scheduler: Scheduler, question: dict[str, Json]) -> Any:
    """The person's answer; raises LangGraph's interrupt where there is none yet.

    Calls of the graph itself check answers before anything runs. Within a graph of somebody else's they arrive unchecked
    and are in the checkpoint already: a wrong one is followed by the same question, with the reason as ``refused``.
    """
    scheduler.answers.pop(question["at"], None)
    while True:
        try:
            return accepted(question["at"], question["form"], interrupt(question, response_schema=question["form"]))
        except AnswerRefused as refused:
            question = {**question, "refused": refused.faults}
            scheduler.wake_people()
