"""A result that is the bare name of a step is text, and hardly meant so."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.analysis.rules.subject import Subject
from graphs.language.source import escaped
from state.problems import Problem
from state.values import Json


def literal(subject: Subject) -> Iterator[Problem]:
    """``literal_output`` (warning)."""
    for scope, workflow in subject.roots():
        for pointer, text in _texts(workflow.spec.output):
            if text.strip() in scope.names:
                name = text.strip()
                message = f"The output is the word {name!r}, not the value of the step of that name"
                yield subject.problem(
                    scope.document, "literal_output", message, pointer, f'write "{{{{ {name} }}}}"', "warning"
                )


def _texts(output: Json) -> Iterator[tuple[str, str]]:
    if isinstance(output, str):
        yield "/output", output
    elif isinstance(output, dict):
        yield from ((f"/output/{escaped(key)}", value) for key, value in output.items() if isinstance(value, str))
