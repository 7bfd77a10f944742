"""The triggers in a spec: they can fire, and what they give is an input that the workflow takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from graphs.analysis.rules.fitting import literal, misfit
from graphs.analysis.rules.subject import Subject
from graphs.language.source import escaped
from graphs.language.trigger_faults import wrong_with
from graphs.language.triggers import Listening, PostgresTrigger, ScheduleTrigger, Starting, WebhookTrigger
from nodes.expression import ExpressionError, Reference, compile_condition
from nodes.template import TemplateError, Value, compile_value
from state.problems import Problem
from state.services import SECRET
from state.values import Json

_HINT = "see docs/schedules.md, Events"


def triggers(subject: Subject) -> Iterator[Problem]:
    """``bad_trigger``, ``unknown_secret``, and for their expressions and inputs the codes of any other ones."""
    for name, trigger in subject.plan.spec.triggers.items():
        at = f"/triggers/{escaped(name)}"
        for wrong in wrong_with(trigger):
            place = f"{at}/{wrong.field}" if wrong.field else at
            yield subject.problem(0, "bad_trigger", wrong.message, place, wrong.hint)
        yield from _secret(subject, trigger, at)
        yield from _when(subject, trigger, at)
        yield from _input(subject, trigger, at)


def _secret(subject: Subject, trigger: Starting, at: str) -> Iterator[Problem]:
    match trigger:
        case WebhookTrigger(secret=str(text)):
            field = "secret"
        case PostgresTrigger(database=str(text)):
            field = "database"
        case _:
            return
    found = SECRET.fullmatch(text)
    if found and (refusal := subject.services.secrets.problem(found[1])):
        listed = ", ".join(subject.services.secrets.names()) or "none"
        yield subject.problem(0, "unknown_secret", refusal, f"{at}/{field}", f"the settings name {listed}")


def _when(subject: Subject, trigger: Starting, at: str) -> Iterator[Problem]:
    if not isinstance(trigger, Listening) or not isinstance(trigger.when, str):
        return
    try:
        found = compile_condition(trigger.when)
    except ExpressionError as error:
        yield subject.problem(0, "expression", str(error), f"{at}/when", _HINT)
        return
    yield from _roots(subject, ((f"{at}/when", reference) for reference in found.references))


def _input(subject: Subject, trigger: Starting, at: str) -> Iterator[Problem]:
    given = trigger.input
    if given is None and not isinstance(trigger, ScheduleTrigger):
        return
    schema = subject.plan.spec.input
    declared = schema.get("properties")
    known: Mapping[str, Json] = declared if isinstance(declared, Mapping) else {}
    for name in schema.get("required", ()):
        if name not in (given or {}):
            message = f"The workflow needs the input {name!r}, and the trigger does not give it"
            yield subject.problem(
                0, "missing_argument", message, f"{at}/input" if given else at, "give it under input:"
            )
    for name, value in (given or {}).items():
        place = f"{at}/input/{escaped(name)}"
        if name not in known and schema.get("additionalProperties") is False:
            hint = subject.nearest(name, known, "the workflow takes")
            yield subject.problem(0, "unknown_input", f"The workflow has no input {name!r}", place, hint)
            continue
        yield from _value(subject, value, known.get(name, {}), place)


def _value(subject: Subject, value: Json, wanted: Json, place: str) -> Iterator[Problem]:
    try:
        found = compile_value(value)
    except TemplateError as error:
        yield subject.problem(0, "expression", str(error), place + error.pointer, _HINT)
        return
    yield from _roots(subject, ((place + pointer, reference) for pointer, reference in found.references))
    if not found.references and (why := _unfit(found, wanted)):
        yield subject.problem(0, "argument_type", f"The input does not fit: {why}", place)


def _unfit(found: Value, wanted: Json) -> str | None:
    try:
        return misfit(literal(found.evaluate({})), wanted, wanted if isinstance(wanted, dict) else {})
    except ExpressionError:
        return None


def _roots(subject: Subject, references: Iterator[tuple[str, Reference]]) -> Iterator[Problem]:
    for place, reference in references:
        if reference.root != "event":
            message = f"{reference.root!r} is not known to a trigger"
            yield subject.problem(0, "unknown_reference", message, place, "a trigger sees only event")
