"""What one pass over a node writes: records, values and where the flow goes on, as one LangGraph ``Command``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from langgraph.types import Command, Send

from graphs.runtime.frames import Frame, Instance, Record
from state.values import Json

if TYPE_CHECKING:
    from graphs.runtime.scheduler import Scheduler


class Batch:
    """Collects the writes of one pass, and tells the scheduler of each.

    Every settled instance wakes all its unsettled successors, not only those that seem ready: when the process dies
    between two writes of a superstep, the written ones must hold all that is needed to go on.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.nodes: dict[str, Record] = {}
        self.results: dict[str, Json] = {}
        self.path: list[str] = []
        self.extra: dict[str, Any] = {}
        self.messages: list[Any] = []
        self.goto: dict[str, None] = {}
        self.sends: list[Send] = []
        self.top_settled = 0
        """How many of the workflow's own steps it settles."""
        self.transitions: list[Callable[[], None]] = []
        """What becomes true once the checkpoint has the writes."""

    def __bool__(self) -> bool:
        return bool(self.nodes or self.extra or self.sends)

    def settle(self, member: Instance, record: Record, *value: Json) -> None:
        """The instance has come to its end; ``value`` is its value, if it has one."""
        self.nodes[member.path] = record
        if value:
            self.results[member.path] = value[0]
        self.path.append(member.path)
        self.top_settled += member.frame.parent is None
        scheduler = self.scheduler
        scheduler.returned(member, record, value[0] if value else None)
        self.transitions.append(lambda: scheduler.committed(member, record))
        waiting = [s for s in member.planned.successors if s not in member.frame.view]
        if record["status"] != "failed" or record.get("handled_by"):
            self.goto.update(dict.fromkeys(waiting))
        elif member.frame.parent is None:
            self.run(error=scheduler.about.setdefault("error", None) or record["error"])
            scheduler.about["error"] = self.extra["run"]["error"]
        if not waiting or member.frame.error is not None:
            self.close(member.frame)

    def run(self, **entries: Json) -> None:
        """Change entries of the run's record."""
        self.extra.setdefault("run", {}).update(entries)

    def note(self, path: str, record: Record, *value: Json) -> None:
        """A record that settles nothing: an open loop, an item, a question, a cancelled step."""
        self.nodes[path] = record
        if value:
            self.results[path] = value[0]

    def close(self, frame: Frame) -> None:
        """Wake whoever closes the frame."""
        target = frame.header.planned.id if frame.header is not None else self.scheduler.run.plan.sink
        self.goto[target] = None

    def wake(self, step_ids: Iterable[str]) -> None:
        """Go on with these steps."""
        self.goto.update(dict.fromkeys(step_ids))

    def urge(self, path: str) -> None:
        """What this batch opens can start in the next superstep: end this one."""
        scheduler = self.scheduler
        scheduler.enable(path)
        self.transitions.append(lambda: scheduler.enabling.discard(path))

    def command(self, again: str | None = None) -> Command[Any] | None:
        """The command for LangGraph; ``again`` names the node itself where it has more to do."""
        if again is not None:
            self.goto[again] = None
        if self.nodes or self.extra:
            self.scheduler.pending.append(self)
            self.scheduler.wake_people()
            first = self.scheduler.begun()
            if "run" in first and "run" in self.extra:
                first["run"] |= self.extra.pop("run")
            self.extra = first | self.extra
        update: dict[str, Any] = dict(self.extra)
        if self.nodes:
            update["nodes"] = self.nodes
        if self.results:
            update["results"] = self.results
        if self.path:
            update["path"] = self.path
        if self.messages:
            update["messages"] = self.messages
        if not update and not self.goto and not self.sends:
            return None
        return Command(update=update or None, goto=[*self.goto, *self.sends])
