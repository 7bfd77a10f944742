"""Inputs and constants: those that nobody uses, and those that are used but not declared."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from graphs.analysis.names import references
from graphs.analysis.plan import Scope
from graphs.analysis.rules.subject import Subject
from graphs.language.source import escaped
from nodes.base import Compiled
from nodes.expression import Reference
from state.problems import Problem


def usage(subject: Subject) -> Iterator[Problem]:
    """``unused_input``, ``unused_var``, ``unknown_input``, ``unknown_var``."""
    found: dict[int, list[tuple[str, Reference]]] = {}
    for document, pointer, compiled in _fields(subject):
        for inner, reference in references(compiled):
            if reference.root in ("input", "vars"):
                found.setdefault(document, []).append((pointer + inner, reference))
    for scope, _ in subject.roots():
        here = found.get(scope.document, [])
        properties = scope.input_schema.get("properties", {})
        closed = scope.input_schema.get("additionalProperties", not properties) is False
        inputs = [(pointer, r) for pointer, r in here if r.root == "input"]
        constants = [(pointer, r) for pointer, r in here if r.root == "vars"]
        yield from _unused(subject, scope, properties, inputs, "input", "/input/properties")
        yield from _unused(subject, scope, scope.vars, constants, "var", "/vars")
        if closed:
            yield from _unknown(subject, scope, properties, inputs, "input")
        yield from _unknown(subject, scope, scope.vars, constants, "var")


def _fields(subject: Subject) -> Iterator[tuple[int, str, Compiled]]:
    for step in subject.plan.steps.values():
        for pointer, compiled in step.fields.items():
            yield step.document, step.pointer + pointer, compiled
    for scope in subject.plan.scopes.values():
        if scope.output is not None:
            yield scope.document, "/output", scope.output


def _unused(
    subject: Subject,
    scope: Scope,
    declared: Mapping[str, Any],
    used: list[tuple[str, Reference]],
    word: str,
    pointer: str,
) -> Iterator[Problem]:
    """Declared and never read; a reference to all of them at once, or to a computed one, reads every one."""
    if any(not reference.path or not isinstance(reference.path[0], str) for _, reference in used):
        return
    read = {reference.path[0] for _, reference in used}
    for name in declared:
        if name not in read:
            message = f"Nothing uses the {'input' if word == 'input' else 'constant'} {name!r}"
            place = f"{pointer}/{escaped(name)}"
            hint = "leave it out, or refer to it as " + f"{'input' if word == 'input' else 'vars'}.{name}"
            yield subject.problem(scope.document, f"unused_{word}", message, place, hint, "warning")


def _unknown(
    subject: Subject, scope: Scope, declared: Mapping[str, Any], used: list[tuple[str, Reference]], word: str
) -> Iterator[Problem]:
    for pointer, reference in used:
        name = reference.path[0] if reference.path else None
        if isinstance(name, str) and name not in declared:
            close = difflib.get_close_matches(name, declared, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"declared are: {', '.join(declared) or 'none'}"
            message = f"There is no {'input' if word == 'input' else 'constant'} {name!r}"
            yield subject.problem(scope.document, f"unknown_{word}", message, pointer, hint)
