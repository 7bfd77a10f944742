"""The work of llm and tool nodes: started as tasks of the run, settled when they have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

from langchain_core.runnables import RunnableConfig

from graphs.runtime.attempts import FellBack, Retried, attempt_all
from graphs.runtime.batch import Batch
from graphs.runtime.frames import Instance, Record
from graphs.runtime.race import RACE, lost_around, lost_to
from graphs.runtime.recording import Recording
from graphs.runtime.scheduler import Scheduler, Work
from nodes.agent import AgentCall
from nodes.base import CallingNode, Node, Outcome, StepCall
from state.errors import Fault

Resolve: TypeAlias = Callable[[Recording], Awaitable[None]]
"""Notes in the record of calls what a person says of a call in doubt."""


def start(
    scheduler: Scheduler, member: Instance, config: RunnableConfig | None, *, resolve: Resolve | None = None
) -> None:
    """Begin the work of an instance; with ``resolve`` go on with it, once that is in the record."""
    node = member.planned.node
    assert isinstance(node, CallingNode)
    scheduler.run.started += resolve is None and member.path not in (scheduler.about.get("given") or {})
    call = scheduler.call(member, config)
    bound = node.bound(call)
    launch(scheduler, member, bound, call, resolve=resolve)
    scheduler.emit("step.started", member.path, **called(bound))


def called(node: Node) -> Record:
    """The tool that an agent's model calls, where the node is such a call: no spec names it."""
    return {"tool": node.tool} if isinstance(node, AgentCall) else {}


def launch(
    scheduler: Scheduler, member: Instance, node: CallingNode, call: StepCall, *, resolve: Resolve | None = None
) -> None:
    """Run the node's attempts as a task of this run."""
    retried, fell_back = _telling(scheduler, member)

    async def work() -> Outcome:
        if resolve is not None and scheduler.recording is not None:
            await resolve(scheduler.recording)
        return await attempt_all(node, call, retried, fell_back)

    made: Coroutine[Any, Any, Outcome] = work()
    task = asyncio.create_task(made)
    scheduler.launched(Work(member=member, node=node, task=task, call=call, started_at=scheduler.stamp()))


def _telling(scheduler: Scheduler, member: Instance) -> tuple[Retried, FellBack]:
    def error(fault: Fault) -> dict[str, Any]:
        return fault.record(node=member.path, pointer=member.planned.pointer)

    def retried(attempt: int, wait: float, fault: Fault) -> None:
        scheduler.emit("step.retry", member.path, attempt=attempt, wait=round(wait, 3), error=error(fault))
        _rests(scheduler, member)

    def fell_back(name: str, fault: Fault) -> None:
        scheduler.emit("step.fallback", member.path, fallback=name, error=error(fault))

    return retried, fell_back


def _rests(scheduler: Scheduler, member: Instance) -> None:
    """The work waits for its next attempt: none is made once what it belongs to has failed or lost a race."""
    work = scheduler.work.get(member.planned.id, {}).get(member.path)
    if work is not None and member.planned.kind != "undo":
        if scheduler.run.failing(member.frame) or lost_around(scheduler, member.frame):
            work.task.cancel()
        elif lost_to(scheduler, member) is not None:
            scheduler.cut_off(work, RACE)
    scheduler.wake(member.planned.id)


def hold_back(scheduler: Scheduler, batch: Batch, member: Instance) -> None:
    """The instance may not start now, as a limit is used up; it starts when that is raised."""
    member.state = "new"
    scheduler.held[member.path] = member
    scheduler.enabling.discard(member.path)
    scheduler.run.hold(member.frame, -1)
