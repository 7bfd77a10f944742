"""The driver of a run: starts work as soon as it may start, and ends a superstep as soon as that helps.

LangGraph's supersteps would make every branch wait for the slowest. Here the work of a step is a task of the run, and the
LangGraph node only attends to it: it returns when its work is done, or yields (``goto`` itself) when other work that has
finished lets something start. Whether it should yield is read from what is finished and not yet in the checkpoint, a
level and not an edge, so that no wake-up is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from langchain_core.runnables import RunnableConfig

from graphs.runtime.attempts import attempt_all
from graphs.runtime.batch import Batch
from graphs.runtime.environment import names
from graphs.runtime.run import Frame, Instance, Record, Run, settled
from nodes.base import CallingNode, Node, Outcome, StepCall, Then
from state.errors import Fault
from state.events import Event, EventKind
from state.services import Services
from state.values import Json

COALESCE_ABOVE = 48
"""With more waiting nodes than this, wake-ups are gathered for a moment: each costs a superstep over all of them."""
SECONDS_PER_WAITER = 0.00012
_CUT_OFF = ""
"""Stands among the paths that enable something for those that did so before the process died."""
STEP_METADATA = "cogwork_step"
"""The key under which LangGraph's ``messages`` stream tells the path of the step."""
DRAIN_POLL = 0.05
"""Seconds between two looks at whether the caller wants the run to pause."""


@dataclass(slots=True, kw_only=True, eq=False)
class Work:
    """The running task of one instance."""

    member: Instance
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
        self.cut_off = False
        """Whether some nodes of the checkpoint's superstep had written before the process died: what they enable starts in
        the next superstep, so that nobody may linger in this one."""
        self.telling = False
        """Whether anyone listens to the events."""
        self.write: Callable[[Any], None] = lambda chunk: None

    # -- supersteps ------------------------------------------------------------------------------------------

    def enter(self, superstep: int, write: Callable[[Any], None]) -> None:
        """A node has been called in this superstep; what earlier ones wrote is now in the checkpoint."""
        if superstep == self.superstep:
            return
        begins = self.superstep < 0
        self.superstep, self.write = superstep, write
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
        if begins and self.cut_off:
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
        while self.kept(key) or not (done() or self.enabling or (self.draining and self.draining())):
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
        if not (self.stepwise or (self.draining and self.draining())):
            return False
        unfinished = (work for work in self.work.get(step_id, {}).values() if not work.task.done())
        return any(self.stepwise or self.writes(work.member.planned.node) for work in unfinished)

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

    def start(self, member: Instance, config: RunnableConfig) -> None:
        """Begin the work of an instance as a task of this run."""
        call = self.call(member, config)
        self.run.started += 1
        work = Work(
            member=member, task=asyncio.create_task(self._work(member, call)), call=call, started_at=self.stamp()
        )
        self.work.setdefault(member.planned.id, {})[member.path] = work
        self.emit("step.started", member.path)
        work.task.add_done_callback(lambda task: self._finished(work))

    def _work(self, member: Instance, call: StepCall) -> Any:
        node = member.planned.node
        assert isinstance(node, CallingNode)

        def retried(attempt: int, wait: float, fault: Fault) -> None:
            error = fault.record(node=member.path, pointer=member.planned.pointer)
            self.emit("step.retry", member.path, attempt=attempt, wait=round(wait, 3), error=error)

        return attempt_all(node, call, retried)

    def _finished(self, work: Work) -> None:
        """A task has ended: note it ahead of the checkpoint, and wake whoever should know."""
        member, task = work.member, work.task
        if not task.cancelled() and task.exception() is None:
            outcome = task.result()
            member.frame.ahead[member.planned.id] = settled(member, {"status": "done"}, outcome.value)
            if self.run.enables(member):
                self.enable(member.path)
        else:
            self.enable(member.path)
        self.wake(member.planned.id)
        self.wake_people()

    def finished(self, step_id: str) -> Iterator[Work]:
        """The ended tasks of a step, now the caller's."""
        tasks = self.work.get(step_id, {})
        for path in [path for path, work in tasks.items() if work.task.done()]:
            yield tasks.pop(path)

    def call(self, member: Instance, config: RunnableConfig | None) -> StepCall:
        """What the instance's node is called with."""
        owner = next(f for f in member.frame.outward() if f.scope.kind in ("workflow", "use")).scope
        return StepCall(
            run=self.about["id"],
            path=member.path,
            names=names(self.run, member.frame, member.planned.lookups, self.about),
            fields=member.planned.fields,
            services=self.services,
            mode=owner.mode,
            agents=owner.agents,
            config=_named(config, member.path) if member.planned.kind == "llm" else config,
            messages=self.messages,
            emit=lambda kind, data: None,
        )

    # -- ends --------------------------------------------------------------------------------------------------

    def fail(self, frame: Frame, error: Record) -> None:
        """A frame has failed: nothing starts in it, and what has no effect on the world is cancelled."""
        if frame.error is not None:
            return
        frame.error = error
        self.run.failed = True
        for tasks in self.work.values():
            for work in tasks.values():
                inside = any(around is frame for around in work.member.frame.outward())
                if inside and not work.task.done() and not self.writes(work.member.planned.node):
                    work.task.cancel()
        self.wake_people()

    def writes(self, node: Node | None) -> bool:
        """Whether the node may change the world, so that it must not be cut off."""
        return node is not None and node.effect_of(self.services) == "write"

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

    async def close(self) -> None:
        """Cancel what is still at work and wait for it."""
        tasks = [work.task for tasks in self.work.values() for work in tasks.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # -- telling -----------------------------------------------------------------------------------------------

    def stamp(self) -> str:
        """The time now, ISO 8601 in UTC."""
        return self.now().isoformat()

    def emit(self, kind: EventKind, step: str, **data: Json) -> None:
        """Put one event on LangGraph's ``custom`` stream."""
        if not self.telling:
            return
        self.write(Event(kind=kind, run=self.about["id"], at=self.stamp(), step=step, data=data).to_dict())

    def names(self, frame: Frame, lookups: Any) -> Mapping[str, Json]:
        """What expressions see from ``frame``."""
        return names(self.run, frame, lookups, self.about)


def _named(config: RunnableConfig | None, path: str) -> RunnableConfig | None:
    """The config with the instance's path in its metadata, so that streamed tokens say where they come from."""
    if config is None:
        return None
    return {**config, "metadata": {**config.get("metadata", {}), STEP_METADATA: path}}
