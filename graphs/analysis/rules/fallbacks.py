"""Fallbacks: each one thing that can serve, giving what the step itself promises."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.analysis.plan import PlannedStep
from graphs.analysis.rules.facts import Facts
from graphs.analysis.rules.fitting import misfit
from graphs.analysis.rules.logic import Formula
from graphs.analysis.rules.subject import Subject
from graphs.language.spec import LlmNode
from nodes.base import CallingNode, Fallback
from nodes.expression.schemas import known
from state.problems import Problem
from state.schemas import schema_fault
from state.values import Schema

_KINDS = ("model", "tool", "agent", "node")


def each(subject: Subject) -> Iterator[tuple[PlannedStep, str, Fallback]]:
    """Every fallback with its step and its place in it."""
    for step in subject.plan.steps.values():
        for index, fallback in enumerate(step.step.fallback if isinstance(step.step, CallingNode) else ()):
            yield step, f"/fallback/{index}", fallback


def shape(subject: Subject) -> Iterator[Problem]:
    """``bad_fallback``."""
    for step, place, fallback in each(subject):
        chosen = [kind for kind in _KINDS if getattr(fallback, kind) is not None]
        if len(chosen) != 1:
            given = f"it has {' and '.join(chosen)}" if chosen else "it has none of them"
            message = f"A fallback is a model, a tool, an agent or a node, and {given}"
            hint = "write one entry for each; they are tried in order"
            yield subject.at(step, "bad_fallback", message, place, hint)
        elif chosen[0] in ("model", "agent") and not isinstance(step.step, LlmNode):
            message = f"{step.name!r} asks no model, so another {chosen[0]} cannot serve"
            hint = "only llm steps fall back on models and agents; name a tool or a node"
            yield subject.at(step, "bad_fallback", message, f"{place}/{chosen[0]}", hint)
        elif fallback.args is not None and fallback.tool is None:
            message = f"Arguments are passed to tools, and this fallback is a {chosen[0]}"
            yield subject.at(step, "bad_fallback", message, f"{place}/args", "take args: away")


def results(facts: Facts) -> Iterator[Problem]:
    """``fallback_type``: what serves surely gives something else than the step promises."""
    for step, place, fallback in each(facts):
        given, field = _given(facts, step, place, fallback)
        wanted = step.node.result_schema(facts.services) if step.node is not None else {}
        if not given or not wanted or schema_fault(wanted) is not None:
            continue
        if why := misfit(known(given), wanted, wanted):
            message = f"What {getattr(fallback, field)!r} gives does not fit what {step.name!r} promises: {why}"
            hint = "change what serves, or the output that the step declares"
            yield facts.at(step, "fallback_type", message, f"{place}/{field}", hint)


def _given(facts: Facts, step: PlannedStep, place: str, fallback: Fallback) -> tuple[Schema, str]:
    if fallback.tool is not None:
        tool = facts.services.tools.find(fallback.tool)
        return (tool.output_schema if tool is not None else {}), "tool"
    served = step.standins[int(place.rpartition("/")[2])] if step.standins else ""
    return facts.types.values.get(served, {}), "node"


def standins(facts: Facts) -> Iterator[Problem]:
    """``maybe_skipped``: a stand-in runs whenever its step fails, so what it needs must be there whenever that runs."""
    for step in facts.plan.steps.values():
        if not step.stands_in:
            continue
        given: Formula = facts.presences.of[step.stands_in].started
        served = facts.plan.steps[step.stands_in].name
        for reading in step.uses:
            if reading.guarded or reading.meta or facts.presences.implied(given, reading.target):
                continue
            name = facts.plan.steps[reading.target].name
            yield facts.problem(
                step.document,
                "maybe_skipped",
                f"{name!r} may be skipped, and {step.name!r} serves all the same when {served!r} fails",
                reading.pointer,
                f"write {name}?.field, or give a default: {{{{ {name}.field | default: '…' }}}}",
            )
