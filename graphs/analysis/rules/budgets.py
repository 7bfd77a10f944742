"""Times and limits that contradict each other."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.analysis.plan import PlannedStep
from graphs.analysis.rules.subject import Subject
from graphs.language.spec import Limits, LlmNode
from nodes.base import CallingNode
from state.problems import Problem


def budgets(subject: Subject) -> Iterator[Problem]:
    """``bad_timeout`` and ``small_budget``."""
    limits = subject.plan.spec.limits
    for step in subject.plan.steps.values():
        if isinstance(step.step, CallingNode):
            yield from _times(subject, step, step.step, limits)
        if isinstance(step.step, LlmNode) and limits.max_tokens is not None:
            asked = step.step.max_tokens
            if asked is not None and asked > limits.max_tokens:
                message = (
                    f"One answer of {step.name!r} may have {asked} tokens, and the whole run only {limits.max_tokens}"
                )
                hint = "raise the limit above what one call may use, or lower the step's max_tokens"
                yield subject.problem(0, "small_budget", message, "/limits/max_tokens", hint)


def _times(subject: Subject, step: PlannedStep, node: CallingNode, limits: Limits) -> Iterator[Problem]:
    once, total = node.timeout, node.total_timeout
    if once is not None and total is not None and total < once:
        message = f"All attempts of {step.name!r} together may take {total:g} s, and one alone {once:g} s"
        yield subject.at(step, "bad_timeout", message, "/total_timeout", "make it longer than timeout:")
    field, longest = ("total_timeout", total) if total is not None else ("timeout", once)
    if longest is not None and limits.timeout is not None and longest > limits.timeout:
        message = f"{step.name!r} may take {longest:g} s, and the whole run only {limits.timeout:g} s"
        hint = "the run pauses at its limit, and the step is never given that long"
        yield subject.at(step, "small_budget", message, f"/{field}", hint, "warning")
