"""When a step runs, as the checks reckon it, held against the decisions that the runtime takes."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import pytest

from graphs.analysis.expand import expand
from graphs.analysis.plan import Plan, PlannedStep
from graphs.analysis.rules.facts import Facts
from graphs.analysis.rules.logic import FALSE, TRUE, Logic, TooHard
from graphs.language.load import load
from graphs.runtime.joins import Settled, Skip, decide
from nodes.base import Then
from nodes.condition import ConditionNode
from tests.fakes import fake_services
from tests.test_check import used

FLAGS = ("f", "g")


def drawn(chance: random.Random) -> dict[str, Any]:
    """A workflow of a few steps whose edges lead from earlier to later ones."""
    names = [f"s{index}" for index in range(chance.randint(2, 6))]
    nodes = {name: _step(chance, names[:index], names[index + 1 :]) for index, name in enumerate(names)}
    return {"cogwork": "v1", "name": "drawn", "input": dict.fromkeys(FLAGS, "boolean"), "nodes": nodes}


def _step(chance: random.Random, earlier: list[str], later: list[str]) -> dict[str, Any]:
    parents = chance.sample(earlier, min(len(earlier), chance.randint(0, 3)))
    needed = [parent for parent in parents if chance.random() < 0.4]
    step: dict[str, Any] = {"depends_on": [parent for parent in parents if parent not in needed]}
    joins: list[Any] = [
        "default",
        "default",
        "all",
        "any",
        "always",
        {"at_least": chance.randint(1, len(parents) or 1)},
    ]
    step["join"] = chance.choice(joins) if parents else "default"
    if chance.random() < 0.4:
        step["when"] = chance.choice(["", "not "]) + f"input.{chance.choice(FLAGS)}"
    if later and chance.random() < 0.4:
        cases = [{"if": f"input.{flag}", "then": chance.choice(later)} for flag in FLAGS[: chance.randint(1, 2)]]
        step |= {"type": "condition", "cases": cases, "match": chance.choice(["first", "all"])}
        step["depends_on"] = parents
        return step | ({"else": chance.choice(later)} if chance.random() < 0.6 else {})
    step |= {"type": "tool", "tool": "t", "args": {"value": [f"{{{{ {parent} }}}}" for parent in needed]}}
    if chance.random() < 0.5:
        step["on_error"] = {"then": chance.choice(later)} if later and chance.random() < 0.6 else "skip"
    return step


def simulated(plan: Plan, flags: dict[str, bool], fails: dict[str, bool]) -> dict[str, Settled]:
    """What each step comes to by the runtime's decisions, when they are taken in the order of the edges."""
    view: dict[str, Settled] = {}
    for step in plan.steps.values():
        verdict = decide(step, view, {})
        if isinstance(verdict, Skip):
            view[step.id] = Settled("skipped", verdict.cause)
        else:
            assert verdict == "start"
            view[step.id] = _run(step, flags, fails)
    return view


def _run(step: PlannedStep, flags: dict[str, bool], fails: dict[str, bool]) -> Settled:
    values = {"input": flags}
    if step.step.when is not None and not step.fields["/when"].evaluate(values):
        return Settled("skipped", {"reason": "when_false", "by": step.id})
    if isinstance(step.step, ConditionNode):
        held = [i for i in range(len(step.step.cases)) if step.fields[f"/cases/{i}/if"].evaluate(values)]
        held = held[:1] if step.step.match == "first" else held
        chosen = {str(step.step.cases[i].then) for i in held} if held else {str(step.step.else_)}
        return Settled("done", None, frozenset(chosen))
    if fails.get(step.id):
        policy = step.step.on_error
        if isinstance(policy, Then):
            return Settled("failed", None, frozenset({policy.then}))
        return Settled("skipped", {"reason": "error_ignored", "by": step.id})
    return Settled("done")


@pytest.mark.req("T3", "X5")
@pytest.mark.parametrize("seed", range(400))
def test_a_step_is_reckoned_to_run_exactly_when_the_runtime_starts_it(seed: int) -> None:
    spec = drawn(random.Random(seed))
    plan, problems = expand(load(spec), used)
    assert not problems
    facts = Facts(plan=plan, services=fake_services())
    risky = [step_id for step_id, step in plan.steps.items() if step.step.on_error != "fail"]
    for values in product((False, True), repeat=len(FLAGS) + len(risky)):
        flags = dict(zip(FLAGS, values, strict=False))
        fails = dict(zip(risky, values[len(FLAGS) :], strict=True))

        def true(key: Any, flags: dict[str, bool] = flags, fails: dict[str, bool] = fails) -> bool:
            return not fails[key[0]] if key[1] == "succeeds" else flags[key[1].removeprefix("input.")]

        for step_id, settled in simulated(plan, flags, fails).items():
            reckoned = facts.presences.logic.holds(facts.presences.of[step_id].done, true)
            assert reckoned == (settled.status == "done"), (step_id, flags, fails, spec)
            lost = facts.presences.logic.holds(facts.presences.of[step_id].lost, true)
            assert lost == settled.blocks, (step_id, flags, fails, spec)


def test_equal_formulas_are_equal_numbers() -> None:
    logic = Logic()
    a, b, c = (logic.variable(key) for key in "abc")
    assert logic.any((logic.all((a, b)), logic.all((a, logic.no(b))))) == a
    assert logic.no(logic.all((a, b))) == logic.any((logic.no(a), logic.no(b)))
    assert logic.all((a, logic.no(a))) == FALSE
    assert logic.any((a, logic.no(a))) == TRUE
    pairs = [logic.all(pair) for pair in ((a, b), (a, c), (b, c))]
    assert logic.at_least(2, (a, b, c)) == logic.any(pairs)
    assert logic.implies(logic.all((a, b)), logic.any((a, c))) and not logic.implies(a, b)


def test_the_work_on_formulas_is_bounded() -> None:
    logic = Logic(limit=1_000)
    with pytest.raises(TooHard):
        logic.at_least(50, [logic.variable(index) for index in range(100)])


def test_a_deep_formula_needs_no_deep_stack() -> None:
    logic = Logic()
    chain = logic.all(logic.variable(index) for index in range(5_000))
    assert logic.implies(chain, logic.variable(0)) and logic.no(logic.no(chain)) == chain
