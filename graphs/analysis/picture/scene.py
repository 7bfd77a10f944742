"""What a picture shows: the boxes of one scope with their arrows, and the scopes inside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphs.analysis.draw import afterwards, labels
from graphs.analysis.plan import ON_FAILURE, Plan, PlannedStep, Stage, Unwinding
from graphs.language.spec import ForEach, LlmNode, Repeat, Use

LONGEST = 40
"""How much of a condition stands on an arrow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A step; ``note`` says how a loop loops, ``state`` what it is in a run."""

    id: str
    name: str
    kind: str
    note: str = ""
    state: str = ""
    body: Scene | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """One step before another; ``label`` is the condition that chooses the target."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One scope."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]

    def essential(self) -> tuple[Arrow, ...]:
        """The arrows without those that others imply."""
        after: dict[str, set[str]] = {box.id: set() for box in self.boxes}
        for arrow in self.arrows:
            after[arrow.source].add(arrow.target)
        beyond = _reachable(after)
        return tuple(
            arrow
            for arrow in self.arrows
            if arrow.label or not any(arrow.target in beyond[other] for other in after[arrow.source] - {arrow.target})
        )


def scene(plan: Plan, states: Mapping[str, str] | None = None, scope: str = "") -> Scene:
    """The picture of a scope; ``states`` are the states of steps by their id."""
    states = states or {}
    held = plan.scopes[scope]
    ends = afterwards(plan, held)
    steps = [plan.steps[step_id] for step_id in (*held.names.values(), *(step_id for _, step_id in ends))]
    boxes = tuple(
        Box(
            id=step.id,
            name=step.name,
            kind=step.kind,
            note=_note(step),
            state=states.get(step.id, ""),
            body=scene(plan, states, step.id) if step.id in plan.scopes else None,
        )
        for step in steps
    )
    arrows: list[Arrow] = []
    for step in steps:
        chosen = labels(plan, step)
        for successor in step.successors:
            label = chosen.get(plan.steps[successor].name, "")
            arrows.append(Arrow(source=step.id, target=successor, label=" ".join(label.split())))
    before: tuple[str, ...] = held.leaves
    for label, step_id in ends:
        arrows += [Arrow(source=one, target=step_id, label=label) for one in before]
        before = (step_id,)
    return Scene(title=scope or plan.spec.name, boxes=boxes, arrows=tuple(arrows))


def short(text: str, width: int = LONGEST) -> str:
    """The text, cut to a width."""
    return text if len(text) <= width else text[: width - 1] + "…"


def _note(step: PlannedStep) -> str:
    if isinstance(step.step, LlmNode) and step.talks:
        who = f"{step.step.agent} " if step.step.agent else ""
        tools = ", ".join(step.step.tools)
        return f"{who}turn by turn, at most {step.step.budget.max_turns}{f', with {short(tools)}' if tools else ''}"
    match step.step:
        case ForEach() as loop:
            return f"for each of {short(str(loop.for_each))}, {loop.max_parallel} at a time"
        case Repeat() as loop:
            until = f" until {short(str(loop.repeat.until))}" if loop.repeat.until is not None else ""
            return f"repeat{until}, at most {loop.repeat.max_iterations} times"
        case Use() as used:
            return f"uses {used.use}"
        case Stage():
            return "when the run has failed" if step.name == ON_FAILURE else "at the end in any case"
        case Unwinding():
            return "takes back what is finished, the last first"
    return f"when {short(str(step.step.when))}" if step.step.when is not None else ""


def _reachable(after: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """What lies behind each box, in any number of arrows."""
    found: dict[str, set[str]] = {}
    for start in after:
        stack = [start]
        while stack:
            top = stack[-1]
            missing = [each for each in after[top] if each not in found]
            if top in found or not missing:
                found.setdefault(top, set().union(after[top], *(found[each] for each in after[top])))
                stack.pop()
            else:
                stack.extend(missing)
    return found
