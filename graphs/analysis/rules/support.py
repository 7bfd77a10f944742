"""Fields that load but that this version does not act upon: refused, for a policy is never silently ignored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel

from graphs.analysis.rules.subject import Subject
from graphs.language.dialects.canonical import alias_of
from graphs.language.source import escaped
from state.problems import Problem

UNSUPPORTED: Final[dict[str, str]] = {}
"""Field to what it would do. Deleting a line declares the field supported; ``*`` stands for any name, and ``/nodes/*`` for the
steps of loops as well."""
_HINT: Final = "a later version acts on it; without it the workflow runs"


def support(subject: Subject) -> Iterator[Problem]:
    """``not_supported``."""
    for pattern, purpose in UNSUPPORTED.items():
        for document, pointer in _places(subject, pattern.split("/")[1:]):
            field = pattern.rpartition("/")[2]
            message = f"{field}: {purpose} is not supported yet"
            yield subject.problem(document, "not_supported", message, pointer, _HINT)
    yield from _idle_limits(subject)


def _idle_limits(subject: Subject) -> Iterator[Problem]:
    """``without_effect``: a run has one set of limits, those of the workflow that was started."""
    for scope, workflow in subject.roots():
        set_here = [name for name, limit in workflow.spec.limits if limit is not None]
        if scope.kind == "use" and set_here:
            listed = " and ".join(f"limits.{name}" for name in set_here)
            message = f"{listed} of {workflow.spec.name!r} {'have' if len(set_here) > 1 else 'has'} no effect where it is used"
            hint = "the limits of the workflow that is started count for all that it uses"
            user = subject.plan.steps[scope.id]
            yield subject.at(user, "without_effect", message, "/use", hint, "warning")


def _places(subject: Subject, parts: list[str]) -> Iterator[tuple[int, str]]:
    if parts[:2] == ["nodes", "*"]:
        for step in subject.plan.steps.values():
            yield from ((step.document, step.pointer + place) for place in _set(step.step, parts[2:]))
    else:
        for scope, workflow in subject.roots():
            yield from ((scope.document, place) for place in _set(workflow.spec, parts))


def _set(value: object, parts: list[str]) -> Iterator[str]:
    """The places below ``value`` that match and hold more than their default."""
    if not parts:
        if value:
            yield ""
    elif isinstance(value, dict) and parts[0] == "*":
        for name, item in value.items():
            yield from (f"/{escaped(name)}{rest}" for rest in _set(item, parts[1:]))
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            if alias_of(type(value), name) == parts[0]:
                yield from (f"/{parts[0]}{rest}" for rest in _set(getattr(value, name), parts[1:]))
