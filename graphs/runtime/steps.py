"""The LangGraph node of each step: attends to the step's instances, and says where the flow goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeAlias

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime
from langgraph.types import Command, Send, interrupt

from graphs.analysis.plan import PlannedStep
from graphs.runtime.attempts import fitting
from graphs.runtime.batch import Batch
from graphs.runtime.ends import cancel, finish, settle_failure, settle_outcome, settle_skip
from graphs.runtime.loops import attend_loop
from graphs.runtime.run import Instance, Record
from graphs.runtime.scheduler import Scheduler, Work
from nodes.base import Outcome
from nodes.human import HumanNode, accepted
from state.errors import AnswerRefused, Fault
from state.graph import Trigger
from state.values import Json

SCHEDULER = "__cogwork_scheduler"
"""The ``configurable`` key of the scheduler; LangGraph persists no key that begins with two underscores."""
Attend: TypeAlias = Callable[[Scheduler, PlannedStep, Any, RunnableConfig], Awaitable["Command[Any] | None"]]


def langgraph_node(planned: PlannedStep) -> Callable[..., Awaitable[Command[Any] | None]]:
    """The function that LangGraph runs for a step."""
    attend = _attending(planned)

    async def node(state: Trigger, config: RunnableConfig, runtime: Runtime[Any]) -> Command[Any] | None:
        scheduler: Scheduler | None = config["configurable"].get(SCHEDULER)
        if scheduler is None:
            raise RuntimeError("A workflow's nodes run only through the graph that cogwork compiled")
        scheduler.enter(config["metadata"]["langgraph_step"], runtime.stream_writer)
        if not (isinstance(state, dict) and "ask" in state):
            scheduler.passed.add(planned.id)
        return await attend(scheduler, planned, state, config)

    node.__name__ = node.__qualname__ = planned.id
    return node


def _attending(planned: PlannedStep) -> Attend:
    node = planned.node
    if node is None:
        return _attend_loop
    if isinstance(node, HumanNode):
        return _attend_human
    return _attend_pure if node.pure else _attend_work


# -- pure nodes: condition, transform --------------------------------------------------------------------------


async def _attend_pure(
    scheduler: Scheduler, planned: PlannedStep, state: Any, config: RunnableConfig
) -> Command[Any] | None:
    batch = Batch(scheduler)
    for member in begun(scheduler, batch, planned):
        compute(scheduler, batch, member)
    return finish(scheduler, batch)


def compute(scheduler: Scheduler, batch: Batch, member: Instance) -> None:
    """Settle the instance of a pure node at once."""
    node = member.planned.node
    assert node is not None
    started = scheduler.stamp()
    try:
        outcome = fitting(node, node.compute(scheduler.call(member, None)), scheduler.services)
    except Fault as fault:
        settle_failure(scheduler, batch, member, fault, attempts=1, started_at=started)
    else:
        settle_outcome(scheduler, batch, member, outcome, attempts=1, started_at=started)


# -- nodes with work: llm, tool --------------------------------------------------------------------------------


async def _attend_work(
    scheduler: Scheduler, planned: PlannedStep, state: Any, config: RunnableConfig
) -> Command[Any] | None:
    batch, step_id = Batch(scheduler), planned.id
    for member in begun(scheduler, batch, planned):
        scheduler.start(member, config)
    if not batch and scheduler.work.get(step_id):
        tasks = scheduler.work[step_id]
        await scheduler.attend(step_id, lambda: any(work.task.done() for work in tasks.values()))
    for work in scheduler.finished(step_id):
        settle_work(scheduler, batch, work)
    return finish(scheduler, batch, step_id if scheduler.work.get(step_id) else None)


def settle_work(scheduler: Scheduler, batch: Batch, work: Work) -> None:
    """Settle the instance whose task has ended."""
    more: Record = {"attempts": work.call.attempt, "started_at": work.started_at}
    if work.task.cancelled() and scheduler.run.failing(work.member.frame):
        cancel(scheduler, batch, work.member, more)
        return
    error = Fault("cancelled", "the call was cancelled from within") if work.task.cancelled() else work.task.exception()
    if error is None:
        settle_outcome(scheduler, batch, work.member, work.task.result(), **more)
    elif isinstance(error, Fault):
        settle_failure(scheduler, batch, work.member, error, **more)
    else:
        fault = Fault("internal", f"{type(error).__name__}: {error}"[:2000])
        settle_failure(scheduler, batch, work.member, fault, **more)


# -- people ----------------------------------------------------------------------------------------------------


async def _attend_human(
    scheduler: Scheduler, planned: PlannedStep, state: Any, config: RunnableConfig
) -> Command[Any] | None:
    path = state.get("ask") if isinstance(state, dict) else None
    if path is not None:
        return await _ask(scheduler, planned, path)
    batch = Batch(scheduler)
    for member in begun(scheduler, batch, planned):
        _question(scheduler, batch, member)
    return finish(scheduler, batch)


def _question(scheduler: Scheduler, batch: Batch, member: Instance) -> None:
    """Put the question into the checkpoint; it is asked when nothing else can go on."""
    node = member.planned.step
    assert isinstance(node, HumanNode)
    try:
        question = node.question(scheduler.call(member, None))
    except Fault as fault:
        settle_failure(scheduler, batch, member, fault, attempts=1)
        return
    record: Record = {"status": "waiting", "question": question, "started_at": scheduler.stamp()}
    if node.timeout is not None:
        record["deadline"] = (scheduler.now() + timedelta(seconds=node.timeout)).isoformat()
    batch.note(member.path, record)
    batch.sends.append(Send(member.planned.id, {"ask": member.path}))

    def become() -> None:
        member.state = "waiting"
        scheduler.run.asked[member.path] = member
        scheduler.run.hold(member.frame, -1)

    batch.transitions.append(become)
    scheduler.emit("step.waiting", member.path, **question)


async def _ask(scheduler: Scheduler, planned: PlannedStep, path: str) -> Command[Any] | None:
    """Ask the person, or take the answer; yield while anything else can go on.

    Questions are asked in a superstep of their own, so that the state names them, and nothing else, as what comes next.
    """
    await asyncio.sleep(0)
    member = scheduler.run.asked.get(path)
    if member is None:
        return None
    batch, record = Batch(scheduler), scheduler.run.records[path]
    node = planned.step
    assert isinstance(node, HumanNode)
    if scheduler.run.failing(member.frame):
        del scheduler.run.asked[path]
        scheduler.answers.pop(path, None)
        scheduler.run.hold(member.frame, 1)
        cancel(scheduler, batch, member, {"started_at": record["started_at"]})
        return finish(scheduler, batch)
    if path not in scheduler.answers and path not in scheduler.expired and (scheduler.passed or not scheduler.quiet):
        if not scheduler.pending and not scheduler.quiet:
            await scheduler.attend(path, lambda: bool(scheduler.pending) or scheduler.quiet)
        return Command(goto=[Send(planned.id, {"ask": path})])
    _take_answer(scheduler, batch, member, node, record)
    return finish(scheduler, batch)


def _take_answer(scheduler: Scheduler, batch: Batch, member: Instance, node: HumanNode, record: Record) -> None:
    """Settle the question with its answer; raises LangGraph's interrupt where there is none yet."""
    path, more = member.path, {"attempts": 1, "started_at": record["started_at"]}
    if path not in scheduler.expired:
        asked = {"run": scheduler.about["id"], **record["question"]}
        if "deadline" in record:
            asked["deadline"] = record["deadline"]
        scheduler.answers.pop(path, None)
        answer = _answer(scheduler, node, asked)
    elif node.on_timeout is not None:
        answer, more = accepted(path, node.form, node.on_timeout), {**more, "timed_out": True}
    scheduler.run.hold(member.frame, 1)
    if path in scheduler.expired and node.on_timeout is None:
        fault = Fault("timeout", f"nobody answered by {record['deadline']}")
        settle_failure(scheduler, batch, member, fault, **more)
        return
    settle_outcome(scheduler, batch, member, Outcome(value=answer), **more)


