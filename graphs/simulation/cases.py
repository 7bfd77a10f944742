"""The tests that a spec holds: each one run on its mocks, and held against what it expects."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from graphs.analysis.check import analyse
from graphs.analysis.expand import Resolve
from graphs.build import compiled
from graphs.graph import WorkflowGraph
from graphs.language.load import Workflow
from graphs.language.spec import TestCase
from graphs.simulation.choices import Choices
from graphs.simulation.clock import VirtualLoop, run
from graphs.simulation.influence import influence
from graphs.simulation.mocks import mocked
from graphs.simulation.script import Script
from graphs.simulation.walk import Ended, walk
from graphs.simulation.world import Made, Setting, SimulatedWorld
from nodes.expression import ExpressionError, compile_condition
from state.errors import InputRefused, SpecError
from state.services import Services
from state.values import Json

_INDEX: Final = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One expectation that was not met: which, what was wanted and what was found."""

    what: str
    wanted: Json
    found: Json

    def __str__(self) -> str:
        """The two as one line each, or as a diff of their JSON where that is longer than a line."""
        wanted, found = (json.dumps(v, ensure_ascii=False, indent=2, sort_keys=True) for v in (self.wanted, self.found))
        if "\n" not in wanted + found or len(wanted) + len(found) < 80:
            return f"{self.what}: expected {_line(self.wanted)}, found {_line(self.found)}"
        lines = difflib.unified_diff(wanted.splitlines(), found.splitlines(), "expected", "found", lineterm="", n=2)
        return "\n".join([f"{self.what}:", *lines])


def _line(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """What became of one test: it has passed when there is no difference."""

    workflow: str
    name: str
    description: str
    status: str
    differences: tuple[Difference, ...]
    warnings: tuple[str, ...]
    output: Json = None
    path: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all that was expected was found."""
        return not self.differences

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON."""
        return {**asdict(self), "passed": self.passed}


def run_cases(
    workflow: Workflow, services: Services, resolve: Resolve, only: Collection[str] | None = None
) -> list[CaseResult]:
    """Run the tests of a workflow, in their order; ``only`` names those that are wanted.

    Raises:
        SpecError: every problem that ``check`` reports as an error.
    """
    analysis = analyse(workflow, services, resolve)
    if analysis.errors:
        raise SpecError(tuple(analysis.errors))
    wanted = {name: case for name, case in workflow.spec.tests.items() if only is None or name in only}
    mocks, front = mocked(services)
    graph = compiled(analysis.plan, mocks)
    found = influence(analysis.plan)

    async def all_of(loop: VirtualLoop) -> list[CaseResult]:
        results: list[CaseResult] = []
        for name, case in wanted.items():
            setting = Setting(plan=analysis.plan, services=mocks, influence=found, faults="none")
            script = Script(mocks=case.mocks, answers=case.answers, strict=case.strict, silent=True)
            world = SimulatedWorld(setting, Choices({}, set()), script)
            results.append(await _run_case(name, case, graph, world, loop, front))
        return results

    return run(all_of)


async def _run_case(
    name: str, case: TestCase, graph: WorkflowGraph, world: SimulatedWorld, loop: VirtualLoop, front: Any
) -> CaseResult:
    workflow = graph.plan.spec.name
    try:
        ended = await walk(graph, front, world, dict(case.input), dict(case.context), loop)
    except InputRefused as refused:
        found = Difference(what="input", wanted="an input that fits", found=refused.faults)
        return CaseResult(
            workflow=workflow,
            name=name,
            description=case.description,
            status="refused",
            differences=(found,),
            warnings=(),
        )
    made_up = {_INDEX.sub("", path): None for path in world.unwritten}
    return CaseResult(
        workflow=workflow,
        name=name,
        description=case.description,
        status=ended.status,
        differences=tuple(_differences(case, ended, world)),
        warnings=(*(f"{path} has no mock: its result is made up" for path in made_up), *world.setting.warnings),
        output=ended.state.get("output"),
        path=tuple(ended.done),
    )


def _differences(case: TestCase, ended: Ended, world: SimulatedWorld) -> Iterator[Difference]:
    """All that is not as expected."""
    expected, error = case.expect, ended.error or {}
    if expected.status is not None and expected.status != ended.status:
        why = {"status": ended.status, "error": error} if error else ended.status
        yield Difference(what="status", wanted=expected.status, found=why)
    elif expected.status is None and ended.status == "failed" and expected.error is None:
        yield Difference(what="status", wanted="completed", found={"status": "failed", "error": dict(error)})
    if expected.error is not None and expected.error != error.get("class"):
        yield Difference(what="error", wanted=expected.error, found=error.get("class"))
    if "output" in expected.model_fields_set and expected.output is not None:
        if not _same(expected.output, ended.state.get("output")):
            yield Difference(what="output", wanted=expected.output, found=ended.state.get("output"))
    if not _in_order(expected.path, ended.done):
        yield Difference(what="path", wanted=expected.path, found=ended.done)
    for step, status in expected.nodes.items():
        found = _statuses(step, ended)
        if set(found.values()) != {status}:
            yield Difference(what=f"nodes.{step}", wanted=status, found=_only(found))
    for step, wanted in expected.calls.items():
        yield from _of_calls(step, wanted, [made for made in world.made if step in (made.asked.path, made.step)])
    for condition in expected.holds:
        yield from _held(condition, ended)
    for key in world.script.overrun:
        yield Difference(
            what=f"mocks.{key}", wanted=f"{world.script.counts[f'call:{key}'] - 1} calls", found="more calls"
        )


def _same(one: Json, other: Json) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True) or (
        isinstance(one, int | float) and not isinstance(one, bool) and not isinstance(other, bool) and one == other
    )


