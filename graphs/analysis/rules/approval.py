"""Tools that a person has to approve in each run stand behind a question to a person."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.analysis.plan import PlannedStep
from graphs.analysis.rules.subject import Subject
from graphs.language.spec import ToolNode
from nodes.base import CallingNode
from state.problems import Problem


def approval(subject: Subject) -> Iterator[Problem]:
    """``unapproved``."""
    for step in subject.plan.steps.values():
        for place, name in called(step):
            tool = subject.services.tools.find(name)
            if tool is not None and getattr(tool, "needs_approval", False) and not _behind_a_person(subject, step):
                message = f"{tool.name} needs a person's approval in each run, and nobody is asked before {step.name!r}"
                hint = "put a human step before it, and let its answer decide: when: approve.decision == 'run'"
                yield subject.at(step, "unapproved", message, place, hint)


def called(step: PlannedStep) -> Iterator[tuple[str, str]]:
    """The tools that a step may call, by their places: its own, those that serve instead, and the one that undoes it."""
    node = step.step
    if isinstance(node, ToolNode):
        yield "/tool", node.tool
    if isinstance(node, CallingNode):
        for index, fallback in enumerate(node.fallback):
            if fallback.tool is not None:
                yield f"/fallback/{index}/tool", fallback.tool
        if node.undo is not None:
            yield "/undo/tool", node.undo.tool


def _behind_a_person(subject: Subject, step: PlannedStep) -> bool:
    """Whether a step that must be settled before this one asks a person, here or around the loop."""
    steps, seen = subject.plan.steps, set[str]()
    waiting = [step]
    while waiting:
        current = waiting.pop()
        if current.kind == "human":
            return True
        header = subject.plan.scopes[current.scope].header
        before = [*current.parents, *current.selectors, *([header] if header else [])]
        waiting += [steps[other] for other in before if other not in seen]
        seen.update(before)
    return False
