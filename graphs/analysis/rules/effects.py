"""What steps do to the world, held against what is asked of them: caches, undo, and writes that a failure leaves behind."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.analysis.plan import FINALLY, ON_FAILURE, PlannedStep
from graphs.analysis.rules.subject import Subject
from graphs.language.spec import ToolNode
from nodes.base import CallingNode
from state.problems import Problem


def effects(subject: Subject) -> Iterator[Problem]:
    """``cached_write``, ``declared_effect``, ``without_effect``, ``not_undone``."""
    caring = _caring(subject)
    for step in subject.plan.steps.values():
        if not isinstance(step.step, CallingNode):
            continue
        writer = _writer(subject, step.step)
        if step.step.cache is not None and writer:
            message = f"{writer} writes, and what it does must not be left out because it was done before"
            yield subject.at(
                step, "cached_write", message, "/cache", "take away cache:; results of reads can be reused"
            )
        yield from _declared(subject, step)
        yield from _needless(subject, step, writer)
        if step.document in caring:
            yield from _left_behind(subject, step)


def _writer(subject: Subject, node: CallingNode) -> str:
    """The tool by which the step, or one of its fallbacks, may write; empty where none does."""
    if isinstance(node, ToolNode) and node.effect_of(subject.services) == "write":
        return node.tool
    for fallback in node.fallback:
        if fallback.tool is not None and ToolNode(tool=fallback.tool).effect_of(subject.services) == "write":
            return fallback.tool
    return ""


def _declared(subject: Subject, step: PlannedStep) -> Iterator[Problem]:
    node = step.step
    if not isinstance(node, ToolNode) or node.effect in (None, "write"):
        return
    tool = subject.services.tools.find(node.tool)
    if tool is not None and tool.effect == "write" and getattr(tool, "effect_declared", False):
        message = f"{node.tool} says of itself that it writes; by this it counts as {node.effect!r} all the same"
        hint = "take effect: away, unless these arguments really change nothing"
        yield subject.at(step, "declared_effect", message, "/effect", hint, "warning")


def _needless(subject: Subject, step: PlannedStep, writer: str) -> Iterator[Problem]:
    """An ``undo`` that takes nothing back, or that comes too late to be called."""
    node = step.step
    if not isinstance(node, CallingNode) or node.undo is None:
        return
    if not writer and not any(subject.plan.steps[other].kind == "tool" for other in step.standins if other):
        message = f"{step.name!r} changes nothing, so there is nothing to undo"
        hint = "take undo: away, or say effect: write if the tool does change something"
        yield subject.at(step, "without_effect", message, "/undo", hint, "warning")
    elif any(scope.id == FINALLY for scope in subject.within(step)):
        message = f"{step.name!r} runs after everything has been undone"
        yield subject.at(step, "without_effect", message, "/undo", "take undo: away", "warning")


def _caring(subject: Subject) -> set[int]:
    """The documents that care for what a failed run leaves behind: they undo something, or have ``on_failure``."""
    steps = subject.plan.steps.values()
    found = {step.document for step in steps if isinstance(step.step, CallingNode) and step.step.undo is not None}
    return found | {scope.document for scope in subject.plan.scopes.values() if ON_FAILURE in scope.stages}


def _left_behind(subject: Subject, step: PlannedStep) -> Iterator[Problem]:
    """A write that may be done twice and that nothing takes back, before a step that can end the run.

    Many workflows write and could not take it back, and nobody wants to be told so of each of them. It is told only where
    the document shows that it cares what a failure leaves behind, and only if a step that comes after it can fail for good.
    """
    node = step.step
    if not isinstance(node, ToolNode) or node.undo is not None or node.repeatable(subject.services) or step.stands_in:
        return
    if subject.services.tools.find(node.tool) is None or subject.stage(step) is not None:
        return
    later = next((other for other in _after(subject, step) if _can_fail(other)), None)
    if later is not None:
        message = f"{step.name!r} writes, and nothing takes that back when {later.name!r} fails after it"
        hint = "add undo:, say idempotent: true if the tool does its work once under its key, or put it last"
        yield subject.at(step, "not_undone", message, "/tool", hint, "warning")


def _after(subject: Subject, step: PlannedStep) -> Iterator[PlannedStep]:
    """The steps that come after a step, here and around it, with what they hold."""
    steps, seen = subject.plan.steps, set[str]()
    header = subject.plan.scopes[step.scope].header
    waiting = [*step.successors]
    while header is not None:
        waiting += steps[header].successors
        header = subject.plan.scopes[steps[header].scope].header
    while waiting:
        current = steps[waiting.pop(0)]
        if current.id in seen:
            continue
        seen.add(current.id)
        yield current
        body = subject.body(current)
        waiting += [*current.successors, *(body.names.values() if body is not None else ())]


def _can_fail(step: PlannedStep) -> bool:
    return isinstance(step.step, CallingNode) and step.step.on_error == "fail" and not step.stands_in