def _answer(scheduler: Scheduler, node: HumanNode, question: dict[str, Json]) -> Json:
    """The person's answer; raises LangGraph's interrupt where there is none yet.

    Calls of the graph itself check answers before anything runs. Within a graph of somebody else's they arrive unchecked
    and are in the checkpoint already: a wrong one is followed by the same question, with the reason as ``refused``.
    """
    while True:
        try:
            return accepted(question["at"], node.form, interrupt(question, response_schema=node.form))
        except AnswerRefused as refused:
            question = {**question, "refused": refused.faults}
            scheduler.wake_people()


# -- loops and used workflows ----------------------------------------------------------------------------------


async def _attend_loop(
    scheduler: Scheduler, planned: PlannedStep, state: Any, config: RunnableConfig
) -> Command[Any] | None:
    batch = Batch(scheduler)
    attend_loop(scheduler, batch, planned, begun(scheduler, batch, planned))
    return finish(scheduler, batch)


# -- common ----------------------------------------------------------------------------------------------------


def begun(scheduler: Scheduler, batch: Batch, planned: PlannedStep) -> list[Instance]:
    """The instances of a step that are to start now; those that will not are settled."""
    members = scheduler.run.take(planned.id)
    return [member for member in members if _starts(scheduler, batch, member)]


def _starts(scheduler: Scheduler, batch: Batch, member: Instance) -> bool:
    run = scheduler.run
    if run.failing(member.frame):
        cancel(scheduler, batch, member, {})
        return False
    verdict = member.verdict
    if not isinstance(verdict, str):
        settle_skip(scheduler, batch, member, verdict.cause)
        return False
    limit = run.plan.spec.limits.max_steps
    if limit is not None and run.started >= limit:
        fault = Fault("budget_exceeded", f"the run has used its limit of {limit} steps", origin="workflow")
        settle_failure(scheduler, batch, member, fault)
        return False
    return member.planned.step.when is None or _when(scheduler, batch, member)


def _when(scheduler: Scheduler, batch: Batch, member: Instance) -> bool:
    try:
        holds = scheduler.call(member, None).value("/when")
        if not isinstance(holds, bool):
            raise Fault("invalid_input", f"when: must be true or false, not {holds!r:.80}")
    except Fault as fault:
        settle_failure(scheduler, batch, member, fault)
        return False
    if not holds:
        settle_skip(scheduler, batch, member, {"reason": "when_false", "by": member.path})
    return holds
