"""The tests in a spec: they name steps that are there, and stand in with values that could be."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Final

from graphs.analysis.plan import PlannedStep
from graphs.analysis.rules.subject import Subject
from graphs.language.source import escaped
from graphs.language.spec import TestCase
from nodes.agent import AgentCall, AgentTurn
from nodes.base import Node
from nodes.expression import ExpressionError, compile_condition
from state.errors import FAULT_CLASSES
from state.problems import Problem
from state.schemas import faults, with_defaults
from state.values import Json, Schema

_INDEX: Final = re.compile(r"\[\d+\]")


def spec_tests(subject: Subject) -> Iterator[Problem]:
    """``unknown_test_step``, ``test_mismatch`` and ``expression``, for the tests of the workflow itself."""
    spec = subject.plan.spec
    for name, case in spec.tests.items():
        at = f"/tests/{escaped(name)}"
        yield from _input(subject, case, f"{at}/input")
        for step, entry in case.mocks.items():
            yield from _standing_in(subject, ("llm", "tool", "agent"), step, entry, f"{at}/mocks/{escaped(step)}")
        for step, entry in case.answers.items():
            yield from _standing_in(subject, ("human",), step, entry, f"{at}/answers/{escaped(step)}")
        yield from _expected(subject, case, f"{at}/expect")


def _input(subject: Subject, case: TestCase, at: str) -> Iterator[Problem]:
    schema = subject.plan.spec.input
    for sentence in faults(schema, with_defaults(schema, dict(case.input)), limit=3):
        message = f"The input of the test does not fit: {sentence}"
        yield subject.problem(0, "test_mismatch", message, at, "give what the workflow's input declares")


def _standing_in(subject: Subject, kinds: tuple[str, ...], step: str, entry: Json, at: str) -> Iterator[Problem]:
    """Mocks and answers: for a step that calls, or asks, and fitting what it gives."""
    planned = subject.plan.steps.get(_INDEX.sub("", step))
    if planned is None:
        yield _unknown(subject, step, at)
        return
    if planned.kind not in kinds:
        listed = "a person's" if kinds == ("human",) else "a model's or a tool's"
        message = f"{step!r} is {planned.kind}: only {listed} step can be stood in for here"
        hint = (
            "name the steps inside it, such as loop.step"
            if planned.node is None
            else "answers are for people, mocks for calls"
        )
        yield subject.problem(0, "unknown_test_step", message, at, hint)
        return
    schema = _given_by(subject, planned)
    several = isinstance(entry, list)
    for index, each in enumerate(entry if several else [entry]):
        yield from _entry(subject, schema, each, f"{at}/{index}" if several else at)


def _given_by(subject: Subject, planned: PlannedStep) -> Schema:
    """What may stand for a step; a turn gives calls or an answer of any kind."""
    if planned.kind == "agent" and isinstance(planned.step, Node):
        return planned.step.result_schema(subject.services)
    if planned.node is None or isinstance(planned.node, AgentTurn | AgentCall):
        return {}
    return planned.node.result_schema(subject.services)


def _entry(subject: Subject, schema: Schema, entry: Json, at: str) -> Iterator[Problem]:
    if isinstance(entry, dict) and "fault" in entry and set(entry) <= {"fault", "message"}:
        if entry["fault"] not in FAULT_CLASSES:
            message = f"{entry['fault']!r} is no class of failure"
            yield subject.problem(0, "test_mismatch", message, at, f"there are {', '.join(FAULT_CLASSES)}")
        return
    for sentence in faults(schema, with_defaults(schema, entry), limit=1):
        message = f"The step could not give this: {sentence}"
        hint = "give a value that fits its schema; a list stands for one call after the other, so wrap a list in a list"
        yield subject.problem(0, "test_mismatch", message, at, hint)


def _expected(subject: Subject, case: TestCase, at: str) -> Iterator[Problem]:
    named = [(step, f"{at}/path/{index}") for index, step in enumerate(case.expect.path)]
    named += [(step, f"{at}/nodes/{escaped(step)}") for step in case.expect.nodes]
    named += [(step, f"{at}/calls/{escaped(step)}") for step in case.expect.calls]
    for step, place in named:
        if _INDEX.sub("", step) not in subject.plan.steps:
            yield _unknown(subject, step, place)
    if case.expect.error is not None and case.expect.error not in FAULT_CLASSES:
        message = f"{case.expect.error!r} is no class of failure"
        yield subject.problem(0, "test_mismatch", message, f"{at}/error", f"there are {', '.join(FAULT_CLASSES)}")
    for index, condition in enumerate(case.expect.holds):
        try:
            compile_condition(str(condition))
        except ExpressionError as error:
            hint = "see docs/language.md, Expressions"
            yield subject.problem(0, "expression", str(error), f"{at}/holds/{index}", hint)


def _unknown(subject: Subject, step: str, at: str) -> Problem:
    close = difflib.get_close_matches(_INDEX.sub("", step), subject.plan.steps, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(subject.plan.steps)}"
    return subject.problem(0, "unknown_test_step", f"There is no step {step!r}", at, hint)
