"""Races: joins that give up the parents that come too late."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.analysis.rules.facts import Facts
from graphs.analysis.rules.settling import is_hasty
from state.problems import Problem


def races(facts: Facts) -> Iterator[Problem]:
    """``bad_race`` and ``without_effect``."""
    for step in facts.plan.steps.values():
        if not step.step.cancel_rest:
            continue
        if not is_hasty(step):
            message = f"{step.name!r} waits for all its parents, so there is no rest to give up"
            hint = "add join: any, or join: {at_least: …}"
            yield facts.at(step, "bad_race", message, "/cancel_rest", hint)
        elif all(facts.settling.surely(step, loser) for loser in step.losers):
            message = f"{step.name!r} gives up nothing: no step leads only to it and may still be at work"
            hint = "steps that lead elsewhere too are never given up; take cancel_rest: away"
            yield facts.at(step, "without_effect", message, "/cancel_rest", hint, "warning")
