"""One run in memory: which instances of which steps are ready, at work, finished or settled.

The checkpointed records are the truth; this is built from them and kept beside them, so that each superstep costs what
has changed and not what there is. A path names one instance: ``draft``, ``answers[2].search``, ``sub.fetch``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from graphs.analysis.plan import Plan, PlannedStep
from graphs.runtime.frames import CALLING, FINAL, STAGES, Frame, Instance, Record, bare, handled, settled, within
from graphs.runtime.joins import Settled, Verdict, decide
from nodes.base import Then
from state.values import Json


class Run:
    """The bookkeeping of one run over its plan."""

    def __init__(self, plan: Plan, *, records: Mapping[str, Record], results: Mapping[str, Json]) -> None:
        self.plan = plan
        self.records: dict[str, Record] = dict(records)
        self.results: dict[str, Json] = dict(results)
        self.ready: dict[str, list[Instance]] = {}
        self.open: dict[str, dict[str, Instance]] = {}
        self.closable: set[str] = set()
        """Step ids of loops and used workflows with something to close."""
        self.reopen: Callable[[Instance], None] = lambda member: None
        """Set by the scheduler: opens the frames of a loop that the checkpoint says is open."""
        self.failed = False
        """Whether any frame has failed."""
        self.asked: dict[str, Instance] = {}
        """People's questions that are in the checkpoint, by path."""
        self.top = Frame(scope=plan.scopes[""], path="", parent=None, header=None)
        made = (path for path, record in self.records.items() if record.get("attempts") and not record.get("given"))
        self.started = sum(1 for path in made if self._works(path))
        """How many model and tool calls have begun."""
        self.fragile = fragile(plan)
        self.racers: dict[str, list[tuple[str, str]]] = {}
        """For a step that may lose a race: the ids and names of those that may win it."""
        for step in plan.steps.values():
            for loser in step.losers:
                self.racers.setdefault(loser, []).append((step.id, step.name))

    # -- building and growing ------------------------------------------------------------------------------

    def populate(self, frame: Frame) -> None:
        """Create the instances of a frame, take over what the records say of them, and see which are ready."""
        for name, step_id in frame.scope.names.items():
            planned = self.plan.steps[step_id]
            frame.members[step_id] = Instance(planned=planned, path=frame.prefix + name, frame=frame)
        recorded = [m for m in frame.members.values() if m.path in self.records]
        for member in recorded:
            member.state = "active"
        for member in sorted(recorded, key=lambda m: self.records[m.path]["status"] not in FINAL):
            self.take_over(member, self.records[member.path])
        for member in frame.members.values():
            self.consider(member)
        self.set_stages(frame)

    def set_stages(self, frame: Frame) -> None:
        """Create the holders of what follows the frame's steps, and take over what the records say of them."""
        stages = dict(frame.scope.stages)
        if frame is self.top and self.plan.undo is not None:
            stages["undo"] = self.plan.undo.id
        for name, step_id in stages.items():
            member = Instance(planned=self.plan.steps[step_id], path=frame.prefix + name, frame=frame)
            frame.stages[name] = member
            status = self.records.get(member.path, {}).get("status")
            if status == "open":
                self.mark_open(member)
                self.reopen(member)
            elif status is not None:
                member.state = "settled"

    def due(self, frame: Frame, *, undo: bool) -> Instance | None:
        """The holder of the next stage of a frame whose steps have come to rest; None when all are over."""
        for name in STAGES:
            wanted = name == "finally" or (frame.error is not None and (name == "on_failure" or undo))
            member = frame.stages.get(name)
            if wanted and member is not None and member.state != "settled":
                return member
        return None

    def summon(self, planned: PlannedStep, *, undo: bool) -> None:
        """Make those of a stage ready that are due: a call before this one may have ended just before it began them."""
        frames = [self.top]
        if planned.scope:
            frames = [frame for member in self.open.get(planned.scope, {}).values() for frame in member.frames.values()]
        for frame in frames:
            holder = self.due(frame, undo=undo) if frame.settled and not frame.active else None
            if holder is not None and holder.planned is planned and holder.state == "new":
                holder.state = "ready"
                self.ready.setdefault(planned.id, []).append(holder)

    def take_over(self, member: Instance, record: Record) -> None:
        """Set an instance to what its record in the checkpoint says."""
        status = record["status"]
        if status in FINAL:
            self.settle(member, record)
        elif status == "open":
            self.mark_open(member)
            self.reopen(member)
        elif status == "waiting":
            member.state = "waiting"
            self.asked[member.path] = member
            if "doubt" in record:
                member.frame.open.add(member.path)
        elif status == "again":
            member.state = "new"

    def mark_open(self, member: Instance) -> None:
        """A loop or used workflow has begun."""
        member.state = "open"
        member.frame.open.add(member.path)
        self.open.setdefault(member.planned.id, {})[member.path] = member

    def close(self, member: Instance) -> None:
        """A loop, used workflow or block is over; it counts as active until the checkpoint says so."""
        self.open.get(member.planned.id, {}).pop(member.path, None)
        member.frame.open.discard(member.path)
        self.hold(member.frame, 1)

    def settle(self, member: Instance, record: Record) -> None:
        """An instance has come to its end, and the checkpoint says so."""
        frame, step_id = member.frame, member.planned.id
        member.state = "settled"
        self.asked.pop(member.path, None)
        frame.view[step_id] = frame.ahead[step_id] = settled(member, record, self.results.get(member.path))
        if record["status"] == "failed" and not handled(record):
            frame.error = frame.error or record.get("error")
            self.failed = True
        if frame.header is not None and frame.settled:
            self.closable.add(frame.header.planned.id)
        done = record["status"] == "done"
        for successor in member.planned.successors:
            other = frame.members[successor]
            if other.state == "new" and not (done and _waits_on(other.planned, frame.view)):
                self.consider(other)

    def consider(self, member: Instance) -> None:
        """Make the instance ready if its parents now allow or forbid it."""
        if member.state != "new" or self.failing(member.frame):
            return
        verdict = self.verdict(member, ahead=False)
        if verdict != "wait":
            member.state, member.verdict = "ready", verdict
            self.ready.setdefault(member.planned.id, []).append(member)

    def verdict(self, member: Instance, *, ahead: bool) -> Verdict:
        """Whether the instance may start, by the checkpoint or by what has finished (``ahead``)."""
        frame = member.frame
        outer: dict[str, Settled] = {}
        for step_id in member.planned.outer_required:
            home = self.home(frame, step_id)
            if step_id in home.view:
                outer[step_id] = home.view[step_id]
        return decide(member.planned, frame.ahead if ahead else frame.view, outer, self.fragile)

    def home(self, frame: Frame, step_id: str) -> Frame:
        """The enclosing frame in which a visible step has its instance."""
        scope_id = self.plan.steps[step_id].scope
        return next(f for f in frame.outward() if f.scope.id == scope_id)

    def _works(self, path: str) -> bool:
        """Whether the step of that path calls a model or a tool."""
        step = self.plan.steps.get(bare(path))
        return step is not None and step.kind in CALLING

    # -- looking -------------------------------------------------------------------------------------------

    def failing(self, frame: Frame) -> bool:
        """Whether the frame, or one around it, has failed: nothing may start in it, but in the stages that follow."""
        return any(around.error is not None for around in within(frame))

    def take(self, step_id: str) -> list[Instance]:
        """The ready instances of a step, now the caller's and counted as active."""
        members = self.ready.pop(step_id, [])
        for member in members:
            member.state = "active"
            member.frame.open.discard(member.path)
            self.hold(member.frame, 1)
        return members

    @property
    def quiet(self) -> bool:
        """Whether nothing can go on without a person."""
        return not (self.top.active or self.closable or any(self.ready.values()))

    @property
    def complete(self) -> bool:
        """Whether every step of the workflow is settled."""
        return len(self.top.view) == len(self.top.scope.names)

    def unsettled(self) -> list[str]:
        """The paths of the workflow's own steps that have not come to an end."""
        return [member.path for step_id, member in self.top.members.items() if step_id not in self.top.view]

    def abandoned(self) -> Iterator[str]:
        """The step ids of open loops and used workflows in which nothing will go on, as something around them has failed."""
        for step_id, members in self.open.items():
            for member in members.values():
                if member.planned.kind in ("stage", "undo"):
                    continue
                if self.failing(member.frame) and not any(frame.busy for frame in member.frames.values()):
                    yield step_id

    def frontier(self) -> list[str]:
        """The step ids that can go on by the checkpoint alone."""
        ids = [step_id for step_id, members in self.ready.items() if members]
        return list(dict.fromkeys([*ids, *self.closable, *(i for i, m in self.open.items() if m)]))

    def enables(self, member: Instance) -> bool:
        """Whether the instance, now finished, lets something else go on."""
        frame = member.frame
        done = frame.ahead[member.planned.id].status == "done"
        for successor in member.planned.successors:
            other = frame.members[successor]
            if other.state != "new" or (done and _waits_on(other.planned, frame.ahead)):
                continue
            if self.verdict(other, ahead=True) != "wait":
                return True
        return frame.header is not None and (len(frame.ahead) == len(frame.scope.names) or frame.error is not None)

    def hold(self, frame: Frame, change: int) -> None:
        """Count instances at work, in every frame around them; what has come to rest can be closed."""
        for around in frame.outward():
            around.active += change
            if change < 0 and around.header is not None and around.settled:
                self.closable.add(around.header.planned.id)


def fragile(plan: Plan) -> frozenset[str]:
    """The ids of steps that may be lost by a failure which the run survives: their own or that of one before them."""
    found = {step.id for step in plan.steps.values() if isinstance(step.step.on_error, Then)}
    if not found:
        return frozenset()
    open_ = list(found)
    behind: dict[str, list[str]] = {}
    for step in plan.steps.values():
        for parent in step.outer_required:
            behind.setdefault(parent, []).append(step.id)
    while open_:
        step_id = open_.pop()
        fresh = {*plan.steps[step_id].successors, *behind.get(step_id, ())} - found
        found |= fresh
        open_ += fresh
    return frozenset(found)


def _waits_on(planned: PlannedStep, view: Mapping[str, Settled]) -> bool:
    """Whether a step surely still waits after one more parent is done, without asking every parent."""
    return (
        not planned.selectors
        and planned.step.join in ("default", "all", "always")
        and not planned.parents.keys() <= view.keys()
    )
