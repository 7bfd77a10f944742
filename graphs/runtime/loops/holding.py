"""What loops and used workflows have in common: they open frames of steps, and close them when they are settled."""

from __future__ import annotations

from abc import ABC, abstractmethod

from graphs.runtime.batch import Batch
from graphs.runtime.ends import cancel, settle_failure, settle_outcome, settle_skip
from graphs.runtime.environment import body_value
from graphs.runtime.frames import Frame, Instance, Record
from graphs.runtime.race import lost_to
from graphs.runtime.scheduler import Scheduler
from nodes.base import AtLeast, Outcome
from state.errors import Fault, NotResumable
from state.values import Json


class Holding(ABC):
    """One pass over one step that holds others; each kind of such a step is a subclass in a file of its own."""

    def __init__(self, scheduler: Scheduler, batch: Batch, member: Instance) -> None:
        self.scheduler, self.run, self.batch, self.member = scheduler, scheduler.run, batch, member

    # -- beginning -----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Evaluate what the loop runs over and open its first frames."""
        member = self.member
        try:
            member.given = self.evaluated()
        except Fault as fault:
            self.fail(fault)
            return
        record: Record = {"status": "open", "count": self.count(), "started_at": self.scheduler.stamp(), "attempts": 1}
        self.scheduler.emit("step.opened", member.path, count=record["count"])
        if self.ends_at_once(record):
            return
        if _early(member):
            record["given"] = member.given
        self.batch.note(member.path, record)

        def become() -> None:
            self.run.mark_open(member)
            self.run.hold(member.frame, -1)

        self.batch.transitions.append(become)
        self.open_first()

    @abstractmethod
    def evaluated(self) -> Json:
        """What the step begins with; kept as ``member.given``.

        Raises:
            Fault: it cannot begin.
        """

    def count(self) -> int | None:
        """How many frames there will be, where that is known."""
        return None

    def ends_at_once(self, record: Record) -> bool:
        """Whether there is nothing to open, so that the step has ended."""
        return False

    @abstractmethod
    def open_first(self) -> None:
        """Open the first frames."""

    @abstractmethod
    def framed(self, index: int) -> Frame:
        """A new frame, without its instances."""

    @abstractmethod
    def close(self, index: int, frame: Frame) -> None:
        """A frame is settled: record what it came to, and go on, finish or fail."""

    def proceed(self) -> None:  # noqa: B027 - a kind may have nothing to do here
        """After all settled frames are closed: open more, or finish."""

    def reopen(self) -> None:
        """Open again, from the records, the frames that the checkpoint says are open."""
        records = self.run.records
        while (record := records.get(f"{self.member.path}[{self.member.opened}]")) is not None:
            index = self.member.opened
            self.member.opened += 1
            self.agrees(index)
            if record["status"] == "open":
                self.open_frame(index)

    def agrees(self, index: int) -> None:  # noqa: B027 - a kind may have nothing to hold
        """Hold against the records what the step began with.

        Raises:
            NotResumable: changed values leave no sense in what had begun.
        """

    def remember(self) -> None:
        """What the open loop began with: as its record says, else evaluated again from what has not changed since."""
        record = self.run.records[self.member.path]
        try:
            self.member.given = record["given"] if "given" in record else self.evaluated()
        except Fault as fault:
            raise changed(self.member, fault.message) from fault

    def open_item(self, index: int) -> None:
        """Open the frame of one item or iteration, once the checkpoint has its record."""
        path = f"{self.member.path}[{index}]"
        self.batch.note(path, {"status": "open", "started_at": self.scheduler.stamp()})
        self.batch.wake(self.run.plan.scopes[self.member.planned.id].entries)
        self.member.opened = max(self.member.opened, index + 1)
        self.batch.transitions.append(lambda: self.open_frame(index))
        self.batch.urge(path)
        self.scheduler.emit("item.started", path)

    def item_frame(self, index: int) -> Frame:
        """The frame of one item or iteration."""
        member, scope = self.member, self.run.plan.scopes[self.member.planned.id]
        return Frame(scope=scope, path=f"{member.path}[{index}]", parent=member.frame, header=member, index=index)

    def open_frame(self, index: int) -> None:
        """Create the frame and its instances."""
        frame = self.member.frames[index] = self.framed(index)
        self.run.populate(frame)

    # -- moving on -----------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Close the frames that are settled, and open, finish or fail as that asks for."""
        member = self.member
        if self.given_up():
            if not any(frame.busy for frame in member.frames.values()):
                self.abandon()
            return
        for index, frame in list(member.frames.items()):
            if frame.settled:
                del member.frames[index]
                self.close(index, frame)
        if member.state == "open":
            self.proceed()

    def given_up(self) -> bool:
        """Whether what the step belongs to has failed, or has lost a race: then nothing more starts in it."""
        if self.run.failing(self.member.frame):
            return True
        lost = lost_to(self.scheduler, self.member)
        if lost is not None:
            for frame in self.member.frames.values():
                self.scheduler.fail(frame, given_up(self.member, "the race is lost"))
        return lost is not None

    def close_item(self, index: int, frame: Frame) -> None:
        """Record what an item came to."""
        path, record = frame.path, dict(self.run.records[frame.path])
        error = frame.error
        if error is None:
            try:
                value = body_value(self.run, frame, self.scheduler.about)
            except Fault as fault:
                error = fault.record(node=path, pointer=f"{self.member.planned.pointer}/output")
        record["ended_at"] = self.scheduler.stamp()
        if error is None:
            self.batch.note(path, {**record, "status": "done"}, value)
        else:
            self.batch.note(path, {**record, "status": "failed", "error": error})
        self.scheduler.emit("item.finished", path, status="failed" if error else "done")

    def item(self, index: int) -> Record:
        """The record of an item, as this pass leaves it."""
        path = f"{self.member.path}[{index}]"
        return self.batch.nodes.get(path) or self.run.records[path]

    def value(self, index: int) -> Json:
        """The value of an item, as this pass leaves it."""
        path = f"{self.member.path}[{index}]"
        return self.batch.results[path] if path in self.batch.results else self.run.results.get(path)

    # -- ending --------------------------------------------------------------------------------------------

    def done(self, value: Json, more: Record) -> None:
        """The loop's value is known."""
        self.held()
        settle_outcome(self.scheduler, self.batch, self.member, Outcome(value=value), attempts=1, **more)

    def fail(self, fault: Fault) -> None:
        """The loop has failed for good."""
        self.held()
        settle_failure(self.scheduler, self.batch, self.member, fault, attempts=1)

    def abandon(self) -> None:
        """What the loop belongs to has failed, and nothing in it is at work any more."""
        self.held()
        self.cancel_items()
        cause = lost_to(self.scheduler, self.member)
        if cause is not None and not self.run.failing(self.member.frame):
            settle_skip(self.scheduler, self.batch, self.member, cause)
        else:
            cancel(self.scheduler, self.batch, self.member, {})

    def cancel_items(self) -> None:
        """Say of the items that will not end that they will not."""
        for index in range(self.member.opened):
            if (record := self.item(index))["status"] == "open":
                ended_at = self.scheduler.stamp()
                self.batch.note(f"{self.member.path}[{index}]", {**record, "status": "cancelled", "ended_at": ended_at})

    def held(self) -> None:
        """Count an open loop as active until its end is in the checkpoint."""
        if self.member.state == "open":
            self.member.state = "active"
            self.run.close(self.member)


def _early(member: Instance) -> bool:
    """Whether the loop, or one around it, may begin before all that it reads is settled, so that it would read more later."""
    headers = [member, *(frame.header for frame in member.frame.outward() if frame.header is not None)]
    return any(header.planned.step.join == "any" or isinstance(header.planned.step.join, AtLeast) for header in headers)


def given_up(member: Instance, why: str) -> Record:
    """The error of what is given up though nothing in it has failed."""
    return {"class": "cancelled", "origin": "workflow", "message": why, "node": member.path}


def changed(member: Instance, why: str) -> NotResumable:
    return NotResumable(
        f"The values that {member.path} began with have changed: {why}. Fork a checkpoint before it began"
    )


def passed_on(error: Record) -> Fault:
    """The failure of an inner step as the failure of what holds it; the inner step stays named."""
    return Fault(
        error["class"],
        f"{error['node']}: {error['message']}" if error.get("node") else error["message"],
        origin=error["origin"],
        retry_after=error.get("retry_after"),
        details={"cause": error},
    )