def _in_order(wanted: list[str], done: list[str]) -> bool:
    """Whether the steps, by path or id, were done in this order, with any others between them."""
    left = iter(done)
    return all(any(step in (path, _INDEX.sub("", path)) for path in left) for step in wanted)


def _statuses(step: str, ended: Ended) -> dict[str, str]:
    """The statuses of the instances of a step; ``pending`` where it was never reached."""
    matching = {p: str(r.get("status")) for p, r in ended.records.items() if step in (p, _INDEX.sub("", p))}
    if step in matching:
        return {step: matching[step]}
    return {p: s for p, s in matching.items() if not p.endswith("]")} or {step: "pending"}


def _only(found: Mapping[str, str]) -> Json:
    return next(iter(found.values())) if len(found) == 1 else dict(found)


def _of_calls(step: str, wanted: int | list[Json], made: list[Made]) -> Iterator[Difference]:
    """The number of calls, or what each was given: some of a tool's arguments, or a part of a model's prompt."""
    if isinstance(wanted, int):
        if len(made) != wanted:
            yield Difference(what=f"calls.{step}", wanted=wanted, found=len(made))
        return
    given = [call.asked.given for call in made]
    if len(given) != len(wanted) or not all(_fits(w, g) for w, g in zip(wanted, given, strict=True)):
        yield Difference(what=f"calls.{step}", wanted=wanted, found=given)


def _fits(wanted: Json, given: Json) -> bool:
    if isinstance(wanted, dict) and isinstance(given, dict):
        return all(name in given and _same(value, given[name]) for name, value in wanted.items())
    return wanted in given if isinstance(wanted, str) and isinstance(given, str) else _same(wanted, given)


def _held(condition: bool | str, ended: Ended) -> Iterator[Difference]:
    """Whether an expression is true of what the run left."""
    results = dict(ended.state.get("results") or {})
    steps = {path: {**record, "output": results.get(path)} for path, record in ended.records.items()}
    run = {**(ended.state.get("run") or {}), "status": ended.status}
    names = {"output": ended.state.get("output"), "input": ended.state.get("input"), "run": run}
    try:
        held = compile_condition(str(condition)).evaluate({**names, "results": results, "steps": steps})
    except ExpressionError as error:
        held = f"{error}"
    if held is not True:
        yield Difference(what=f"holds: {condition}", wanted=True, found=held)


__all__ = ["CaseResult", "Difference", "run_cases"]
