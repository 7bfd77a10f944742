"""``for_each``: a body once for every item of a list, several at a time."""

from __future__ import annotations

from graphs.language.spec import ForEach
from graphs.runtime.frames import Frame, Record
from graphs.runtime.loops.holding import Holding, changed, passed_on
from state.errors import Fault
from state.values import Json

MAX_ITEMS = 10_000
"""The longest list that a ``for_each`` runs over."""


class Items(Holding):
    """One pass over a ``for_each``."""

    @property
    def step(self) -> ForEach:
        """The loop as it is written."""
        assert isinstance(self.member.planned.step, ForEach)
        return self.member.planned.step

    def evaluated(self) -> list[Json]:
        """The items."""
        items = self.scheduler.call(self.member, None).value("/for_each")
        if not isinstance(items, list):
            raise Fault("invalid_input", f"for_each: needs a list, not {type(items).__name__}")
        if len(items) > MAX_ITEMS:
            raise Fault("invalid_input", f"for_each: {len(items):,} items are more than the limit of {MAX_ITEMS:,}")
        return items

    def count(self) -> int:
        """How many items there are."""
        return len(self.member.given)

    def ends_at_once(self, record: Record) -> bool:
        """An empty list gives an empty list."""
        if not self.member.given:
            self.done([], {"started_at": record["started_at"], "count": 0})
        return not self.member.given

    def open_first(self) -> None:
        """As many items as may be worked on at a time."""
        for index in range(min(self.count(), self.step.max_parallel)):
            self.open_item(index)

    def framed(self, index: int) -> Frame:
        """The frame of one item, with ``item`` and ``index``."""
        frame = self.item_frame(index)
        frame.locals = {"item": self.member.given[index], "index": index}
        return frame

    def agrees(self, index: int) -> None:
        """An item that had begun must still be there."""
        if index >= self.count():
            raise changed(self.member, f"item {index} had begun, and the list has {self.count()} items now")

    def close(self, index: int, frame: Frame) -> None:
        """Record what the item came to; ``proceed`` looks at all of them."""
        self.close_item(index, frame)

    def proceed(self) -> None:
        """Open further items, or finish when all are closed."""
        member, step = self.member, self.step
        statuses = {index: self.item(index)["status"] for index in range(member.opened)}
        lost = [index for index, status in statuses.items() if status == "failed"]
        if lost and step.on_item_error == "fail":
            self.fail_items(self.item(lost[0])["error"])
            return
        while len(member.frames) + self.opening(statuses) < step.max_parallel and member.opened < len(member.given):
            self.open_item(member.opened)
            statuses[member.opened - 1] = "open"
        if member.opened == len(member.given) and "open" not in statuses.values():
            self.finish(lost)

    def opening(self, statuses: dict[int, str]) -> int:
        """How many items are open by their records and have no frame yet."""
        return sum(1 for index, status in statuses.items() if status == "open" and index not in self.member.frames)

    def fail_items(self, error: Record) -> None:
        """One item has failed and that fails the loop, once the others have come to rest."""
        for frame in self.member.frames.values():
            self.scheduler.fail(frame, error)
        if not any(frame.busy for frame in self.member.frames.values()):
            self.cancel_items()
            self.fail(passed_on(error))

    def finish(self, lost: list[int]) -> None:
        """Gather the values in input order."""
        member, step, count = self.member, self.step, self.count()
        if step.min_success is not None and (count - len(lost)) / count < step.min_success:
            fault = Fault(
                "tool_error",
                f"{count - len(lost)} of {count} items succeeded; {step.min_success:.0%} are needed",
                origin="step",
                details={"errors": [self.item(index)["error"] for index in lost]},
            )
            self.fail(fault)
            return
        values = [None if index in lost else self.value(index) for index in range(count)]
        if step.on_item_error == "skip":
            values = [value for index, value in enumerate(values) if index not in lost]
        errors = [{"index": index, **self.item(index)["error"]} for index in lost]
        record = self.run.records[member.path]
        more = {"started_at": record["started_at"], "count": count, **({"errors": errors} if errors else {})}
        self.done(values, more)
