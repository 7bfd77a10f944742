"""The branches of a workflow, and which of them a finished run has taken."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from graphs.analysis.plan import Plan, PlannedStep
from graphs.language.spec import ForEach, Repeat
from graphs.simulation.walk import Ended
from nodes.base import CallingNode, Fallback, Then
from nodes.condition import ConditionNode
from nodes.human import HumanNode
from state.values import Json

_INDEX: Final = re.compile(r"\[\d+\]")
_SIZES: Final = ("with no item", "with one item", "with several items")
_JOINS: Final = ("all", "any", "always")


@dataclass(frozen=True, slots=True, order=True)
class Branch:
    """One way in which a step can go on; ``way`` is empty for the step itself: that it is done."""

    step: str
    way: str = ""

    def __str__(self) -> str:
        return f"{self.step}: {self.way}" if self.way else self.step


def branches(plan: Plan) -> list[Branch]:
    """Every branch of a plan, in the order of the spec."""
    found: dict[Branch, None] = {}
    for step in plan.steps.values():
        found[Branch(step.id)] = None
        found |= dict.fromkeys(Branch(step.id, way) for way in _ways(step) if not plan.scopes[step.scope].made)
    return list(found)


def _ways(step: PlannedStep) -> Iterator[str]:
    """The ways of one step."""
    plain = step.step
    if isinstance(plain.when, str):
        yield from ("when true", "when false")
    if plain.join != "default" and plain.join != "always" and len(step.parents) > 1:
        yield "joined too few"
    if plain.on_error == "skip":
        yield "failure skipped"
    elif isinstance(plain.on_error, Then):
        yield f"failure leads to {plain.on_error.then}"
    if isinstance(plain, ConditionNode):
        for index, case in enumerate(plain.cases):
            yield _case(index, case.if_)
        yield "else" if plain.else_ is not None else "no case"
    elif isinstance(plain, ForEach):
        yield from _sizes(plain)
        if plain.on_item_error != "fail":
            yield "an item failed"
    elif isinstance(plain, Repeat) and isinstance(plain.repeat.until, str):
        yield from ("until reached", "iterations exhausted")
    elif isinstance(plain, HumanNode) and plain.timeout is not None:
        yield from ("answered", "nobody answered in time")
    elif isinstance(plain, CallingNode):
        if plain.retry is not None and plain.retry.max_attempts > 1:
            yield "done after a retry"
        for fallback in plain.fallback:
            yield f"fallback to {named(fallback)}"


def _case(index: int, condition: bool | str) -> str:
    text = str(condition)
    return f"case {index} ({text if len(text) <= 60 else text[:57] + '…'})"


def _sizes(loop: ForEach) -> tuple[str, ...]:
    if isinstance(loop.for_each, list):
        return (_SIZES[min(len(loop.for_each), 2)],)
    return _SIZES


def named(fallback: Fallback) -> str:
    """The name under which a record tells that a fallback served."""
    for kind in ("model", "tool", "agent", "node"):
        if (name := getattr(fallback, kind)) is not None:
            return f"{kind}:{name}"
    return ""


def taken(plan: Plan, ended: Ended) -> set[Branch]:
    """The branches that a run has taken."""
    found: set[Branch] = set()
    for path, record in ended.records.items():
        step = plan.steps.get(_INDEX.sub("", path))
        if step is None:
            continue
        if path.endswith("]"):
            if step.kind == "undo" and record.get("status") == "done":
                found.add(Branch(step.id))
            elif isinstance(step.step, ForEach) and record.get("status") == "failed":
                found.add(Branch(step.id, "an item failed"))
            continue
        found |= {Branch(step.id, way) for way in _went(step, path, record, ended)}
    return found


def _went(step: PlannedStep, path: str, record: Mapping[str, Json], ended: Ended) -> Iterator[str]:
    """The ways that one instance went."""
    plain, status, cause = step.step, record.get("status"), record.get("cause") or {}
    if status == "done":
        yield ""
    own = cause.get("by") == path
    if own and cause.get("reason") == "when_false":
        yield "when false"
    elif status != "skipped" or (own and cause.get("reason") == "error_ignored"):
        yield "when true"
    elif cause.get("reason") not in ("not_selected", None):
        yield "joined too few"
    if own and cause.get("reason") == "error_ignored":
        yield "failure skipped"
    if record.get("handled_by"):
        yield f"failure leads to {record['handled_by']}"
    if record.get("fallback"):
        yield f"fallback to {record['fallback']}"
    elif status == "done" and record.get("attempts", 1) > 1:
        yield "done after a retry"
    if isinstance(plain, ConditionNode) and status == "done":
        yield from _chosen(plain, ended.state["results"].get(path) or {})
    elif isinstance(plain, ForEach) and isinstance(record.get("count"), int):
        yield _SIZES[min(record["count"], 2)]
    elif isinstance(plain, Repeat):
        yield from _repeated(record)
    elif isinstance(plain, HumanNode):
        yield from _answered(record)


def _chosen(node: ConditionNode, value: Mapping[str, Json]) -> Iterator[str]:
    held = value.get("cases") or []
    for index in held:
        yield _case(index, node.cases[index].if_)
    if not held:
        yield "else" if node.else_ is not None else "no case"


def _repeated(record: Mapping[str, Json]) -> Iterator[str]:
    error = record.get("error") or {}
    if record.get("status") == "done":
        yield "iterations exhausted" if record.get("exhausted") else "until reached"
    elif error.get("class") == "invalid_output" and "iterations" in str(error.get("message")):
        yield "iterations exhausted"


def _answered(record: Mapping[str, Json]) -> Iterator[str]:
    late = record.get("timed_out") or (record.get("error") or {}).get("class") == "timeout"
    if late:
        yield "nobody answered in time"
    elif record.get("status") == "done":
        yield "answered"
