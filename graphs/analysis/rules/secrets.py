"""Secrets stand only where they are resolved, in the arguments of tools; and the settings hold them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from graphs.analysis.plan import PlannedStep
from graphs.analysis.rules.subject import Subject
from graphs.language.source import escaped
from graphs.language.spec import ToolNode
from nodes.base import CallingNode
from state.problems import Problem
from state.services import SECRET
from state.values import Json

_PROSE: Final = frozenset({"description", "metadata", "tags"})
_PASSED: Final[Any] = {
    **dict.fromkeys(("nodes", "args", *_PROSE), True),
    "undo": {"args": True},
    "fallback": {"__all__": {"args": True}},
}
"""What is not looked at as a field of the step."""
_SHOWN: Final = 12
_GIVEN: Final = "tools: of the secret, in the settings, says which tools it is given to"
_HINT: Final = "write it as an argument of a tool, alone in its text: token: secret://name"


def secrets(subject: Subject) -> Iterator[Problem]:
    """``secret_out_of_place``, and ``unknown_secret`` or ``secret_refused`` where it stands right and the tool would not get it."""
    for scope, workflow in subject.roots():
        spec = workflow.spec
        for field in ("input", "vars", "agents", "output"):
            yield from _found(subject, scope.document, _plain(getattr(spec, field)), f"/{field}")
    for step in subject.plan.steps.values():
        own = step.step.model_dump(by_alias=True, exclude=_PASSED, exclude_defaults=True)
        yield from _found(subject, step.document, own, step.pointer)
        for place, tool, args in _passed(step):
            for pointer, text in _texts(args, place):
                if (reference := SECRET.fullmatch(text)) is None:
                    yield _refused(subject, step.document, step.pointer + pointer, "is only a part of this text")
                elif refusal := subject.services.secrets.problem(reference[1]):
                    yield subject.at(step, "unknown_secret", refusal, pointer, _named(subject))
                elif refusal := subject.services.secrets.problem(reference[1], tool=tool):
                    yield subject.at(step, "secret_refused", refusal, pointer, _GIVEN)


def _passed(step: PlannedStep) -> Iterator[tuple[str, str, Json]]:
    """The arguments of the tools that a step may call, by their places, with the tool that each is for."""
    node = step.step
    own = node.args if isinstance(node, ToolNode) else {}
    if isinstance(node, ToolNode):
        yield "/args", node.tool, own
    if isinstance(node, CallingNode):
        if node.undo is not None:
            yield "/undo/args", node.undo.tool, node.undo.args
        for index, fallback in enumerate(node.fallback):
            if fallback.args is not None:
                yield f"/fallback/{index}/args", fallback.tool or "", fallback.args
            elif fallback.tool is not None:
                yield "/args", fallback.tool, own


def _plain(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: item if isinstance(item, str | dict | list) else _dumped(item) for key, item in value.items()}
    return value


def _dumped(item: object) -> Json:
    dump = getattr(item, "model_dump", None)
    return dump(exclude=_PROSE) if dump is not None else None


def _found(subject: Subject, document: int, value: Json, pointer: str) -> Iterator[Problem]:
    for place, _ in _texts(value, pointer):
        yield _refused(subject, document, place, "would be seen by others than a tool")


def _refused(subject: Subject, document: int, pointer: str, why: str) -> Problem:
    return subject.problem(document, "secret_out_of_place", f"A secret {why}", pointer, _HINT)


def _named(subject: Subject) -> str:
    known = [*islice(subject.services.secrets.names(), _SHOWN)]
    return f"the settings name {', '.join(known)}" if known else "name it under [secrets] in cogwork.toml"


def _texts(value: Json, pointer: str) -> Iterator[tuple[str, str]]:
    """The texts that name a secret, with their places."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, f"{pointer}/{escaped(str(key))}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{pointer}/{index}")
    elif isinstance(value, str) and "secret://" in value:
        yield pointer, value
