"""``use``: another workflow in place."""

from __future__ import annotations

from graphs.runtime.ends import begin_stage
from graphs.runtime.environment import body_value
from graphs.runtime.frames import Frame
from graphs.runtime.loops.holding import Holding, given_up, passed_on
from state.errors import Fault
from state.schemas import faults, with_defaults
from state.values import Json


class Used(Holding):
    """One pass over a used workflow."""

    def evaluated(self) -> Json:
        """The used workflow's input, with its defaults."""
        schema = self.run.plan.scopes[self.member.planned.id].input_schema
        given = with_defaults(schema, self.scheduler.call(self.member, None).value("/with") or {})
        if found := faults(schema, given):
            raise Fault("invalid_input", f"with: {'; '.join(found)}", details={"faults": found})
        return given

    def open_first(self) -> None:
        """The workflow's only frame."""
        self.batch.transitions.append(lambda: self.open_frame(0))
        self.batch.wake(self.run.plan.scopes[self.member.planned.id].entries)
        self.batch.urge(self.member.path)

    def framed(self, index: int) -> Frame:
        """The frame, which sees the workflow's own input and nothing of the one that uses it."""
        member, scope = self.member, self.run.plan.scopes[self.member.planned.id]
        return Frame(scope=scope, path=member.path, parent=member.frame, header=member, input=member.given)

    def reopen(self) -> None:
        """Open the frame again; what gave the workflow up does so still."""
        self.open_frame(0)
        self.give_up()

    def advance(self) -> None:
        """Close the frame once its steps, and what follows them, are over; when all around it has failed, as cancelled."""
        member, frame = self.member, self.member.frames.get(0)
        if frame is None:
            return
        over = self.give_up()
        if not frame.settled or any(stage.state == "open" for stage in frame.stages.values()):
            return
        following = self.run.due(frame, undo=False)
        if following is not None:
            begin_stage(self.scheduler, self.batch, following)
        elif over:
            self.abandon()
        else:
            del member.frames[0]
            self.close(0, frame)

    def give_up(self) -> bool:
        """Whether the workflow is given up; unless its steps are over, that is a failure of its own, with all that follows."""
        frame, over = self.member.frames[0], self.given_up()
        if over and len(frame.view) < len(frame.scope.names):
            self.scheduler.fail(frame, given_up(self.member, "what uses it has ended"))
        return over

    def close(self, index: int, frame: Frame) -> None:
        """The used workflow has ended."""
        if frame.error is not None:
            self.fail(passed_on(frame.error))
            return
        try:
            value = body_value(self.run, frame, self.scheduler.about)
        except Fault as fault:
            self.fail(fault)
            return
        self.done(value, {"started_at": self.run.records[self.member.path]["started_at"]})
