"""A document on its way to the canonical form: its value so far, where each part of it stood, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graphs.language.source import Source, escaped
from state.errors import SpecError
from state.problems import Problem, Severity
from state.values import Json


def source_pointer(origin: Mapping[str, str], pointer: str) -> str:
    """Where the part at a canonical ``pointer`` stands in the source: its nearest mapped ancestor, and the rest of the way."""
    head, tail = pointer, ""
    while head not in origin:
        if not head:
            return pointer
        head, _, last = head.rpartition("/")
        tail = f"/{last}{tail}"
    return origin[head] + tail


def under(pointer: str, *keys: str | int) -> str:
    """The pointer of what lies below ``pointer`` by these keys."""
    return "".join([pointer, *(f"/{key if isinstance(key, int) else escaped(key)}" for key in keys)])


@dataclass(slots=True, kw_only=True)
class Draft:
    """A translation in the making. ``origin`` maps canonical pointers to source pointers where the two differ."""

    source: Source
    value: dict[str, Json] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def move(self, new: str, old: str) -> None:
        """Say that what now stands at ``new`` stood at ``old`` of the form before."""
        target = source_pointer(self.origin, old)
        if source_pointer(self.origin, new) != target:
            self.origin[new] = target

    def raw(self, pointer: str) -> str | None:
        """The source text of the unquoted scalar that stands at a canonical pointer."""
        return self.source.raw.get(source_pointer(self.origin, pointer))

    def report(
        self, code: str, message: str, pointer: str, hint: str = "", *, severity: Severity = "error", key: bool = False
    ) -> None:
        """Note a problem at a canonical pointer."""
        place = source_pointer(self.origin, pointer)
        self.problems.append(self.source.problem(code, message, place, hint, severity=severity, key=key))

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What does not keep the document from being loaded, in order of place."""
        return tuple(sorted((p for p in self.problems if p.severity == "warning"), key=Problem.sort_key))

    def refuse_errors(self) -> None:
        """Raise everything found so far as one SpecError if any of it is an error."""
        if any(problem.severity == "error" for problem in self.problems):
            raise SpecError(tuple(sorted(self.problems, key=Problem.sort_key)))
