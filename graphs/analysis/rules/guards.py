"""References to steps that may have been skipped or may still be at work, where nothing takes care of that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from graphs.analysis.plan import PlannedStep, Reading
from graphs.analysis.rules.facts import Facts
from graphs.analysis.rules.logic import Formula
from graphs.analysis.rules.settling import is_hasty
from state.problems import Problem

_GUARD = "write {name}?.field, or give a default: {{{{ {name}.field | default: '…' }}}}"


def guards(facts: Facts) -> Iterator[Problem]:
    """``maybe_skipped`` and ``maybe_unfinished``."""
    raced = {loser for step in facts.plan.steps.values() for loser in _given_up(facts, step)}
    for scope in facts.plan.scopes.values():
        yield from _result(facts, scope.document, facts.presences.within[scope.id], scope.output_uses, raced)
    for step in facts.plan.steps.values():
        if step.id in facts.plan.scopes:
            yield from _result(facts, step.document, facts.presences.within[step.id], step.body_uses, raced)
            yield from _early(facts, step, (reading for reading in step.body_uses if reading.outer))
        if step.step.join not in ("default", "all"):
            yield from _loose(facts, step)
        yield from _early(facts, step, step.uses)
        yield from _afterwards(facts, step)


def _given_up(facts: Facts, step: PlannedStep) -> Iterator[str]:
    """What a race may have ended before it was done."""
    return (loser for loser in step.losers if not facts.settling.surely(step, loser))


def _afterwards(facts: Facts, step: PlannedStep) -> Iterator[Problem]:
    """In ``on_failure`` and ``finally`` any of the workflow's steps may not have run: the failure may have come first."""
    stage = facts.stage(step)
    if stage is None:
        return
    for reading in _unguarded((*step.uses, *step.body_uses)):
        target = facts.plan.steps[reading.target]
        if all(scope.id != stage.id for scope in facts.within(target)):
            name = facts.plan.steps[stage.header or ""].name
            yield _skipped(facts, step.document, reading, f"and {name} runs all the same, whatever has failed before")


def _unguarded(readings: Iterable[Reading]) -> Iterator[Reading]:
    return (reading for reading in readings if not reading.guarded and not reading.meta)


def _result(
    facts: Facts, document: int, given: Formula, readings: Iterable[Reading], raced: set[str]
) -> Iterator[Problem]:
    """What is evaluated once a scope is settled, whatever its steps have come to."""
    for reading in _unguarded(readings):
        if reading.target in raced or not facts.presences.implied(given, reading.target):
            yield _skipped(facts, document, reading, "and this is evaluated all the same")


def _loose(facts: Facts, step: PlannedStep) -> Iterator[Problem]:
    """Under ``any``, ``at_least`` and ``always`` a parent that was skipped does not keep the step from starting."""
    given = facts.presences.before(step)
    for reading in _unguarded(step.uses):
        early = reading.pointer == f"{step.pointer}/when"
        holds = facts.presences.of[step.id].joined if early else given
        if not facts.presences.implied(holds, reading.target):
            yield _skipped(facts, step.document, reading, f"and {step.name!r} starts all the same, by its join")


def _early(facts: Facts, step: PlannedStep, readings: Iterable[Reading]) -> Iterator[Problem]:
    """What a step refers to must be settled when it starts, or when the loop around it starts."""
    for reading in _unguarded(readings):
        waiting = facts.around(step, facts.plan.steps[reading.target].scope)
        if not is_hasty(waiting) or facts.settling.surely(waiting, reading.target):
            continue
        if not facts.presences.implied(facts.presences.before(waiting), reading.target) and waiting is step:
            continue
        name = facts.plan.steps[reading.target].name
        yield facts.problem(
            step.document,
            "maybe_unfinished",
            f"{name!r} may still be at work when {waiting.name!r} starts, by its join",
            reading.pointer,
            f"take away the join, or guard it: {_GUARD.format(name=name)}",
        )


def _skipped(facts: Facts, document: int, reading: Reading, consequence: str) -> Problem:
    name = facts.plan.steps[reading.target].name
    return facts.problem(
        document,
        "maybe_skipped",
        f"{name!r} may be skipped, {consequence}",
        reading.pointer,
        _GUARD.format(name=name),
    )
