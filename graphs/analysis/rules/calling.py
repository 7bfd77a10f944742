"""Tools that are workflows themselves: none of them calls itself, and all of them can run."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.analysis.rules.approval import called
from graphs.analysis.rules.subject import Subject
from state.problems import Problem


def calling(subject: Subject) -> Iterator[Problem]:
    """``recursive_call``, ``broken_workflow``."""
    for step in subject.plan.steps.values():
        for place, name in called(step):
            tool = subject.services.tools.find(name)
            if tool is None:
                continue
            if name in getattr(tool, "reaches", ()):
                message = (
                    f"{name} is a workflow that calls itself, directly or through others, and never comes to an end"
                )
                yield subject.at(step, "recursive_call", message, place, "use repeat or for_each for repetition")
            elif faults := getattr(tool, "faults", ()):
                more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
                message = f"{name} cannot run: {faults[0]}{more}"
                hint = f"see cogwork check {getattr(tool, 'place', '') or name}"
                yield subject.at(step, "broken_workflow", message, place, hint)
