"""Whether an open run may go on with another version of its workflow: a pure judgment over its state and the two plans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from graphs.analysis.plan import Plan, PlannedStep
from graphs.language.dump import plain
from graphs.language.spec import ConditionNode, ForEach, HumanNode, LlmNode, Repeat, ToolNode, TransformNode, Use
from graphs.runtime.frames import FINAL, STAGES, bare
from state.durable import RecordedCall
from state.schemas import faults, with_defaults
from state.values import Json

Record = Mapping[str, Any]
_ENDED: Final = ("completed", "failed", "cancelled")
_FREE: Final = frozenset(
    {"nodes", "description", "metadata", "max_parallel", "retry", "timeout", "total_timeout", "depends_on", "cache"}
)
"""What may differ in a step that has begun: it is read when it is needed, and changes no value that is there."""
_NOT_BEGUN: Final = "again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Whether a run can move, and if not why: one sentence per obstacle."""

    reasons: tuple[str, ...] = ()

    @property
    def possible(self) -> bool:
        """Whether nothing stands against it."""
        return not self.reasons

    def to_dict(self) -> dict[str, Json]:
        """The judgment as plain JSON."""
        return {"possible": self.possible, "reasons": list(self.reasons)}


def movable(state: Mapping[str, Any], old: Plan, new: Plan, calls: Iterable[RecordedCall] = ()) -> Move:
    """Whether the run of ``state`` (``state.graph.GraphState``), begun by ``old``, can go on by ``new``.

    It can where each step that has begun is there with the same meaning, what it waits for has the same form, and no step
    that has not run comes before one that has. ``calls`` are the calls that are recorded for it.
    """
    run = state.get("run") or {}
    if run.get("status") in _ENDED:
        return Move(reasons=(f"it has ended: {run['status']}",))
    if run.get("error") or run.get("cancelled") or any(name in state.get("nodes", {}) for name in STAGES):
        return Move(reasons=("it is failing or being cancelled, and ends by the rules that it began with",))
    judged = _Judging(state, old, new)
    return Move(reasons=tuple(dict.fromkeys([*judged.input(), *judged.steps(), *judged.calls(calls)])))


