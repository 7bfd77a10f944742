"""The LangGraph node of each step: attends to the step's instances, and says where the flow goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime
from langgraph.types import Command

from graphs.analysis.plan import PlannedStep
from graphs.runtime.asking import ask
from graphs.runtime.attempts import fitting
from graphs.runtime.batch import Batch
from graphs.runtime.budget import TIMEOUT
from graphs.runtime.ends import cancel, finish, settle_failure, settle_outcome, settle_skip, wants_undo
from graphs.runtime.frames import CALLING, Instance, Record, in_stage
from graphs.runtime.loops import attend_loop
from graphs.runtime.losers import give_up
from graphs.runtime.questions import asked_question, budget_question, doubt_question, human_question
from graphs.runtime.race import RACE, lost_around, lost_to
from graphs.runtime.scheduler import Scheduler, Work
from graphs.runtime.undoing import attend_undo
from graphs.runtime.work import called, hold_back, start
from nodes.human import HumanNode
from state.errors import Asked, CogworkError, Fault, InDoubt
from state.graph import Trigger

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
        if isinstance(state, dict) and "ask" in state:
            return await ask(scheduler, planned, str(state["ask"]))  # type: ignore[typeddict-item]
        scheduler.passed.add(planned.id)
        return await attend(scheduler, planned, state, config)

    node.__name__ = node.__qualname__ = planned.id
    return node


def _attending(planned: PlannedStep) -> Attend:
    node = planned.node
    if planned.kind == "undo":
        return _attend_undo
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
        start(scheduler, member, config)
    if not batch and scheduler.work.get(step_id):
        tasks = scheduler.work[step_id]
        await scheduler.attend(step_id, lambda: any(work.task.done() for work in tasks.values()))
    for work in scheduler.finished(step_id):
        settle_work(scheduler, batch, work)
    return finish(scheduler, batch, step_id if scheduler.work.get(step_id) else None)


def settle_work(scheduler: Scheduler, batch: Batch, work: Work) -> None:
    """Settle the instance whose task has ended.

    Raises:
        CogworkError: what is no fault of the step, such as a record that cannot be written: the call of the graph ends.
    """
    member = work.member
    more: Record = {"attempts": work.call.attempt, "started_at": work.started_at, **called(work.node)}
    if work.task.cancelled() and _settle_cut_off(scheduler, batch, member, more):
        return
    error = Fault("cancelled", "the call was cancelled from within") if work.task.cancelled() else work.task.exception()
    if error is None:
        settle_outcome(scheduler, batch, member, work.task.result(), **more)
    elif isinstance(error, InDoubt) and scheduler.durable:  # without checkpoints nobody can ever say
        doubt_question(scheduler, batch, member, error, more)
    elif isinstance(error, Fault):
        settle_failure(scheduler, batch, member, error, **more)
    elif isinstance(error, Asked) and scheduler.durable:
        asked_question(scheduler, batch, member, error, more)
    elif isinstance(error, Asked):
        told = f"{error.target} asks a person ({error.message}), and without checkpoints nobody can answer"
        settle_failure(scheduler, batch, member, Fault("refused", told[:2000], origin="tool"), **more)
    elif isinstance(error, CogworkError):
        raise error
    else:
        fault = Fault("internal", f"{type(error).__name__}: {error}"[:2000])
        settle_failure(scheduler, batch, member, fault, **more)


def _settle_cut_off(scheduler: Scheduler, batch: Batch, member: Instance, more: Record) -> bool:
    """Whether the work was given up by the run itself, and what that means for the instance."""
    why = scheduler.given_up.pop(member.path, "")
    if scheduler.run.failing(member.frame) or lost_around(scheduler, member.frame):
        cancel(scheduler, batch, member, more)
    elif why == RACE and (lost := lost_to(scheduler, member)):
        settle_skip(scheduler, batch, member, lost)
    elif why == TIMEOUT:
        scheduler.run.started -= 1  # it is begun anew
        hold_back(scheduler, batch, member)
        budget_question(scheduler, batch, member.planned, TIMEOUT)
    else:
        return False
    return True


# -- people ----------------------------------------------------------------------------------------------------


async def _attend_human(
    scheduler: Scheduler, planned: PlannedStep, state: Any, config: RunnableConfig
) -> Command[Any] | None:
    batch = Batch(scheduler)
    for member in begun(scheduler, batch, planned):
        human_question(scheduler, batch, member)
    return finish(scheduler, batch)


# -- loops and used workflows ----------------------------------------------------------------------------------


async def _attend_loop(
    scheduler: Scheduler, planned: PlannedStep, state: Any, config: RunnableConfig
) -> Command[Any] | None:
    batch = Batch(scheduler)
    if planned.kind == "stage":
        scheduler.run.summon(planned, undo=wants_undo(scheduler))
    attend_loop(scheduler, batch, planned, list(begun(scheduler, batch, planned)))
    return finish(scheduler, batch)


async def _attend_undo(
    scheduler: Scheduler, planned: PlannedStep, state: Any, config: RunnableConfig
) -> Command[Any] | None:
    batch, tasks = Batch(scheduler), scheduler.work.setdefault(planned.id, {})
    scheduler.run.summon(planned, undo=wants_undo(scheduler))
    attend_undo(scheduler, batch, planned, scheduler.run.take(planned.id), state.get("path") or [])
    if tasks and not batch:
        await scheduler.attend(planned.id, lambda: any(work.task.done() for work in tasks.values()))
        attend_undo(scheduler, batch, planned, [], [])
    return finish(scheduler, batch, planned.id if tasks else None)


# -- common ----------------------------------------------------------------------------------------------------


def begun(scheduler: Scheduler, batch: Batch, planned: PlannedStep) -> Iterator[Instance]:
    """The instances of a step that are to start now; those that will not are settled, held back, or left for later.

    Each is judged once the one before it has started, as that may have used up a limit.
    """
    if not scheduler.stopping:
        yield from (member for member in scheduler.run.take(planned.id) if _starts(scheduler, batch, member))


def _starts(scheduler: Scheduler, batch: Batch, member: Instance) -> bool:
    run = scheduler.run
    if member.planned.kind == "stage":
        return True
    if member.path in scheduler.interrupted:
        scheduler.interrupted.discard(member.path)
        return True
    if run.failing(member.frame) or lost_around(scheduler, member.frame):
        cancel(scheduler, batch, member, {})
        return False
    verdict, lost = member.verdict, lost_to(scheduler, member)
    if lost is not None or not isinstance(verdict, str):
        settle_skip(scheduler, batch, member, lost if lost is not None else verdict.cause)  # type: ignore[union-attr]
        return False
    calling = member.planned.kind in CALLING and member.path not in (scheduler.about.get("given") or {})
    limited = scheduler.budget.limits and calling and not in_stage(member.frame)
    if limited and (limit := scheduler.budget.reached()):
        hold_back(scheduler, batch, member)
        budget_question(scheduler, batch, member.planned, limit)
        return False
    if member.planned.step.when is not None and not _when(scheduler, batch, member):
        return False
    if member.planned.losers:
        give_up(scheduler, batch, member)
    return True


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
