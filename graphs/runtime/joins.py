"""Whether a step may start: pure decisions over what its parents have come to."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from graphs.analysis.plan import PlannedStep
from nodes.base import AtLeast
from state.values import Json

Cause: TypeAlias = dict[str, Json]
"""Why a step was skipped: ``reason`` and ``by``, the step where it began."""
FAILURES = frozenset({"upstream_failed"})
"""Reasons that stem from a failure: they block default joins, choices do not."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a step has come to; ``selected`` is what a condition chose (local names), ``path`` names the instance."""

    status: Literal["done", "skipped", "failed"]
    cause: Cause | None = None
    selected: frozenset[str] = frozenset()
    path: str = ""

    @property
    def blocks(self) -> bool:
        """Whether a default join behind it may not start."""
        return self.status == "failed" or (self.cause is not None and self.cause["reason"] in FAILURES)


@dataclass(frozen=True, slots=True)
class Skip:
    """The step will not run, for this reason."""

    cause: Cause


Verdict: TypeAlias = Literal["wait", "start"] | Skip
View: TypeAlias = Mapping[str, Settled]
"""Step ids to what they have come to; absent while they are not settled."""


def decide(planned: PlannedStep, view: View, outer: View, fragile: Container[str] = ()) -> Verdict:
    """Whether ``planned`` may start, must wait or is skipped, by SEMANTICS, "When a node runs".

    ``view`` holds the step's siblings, ``outer`` the steps outside its loop that it refers to (all settled). A skip that is
    certain still waits for required parents, whose cause comes first, and for ``fragile`` ones, which a failure may cost:
    whether the cause is a failure decides what happens behind the step, so it may not depend on which parent was faster.
    """
    chosen = _choice(planned, view)
    if chosen != "start":
        return chosen
    required = [parent for parent, needed in planned.parents.items() if needed]
    if missing := [(p, view[p]) for p in required if p in view and view[p].status != "done"]:
        return _lost(missing, (p for p in required if p not in view), fragile)
    for parent in planned.outer_required:
        if (state := outer.get(parent)) is None or state.status != "done":
            return Skip(inherited(parent, state))
    return _joined(planned, view, fragile) if planned.parents else "start"


def _lost(lost: list[tuple[str, Settled]], pending: Iterable[str], fragile: Container[str]) -> Verdict:
    """The skip of a step whose parents are lost, once no pending one can make a failure of its cause."""
    if not any(state.blocks for _, state in lost) and any(parent in fragile for parent in pending):
        return "wait"
    return Skip(_worst(lost))


def inherited(parent: str, state: Settled | None) -> Cause:
    """The root cause that a skip behind ``parent`` carries on."""
    if state is None:
        return {"reason": "upstream_skipped", "by": parent}
    if state.status == "failed":
        return {"reason": "upstream_failed", "by": state.path or parent}
    return state.cause or {"reason": "upstream_skipped", "by": parent}


def _choice(planned: PlannedStep, view: View) -> Verdict:
    """Whether the conditions and failures that may choose the step have done so."""
    if not planned.selectors:
        return "start"
    waiting = False
    for selector in planned.selectors:
        if selector not in view:
            waiting = True
        elif _selects(selector, planned, view):
            return "start"
    if waiting:
        return "wait"
    states = [(selector, view[selector]) for selector in planned.selectors]
    decided = [selector for selector, state in states if state.status == "done"]
    if decided:
        return Skip({"reason": "not_selected", "by": view[decided[0]].path or decided[0]})
    return Skip(_worst(states))


def _selects(selector: str, planned: PlannedStep, view: View) -> bool:
    state = view.get(selector)
    if state is None:
        return False
    if state.status == "failed":
        return planned.name in state.selected
    return state.status == "done" and planned.name in state.selected


def _joined(planned: PlannedStep, view: View, fragile: Container[str]) -> Verdict:
    """The join over the parents; one that chose this step counts as done, also when it chose it by failing."""
    join, total, done = planned.step.join, len(planned.parents), 0
    lost: list[tuple[str, Settled]] = []
    for parent in planned.parents:
        state = view.get(parent)
        if state is None:
            continue
        if state.status == "done" or (parent in planned.selectors and _selects(parent, planned, view)):
            done += 1
        else:
            lost.append((parent, state))
    pending = total - done - len(lost)
    if join == "default":
        if pending:
            return "wait"
        blocked = [(parent, state) for parent, state in lost if state.blocks]
        if blocked or not done:
            return Skip(_worst(blocked or lost))
        return "start"
    if join == "always":
        return "wait" if pending else "start"
    needed = total if join == "all" else 1 if join == "any" else join.at_least if isinstance(join, AtLeast) else 0
    if done >= needed:
        return "start"
    if done + pending < needed:
        waiting = [parent for parent in planned.parents if parent not in view]
        if any(planned.parents[parent] for parent in waiting):
            return "wait"
        return _lost(lost, waiting, fragile)
    return "wait"


def _worst(states: Iterable[tuple[str, Settled]]) -> Cause:
    """The cause to hand on when several parents are lost: failure outranks choice, then the first in order."""
    listed = list(states)
    parent, state = next(((p, s) for p, s in listed if s.blocks), listed[0])
    return inherited(parent, state)