class _Judging:
    """One look at a run with both of its plans."""

    def __init__(self, state: Mapping[str, Any], old: Plan, new: Plan) -> None:
        self.old, self.new = old, new
        self.nodes: Mapping[str, Record] = state.get("nodes") or {}
        self.results: Mapping[str, Json] = state.get("results") or {}
        self.given = state.get("input")

    def input(self) -> Iterator[str]:
        """Whether the input fits."""
        schema = self.new.spec.input
        for fault in faults(schema, with_defaults(schema, self.given)):
            yield f"its input does not fit the new version: {fault}"

    def steps(self) -> Iterator[str]:
        """Whether each step that has begun means the same."""
        for path, record in self.nodes.items():
            status = str(record.get("status"))
            if status == _NOT_BEGUN or ("undo" not in record and self._within_settled(path)):
                continue
            before, after = self.old.steps.get(bare(path)), self.new.steps.get(bare(path))
            if before is None:
                yield f"{path}, which is {status}, is unknown to the version that it began with"
            elif after is None:
                yield f"{path}, which is {status}, is gone"
            elif before.kind != after.kind:
                yield f"{path}, which is {status}, is a step of kind {after.kind} instead of {before.kind}"
            else:
                yield from self._same(path, record, before, after)
                yield from self._order(path, status, before, after)

    def _within_settled(self, path: str) -> bool:
        """Whether the step belongs to a loop or used workflow that is over: only the value of that is looked at."""
        around = path
        while "." in around:
            around = around.rpartition(".")[0]
            holder = around[: around.rindex("[")] if around.endswith("]") else around
            if self.nodes.get(holder, {}).get("status") in FINAL:
                return True
        return False

    def _same(self, path: str, record: Record, before: PlannedStep, after: PlannedStep) -> Iterator[str]:
        match record.get("status"):
            case "done":
                yield from self._value(path, before, after)
            case "failed":
                if before.step.on_error != after.step.on_error:
                    yield f"{path} has failed, and its on_error is another"
            case "waiting" if isinstance(before.step, HumanNode) and isinstance(after.step, HumanNode):
                if before.step.form != after.step.form:
                    yield f"{path} waits for an answer, and its form is another"
            case "waiting" | "open":
                if fields := differing(before, after):
                    yield f"{path} is {record['status']}, and its {', '.join(fields)} differs"
                yield from self._agents(path, before, after)
            case _:
                pass

    def _agents(self, path: str, before: PlannedStep, after: PlannedStep) -> Iterator[str]:
        """A conversation goes on with the agents that it began with."""
        if before.kind == "agent" and self.old.documents[before.document].spec.agents != (
            self.new.documents[after.document].spec.agents
        ):
            yield f"{path} is at work, and the agents of its workflow differ"

    def _value(self, path: str, before: PlannedStep, after: PlannedStep) -> Iterator[str]:
        """Whether the value that is there could be one of the new step."""
        value, was, now = self.results.get(path), before.step, after.step
        schema = _declared(now)
        if schema is not None and (found := faults(schema, value)):
            yield f"{path} is done, and its value does not fit what the new version says of it: {found[0]}"
        if isinstance(was, ToolNode) and isinstance(now, ToolNode) and was.tool != now.tool:
            yield f"{path} was done by {was.tool}, and the new version has {now.tool}"
        if isinstance(now, ConditionNode):
            known = {name for _, name in now.targets()}
            if lost := [name for name in (value or {}).get("selected", ()) if name not in known]:
                yield f"{path} has chosen {lost[0]}, which is none of its targets any more"
        if isinstance(now, TransformNode) and isinstance(was, TransformNode) and was.set != now.set:
            if not (isinstance(now.set, dict) and isinstance(value, dict) and now.set.keys() <= value.keys()):
                yield f"{path} is done, and its value would have another form"
        if isinstance(now, ForEach | Repeat | Use) and self._shape(self.old, before) != self._shape(self.new, after):
            yield f"{path} is done, and its value would have another form"

    def _shape(self, plan: Plan, planned: PlannedStep) -> Json:
        """What the value of a loop or used workflow is made of."""
        step = planned.step
        if isinstance(step, Use):
            scope = plan.scopes.get(planned.id)
            spec = plan.documents[scope.document].spec if scope is not None else None
            return plain(spec.output) if spec is not None and spec.output is not None else _leaves(plan, planned)
        output = getattr(step, "output", None)
        return plain(output) if output is not None else _leaves(plan, planned)

    def _order(self, path: str, status: str, before: PlannedStep, after: PlannedStep) -> Iterator[str]:
        """Whether something that has not run would have had to come first."""
        known = {*before.parents, *before.selectors}
        prefix = path[: -len(after.name)] if path.endswith(after.name) else ""
        for parent in dict.fromkeys([*after.parents, *after.selectors]):
            name = self.new.steps[parent].name
            if parent not in known and self.nodes.get(prefix + name, {}).get("status") not in FINAL:
                yield f"{path} is {status}, and {prefix + name}, which has not run, would have come before it"

    def calls(self, calls: Iterable[RecordedCall]) -> Iterator[str]:
        """Whether each call of which nobody knows how it ended is still made by its step."""
        for call in calls:
            if call.status != "begun":
                continue
            after = self.new.steps.get(bare(call.step))
            if after is None:
                yield f"{call.step} has begun to call {call.target}, and is gone"
            elif isinstance(after.step, ToolNode) and after.step.tool != call.target:
                yield f"{call.step} has begun to call {call.target}, and the new version has {after.step.tool}"


def differing(before: PlannedStep, after: PlannedStep) -> list[str]:
    """The fields in which two steps differ that have begun."""
    one, other = plain(before.step), plain(after.step)
    return sorted(key for key in one.keys() | other.keys() if key not in _FREE and one.get(key) != other.get(key))


def _declared(step: Any) -> dict[str, Json] | None:
    """The schema that a step declares of its value; None where it declares none."""
    if isinstance(step, HumanNode):
        return step.form
    if isinstance(step, LlmNode) and not step.tools and step.agent is None:
        return step.output if step.output is not None else {"type": "string"}
    return getattr(step, "output", None) if isinstance(step, LlmNode) else None


def _leaves(plan: Plan, planned: PlannedStep) -> list[str]:
    scope = plan.scopes.get(planned.id)
    return [plan.steps[leaf].name for leaf in scope.leaves] if scope is not None else []
