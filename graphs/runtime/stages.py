"""What follows a workflow's own steps: its ``on_failure`` and ``finally`` blocks, each a frame of steps like a loop's."""

from __future__ import annotations

from graphs.runtime.frames import Frame, Record
from graphs.runtime.loops.holding import Holding
from state.values import Json


class Staged(Holding):
    """One pass over a block; its failure is reported beside the first one, and ends nothing but the block."""

    def evaluated(self) -> Json:
        """A block begins with nothing of its own."""
        return None

    def open_first(self) -> None:
        """The block's only frame."""
        self.batch.transitions.append(lambda: self.open_frame(0))
        self.batch.wake(self.run.plan.scopes[self.member.planned.id].entries)
        self.batch.urge(self.member.path)

    def framed(self, index: int) -> Frame:
        """The frame, which sees the workflow's steps as a loop's body would."""
        member, scope = self.member, self.run.plan.scopes[self.member.planned.id]
        return Frame(scope=scope, path=member.path, parent=member.frame, header=member)

    def reopen(self) -> None:
        """Open the frame again."""
        self.open_frame(0)

    def advance(self) -> None:
        """Close the block when its steps have come to rest; the workflow's failure does not end it."""
        frame = self.member.frames.get(0)
        if frame is not None and frame.settled:
            del self.member.frames[0]
            self.close(0, frame)

    def close(self, index: int, frame: Frame) -> None:
        """The block has ended: what comes after it can begin."""
        scheduler, member = self.scheduler, self.member
        record: Record = {**self.run.records[member.path], "ended_at": scheduler.stamp(), "status": "done"}
        if frame.error is not None:
            record |= {"status": "failed", "error": frame.error}
        self.end(record)

    def end(self, record: Record) -> None:
        """Write the block's end."""
        scheduler, batch, member = self.scheduler, self.batch, self.member
        batch.note(member.path, record)
        batch.close(member.frame)
        batch.urge(member.path)
        self.run.close(member)

        def become() -> None:
            member.state = "settled"
            self.run.hold(member.frame, -1)

        batch.transitions.append(become)
        if record["status"] == "failed":
            scheduler.emit("step.failed", member.path, error=record["error"])
        else:
            scheduler.emit("step.finished", member.path, attempts=1, seconds=0.0)
