"""The driver of a run: starts work as soon as it may start, and ends a superstep as soon as that helps.

LangGraph's supersteps would make every branch wait for the slowest. Here the work of a step is a task of the run, and the
LangGraph node only attends to it: it returns when its work is done, or yields (``goto`` itself) when other work that has
finished lets something start. Whether it should yield is read from what is finished and not yet in the checkpoint, a
level and not an edge, so that no wake-up is lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.runnables import RunnableConfig

from graphs.runtime.batch import Batch
from graphs.runtime.budget import TIMEOUT, Budget
from graphs.runtime.calling import step_call
from graphs.runtime.environment import names
from graphs.runtime.frames import CALLING, Frame, Instance, Record, in_stage, settled, within
from graphs.runtime.run import Run
from nodes.base import Node, Outcome, StepCall, Then
from state.errors import Fault
from state.events import Event, EventKind
from state.services import Services, Within
from state.values import Json

if TYPE_CHECKING:
    from langgraph.cache.base import BaseCache

    from graphs.runtime.recording import Recording
    from state.durable import Witness

COALESCE_ABOVE = 48
"""With more waiting nodes than this, wake-ups are gathered for a moment: each costs a superstep over all of them."""
SECONDS_PER_WAITER = 0.00012
_CUT_OFF = ""
"""Stands among the paths that enable something for those that did so before the process died."""
DRAIN_POLL = 0.05
"""Seconds between two looks at whether the caller wants the run to pause."""


@dataclass(slots=True, kw_only=True, eq=False)
class Work:
    """The running task of one instance."""

    member: Instance
    node: Node
    task: asyncio.Task[Outcome]
    call: StepCall
    started_at: str


class Scheduler:
    """Drives one call of the graph; made anew for each from the checkpoint."""

    def __init__(
        self,
        run: Run,
        services: Services,
        about: Record,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.run, self.services, self.about, self.now = run, services, about, now
        self.budget = Budget(run.plan.spec.limits, about, run, time.monotonic)
        self.recording: Recording | None = None
        """What the calls of this run go through."""
        self.cache: BaseCache[Any] | None = None
        self.within = Within()
        """What the calls of tools are told of this run."""
        self.closing = False
        """Whether the call of the graph ends, and with it all work that has not."""
        self.durable = False
        """Whether there are checkpoints, so that the run may rest and go on later."""
        self.resumed = False
        """Whether the run began in an earlier call."""
        self.held: dict[str, Instance] = {}
        """Instances that may not start because a limit is used up."""
        self.given_up: dict[str, str] = {}
        """Paths of instances that are cut off without the run's having failed: to why (``race``, ``budget``)."""
        self.interrupted: set[str] = set()
        """Paths of instances whose write an earlier process had begun: it is taken up, whatever has happened since."""
        self.pausing = ""
        """Why somebody wants the run to rest; empty where nobody does."""
        self.marked = False
        """Whether this call's last superstep has said that the run rests."""
        self.halt: Callable[[], None] = lambda: None
        """Asks LangGraph to end the call after this superstep."""
        self.answers: dict[str, Json] = {}
        """Answers handed in with this call, by path, until they are taken."""
        self.expired: set[str] = set()
        """Questions whose deadline has passed, by path."""
        self.messages: tuple[Any, ...] = ()
        self.first: dict[str, Any] = {}
        """What the first batch of this call writes besides its own."""
        self.draining: Callable[[], bool] | None = None
        self.stepwise = False
        """Whether LangGraph's breakpoints may end the call after any superstep: then no work is left over to the next."""
        self.work: dict[str, dict[str, Work]] = {}
        self.pending: list[Batch] = []
        self.enabling: set[str] = set()
        self.waiters: dict[str, asyncio.Future[None]] = {}
        self.superstep = -1
        self.passed: set[str] = set()
        """The step ids of the nodes of this superstep, but for those that ask people."""
        self.cut_off_before = False
        """Whether some nodes of the checkpoint's superstep had written before the process died: what they enable starts in
        the next superstep, so that nobody may linger in this one."""
        self.telling = False
        """Whether anyone listens to LangGraph's stream of the events."""
        self.witness: Witness | None = None
        """Who keeps a record of the events."""
        self.write: Callable[[Any], None] = lambda chunk: None
        self.context = copy_context()
        """That of a node of this superstep, without which LangGraph streams nothing."""

    # -- supersteps ------------------------------------------------------------------------------------------

    def enter(self, superstep: int, write: Callable[[Any], None]) -> None:
        """A node has been called in this superstep; what earlier ones wrote is now in the checkpoint."""
        if superstep == self.superstep:
            return
        begins = self.superstep < 0
        self.superstep, self.write, self.context = superstep, write, copy_context()
        self.passed.clear()
        batches, self.pending = self.pending, []
        for batch in batches:
            self.run.records.update(batch.nodes)
            self.run.results.update(batch.results)
            self.messages += tuple(batch.messages)
        for batch in batches:
            for become in batch.transitions:
                become()
        self.enabling.discard(_CUT_OFF)
        if begins and self.cut_off_before:
            self.enabling.add(_CUT_OFF)

    def begun(self) -> dict[str, Any]:
        """What the first batch of this call writes besides its own; once."""
        first, self.first = self.first, {}
        return first

    def returned(self, member: Instance, record: Record, value: Json) -> None:
        """An instance's end is on its way to the checkpoint."""
        frame, step_id = member.frame, member.planned.id
        if record["status"] == "done" and step_id in frame.ahead:
            return
        frame.ahead[step_id] = settled(member, record, value)
        if record["status"] == "failed" and not record.get("handled_by"):
            self.fail(frame, record["error"])
        if self.run.enables(member):
            self.enable(member.path)

    def committed(self, member: Instance, record: Record) -> None:
        """An instance's end is in the checkpoint."""
        self.enabling.discard(member.path)
        self.run.settle(member, record)
        self.run.hold(member.frame, -1)

    # -- waiting and waking ------------------------------------------------------------------------------------

    @property
    def quiet(self) -> bool:
        """Whether nothing can go on without a person."""
        return self.run.quiet and not self.pending and not self.answers

    async def attend(self, key: str, done: Callable[[], bool]) -> None:
        """Wait until ``done``, or until the superstep should end; work that must not be cut off is waited for whole."""
        while self.kept(key) or not (done() or self.enabling or self.stopping):
            waiter = self.waiters[key] = asyncio.get_running_loop().create_future()
            try:
                if self.draining is None:
                    await waiter
                else:
                    await asyncio.wait((waiter,), timeout=DRAIN_POLL)
            finally:
                if self.waiters.get(key) is waiter:
                    del self.waiters[key]

    def kept(self, step_id: str) -> bool:
        """Whether the call may end after this superstep, and with it work of the step that has to end first."""
        if not (self.stepwise or self.stopping):
            return False
        unfinished = (work for work in self.work.get(step_id, {}).values() if not work.task.done())
        return any(self.stepwise or self.writing(work) for work in unfinished)

    @property
    def stopping(self) -> bool:
        """Whether the call is to end after this superstep."""
        return bool(self.pausing) or (self.draining is not None and self.draining())

    def enable(self, path: str) -> None:
        """Something that has finished lets something else go on: end the superstep."""
        first = not self.enabling
        self.enabling.add(path)
        if len(self.waiters) <= COALESCE_ABOVE:
            self.wake_all()
        elif first:
            delay = min(0.05, len(self.waiters) * SECONDS_PER_WAITER)
            asyncio.get_running_loop().call_later(delay, self.wake_all)

    def wake_all(self) -> None:
        """Let every attending node look again."""
        for key in list(self.waiters):
            self.wake(key)

    def wake(self, key: str) -> None:
        """Let one attending node look again."""
        waiter = self.waiters.pop(key, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def wake_people(self) -> None:
        """Let the waiting questions look whether it is their turn."""
        for path in self.run.asked:
            self.wake(path)

    # -- work --------------------------------------------------------------------------------------------------

    def launched(self, work: Work) -> None:
        """The work of an instance has begun as a task of this run."""
        self.work.setdefault(work.member.planned.id, {})[work.member.path] = work
        work.task.add_done_callback(lambda task: self._finished(work))

    def _finished(self, work: Work) -> None:
        """A task has ended: note it ahead of the checkpoint, and wake whoever should know."""
        member, task = work.member, work.task
        if task.cancelled() or task.exception() is not None or member.planned.id not in member.frame.members:
            self.enable(member.path)
        else:
            member.frame.ahead[member.planned.id] = settled(member, {"status": "done"}, task.result().value)
            if self.run.enables(member):
                self.enable(member.path)
        self.wake(member.planned.id)
        self.wake_people()

    def finished(self, step_id: str) -> Iterator[Work]:
        """The ended tasks of a step, now the caller's."""
        tasks = self.work.get(step_id, {})
        for path in [path for path, work in tasks.items() if work.task.done()]:
            yield tasks.pop(path)

    def at_work(self) -> Iterator[Work]:
        """The works that have not ended."""
        return (work for tasks in self.work.values() for work in tasks.values() if not work.task.done())

    def call(self, member: Instance, config: RunnableConfig | None) -> StepCall:
        """What the instance's node is called with."""
        return step_call(self, member, config)

    def release(self) -> list[str]:
        """Let the instances that a limit held back start; their step ids, and those of all else that can go on."""
        for member in self.held.values():
            member.state = "ready"
            self.run.ready.setdefault(member.planned.id, []).append(member)
        self.held.clear()
        return self.run.frontier()

    def hold_back_all(self) -> None:
        """Hold back, after a rest at a limit, what would start now and may not: the question stands in the checkpoint."""
        if not self.about.get("budget") or self.run.top.error is not None or not self.budget.reached():
            return
        for step_id in [i for i in self.run.ready if self.run.plan.steps[i].kind in CALLING]:
            members = self.run.ready.pop(step_id)
            self.held.update((member.path, member) for member in members if not in_stage(member.frame))
            if staying := [member for member in members if in_stage(member.frame)]:
                self.run.ready[step_id] = staying
        for member in self.held.values():
            member.state = "new"

    # -- stopping ----------------------------------------------------------------------------------------------

    def pause(self, reason: str) -> None:
        """Start nothing more, let the writes in flight end, and rest."""
        if not self.pausing and not self.about.get("ended"):
            self.pausing = reason or "requested"
            self.context.run(self.emit, "run.pausing", "", reason=self.pausing)
            self.wake_all()

    def cancel(self, reason: str, *, undo: bool, fault: Literal["cancelled", "timeout"] = "cancelled") -> None:
        """End the run as cancelled, or as failed for want of time, with what follows; too late once the last block has begun."""
        last = self.run.top.stages.get("finally")
        if self.run.top.error is not None or self.about.get("ended") or (last is not None and last.state != "new"):
            return
        error = Fault(fault, reason or "the run was cancelled", origin="workflow").record(node="")
        told: Record = {"error": error, **({"cancelled": {"undo": undo}} if fault == "cancelled" else {})}
        self.about |= told
        self.first["run"] = {**self.first.get("run", {}), **told}
        self.fail(self.run.top, error)
        self.enable("")

    def mind_time(self) -> None:
        """Give up what changes nothing once the working time is used up; it starts again when that is raised."""
        if self.budget.timed and not self.run.failed and self.budget.reached() == TIMEOUT:
            for work in self.at_work():
                if not in_stage(work.member.frame) and not self.writing(work):
                    self.cut_off(work, TIMEOUT)

    def cut_off(self, work: Work, why: str) -> None:
        """Give up work that changes nothing, once: it may take time to stop; what becomes of its instance is up to ``why``."""
        if work.member.path not in self.given_up:
            self.given_up[work.member.path] = why
            work.task.cancel()

    # -- ends --------------------------------------------------------------------------------------------------

    def fail(self, frame: Frame, error: Record) -> None:
        """A frame has failed: nothing starts in it, and what has no effect on the world is cancelled."""
        if frame.error is not None:
            return
        frame.error = error
        self.run.failed = True
        for work in self.at_work():
            if frame in within(work.member.frame) and not self.writing(work):
                work.task.cancel()
        self.wake_people()

    def writing(self, work: Work) -> bool:
        """Whether the work may change the world, so that it must not be cut off; not while it waits for its next attempt."""
        call = work.call
        return bool(call.writing) or (not call.resting and work.node.effect_of(self.services) == "write")

    def failure(self, member: Instance, fault: Fault, **more: Json) -> Record:
        """The record of a failed instance, by its ``on_error``."""
        error = fault.record(node=member.path, pointer=member.planned.pointer)
        policy = member.planned.step.on_error
        record: Record = {"status": "failed", "error": error, **more, "ended_at": self.stamp()}
        if policy == "skip":
            record |= {"status": "skipped", "cause": {"reason": "error_ignored", "by": member.path}}
        elif isinstance(policy, Then):
            record["handled_by"] = policy.then
        return record

    async def written(self) -> None:
        """Wait for the writes in flight: their results are in the record of calls, though not in the checkpoint."""
        while tasks := [work.task for work in self.at_work() if self.writing(work)]:
            await asyncio.wait(tasks, timeout=DRAIN_POLL)  # one that begins to wait for its next attempt is given up

    async def close(self) -> None:
        """Cancel what is still at work and wait for it."""
        self.closing = True
        tasks = [work.task for tasks in self.work.values() for work in tasks.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # -- telling -----------------------------------------------------------------------------------------------

    @property
    def heard(self) -> bool:
        """Whether anyone is told of events."""
        return self.telling or self.witness is not None

    def stamp(self) -> str:
        """The time now, ISO 8601 in UTC."""
        return self.now().isoformat()

    def emit(self, kind: EventKind, step: str, /, **data: Json) -> None:
        """Put one event on LangGraph's ``custom`` stream, and tell the witness."""
        if not self.telling and self.witness is None:
            return
        event = Event(kind=kind, run=self.about["id"], at=self.stamp(), step=step, data=data)
        if self.witness is not None:
            self.witness.saw(event)
        if self.telling:
            self.write(event.to_dict())

    def moved(self, status: str, **more: Json) -> Record:
        """The entries of the run's record that say that it has come to this status."""
        self.about |= {"status": status, "rev": int(self.about.get("rev") or 0) + 1, "reason": None, **more}
        return {name: self.about[name] for name in ("status", "rev", "reason", *more)}

    def names(self, frame: Frame, lookups: Any) -> Mapping[str, Json]:
        """What expressions see from ``frame``."""
        return names(self.run, frame, lookups, self.about)
