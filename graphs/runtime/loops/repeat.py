"""``repeat``: a body again and again, until a condition holds."""

from __future__ import annotations

from graphs.language.spec import Repeat
from graphs.runtime.environment import evaluated
from graphs.runtime.frames import Frame
from graphs.runtime.loops.holding import Holding, passed_on
from state.errors import Fault
from state.values import Json


class Iterations(Holding):
    """One pass over a ``repeat``."""

    def evaluated(self) -> Json:
        """What ``previous`` is at first."""
        return self.scheduler.call(self.member, None).value("/repeat/initial")

    def open_first(self) -> None:
        """The first iteration."""
        self.open_item(0)

    def framed(self, index: int) -> Frame:
        """The frame of one iteration, with ``iteration`` and ``previous``."""
        before = self.run.results.get(f"{self.member.path}[{index - 1}]") if index else self.member.given
        frame = self.item_frame(index)
        frame.locals = {"iteration": index, "previous": before}
        return frame

    def close(self, index: int, frame: Frame) -> None:
        """One iteration has ended: go on, finish or fail."""
        member, step = self.member, self.member.planned.step
        assert isinstance(step, Repeat)
        self.close_item(index, frame)
        record = self.item(index)
        if record["status"] == "failed":
            self.fail(passed_on(record["error"]))
            return
        try:
            enough = self.until(frame)
        except Fault as fault:
            self.fail(fault)
            return
        exhausted = index + 1 >= step.repeat.max_iterations
        if not enough and not exhausted:
            self.open_item(index + 1)
        elif not enough and step.repeat.until is not None and step.repeat.on_exhausted == "fail":
            self.fail(Fault("invalid_output", f"until did not hold within {step.repeat.max_iterations} iterations"))
        else:
            started = self.run.records[member.path]["started_at"]
            self.done(self.value(index), {"started_at": started, "count": index + 1, "exhausted": not enough})

    def until(self, frame: Frame) -> bool:
        """Whether the loop's condition holds after this iteration."""
        planned = self.member.planned
        if "/repeat/until" not in planned.fields:
            return False
        values = self.scheduler.names(frame, planned.body_lookups)
        holds = evaluated(planned.fields["/repeat/until"], values, "until")
        if not isinstance(holds, bool):
            raise Fault("invalid_input", f"until: must be true or false, not {holds!r:.80}")
        return holds
