"""Every path through a workflow, on mocks made from schemas: no tool and no model is called."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from graphs.analysis.check import Analysis, analyse
from graphs.analysis.expand import Resolve
from graphs.analysis.plan import Plan
from graphs.build import compiled
from graphs.graph import WorkflowGraph
from graphs.language.load import Workflow
from graphs.simulation.bounds import Cost, Prices, Worst, cost, worst
from graphs.simulation.choices import Choices, Tree
from graphs.simulation.clock import Stuck, VirtualLoop, run
from graphs.simulation.coverage import Branch, branches, taken
from graphs.simulation.gaps import gaps
from graphs.simulation.influence import influence
from graphs.simulation.making import Making
from graphs.simulation.mocks import Front, mocked
from graphs.simulation.report import Bound, End, Excess, Report
from graphs.simulation.script import Script, recorded
from graphs.simulation.walk import Ended, walk
from graphs.simulation.world import Faults, Setting, SimulatedWorld
from state.errors import SpecError
from state.services import Services
from state.values import Json

RUNS = 1000
SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """When the walk ends although paths are left, and what is tried.

    ``input`` fixes these inputs, the others are chosen; ``recording`` is the state of an earlier run, whose results stand
    in for its calls and answers, and whose input is taken where none is given.
    """

    runs: int = RUNS
    seconds: float = SECONDS
    faults: Faults = "handled"
    input: Mapping[str, Json] = field(default_factory=dict)
    context: Mapping[str, Json] = field(default_factory=dict)
    recording: Mapping[str, Json] | None = None
    prices: Prices = field(default_factory=dict)


def simulate(workflow: Workflow, services: Services, resolve: Resolve, bounds: Bounds | None = None) -> Report:
    """Walk every path through the workflow, as far as the bounds allow.

    Raises:
        SpecError: every problem that ``check`` reports as an error.
        InputRefused: an input that is given does not fit.
    """
    analysis = analyse(workflow, services, resolve)
    if analysis.errors:
        raise SpecError(tuple(analysis.errors))
    chosen = bounds or Bounds()
    exploring = _Exploration(analysis.plan, services, chosen)
    try:
        run(exploring.walk_all)
    except Stuck:
        exploring.bound = "seconds"
    return exploring.report(analysis, services)


class _Exploration:
    """The walk over all paths of one plan."""

    def __init__(self, plan: Plan, services: Services, bounds: Bounds) -> None:
        self.plan, self.bounds = plan, bounds
        mocks, self.front = mocked(services)
        self.graph: WorkflowGraph = compiled(plan, mocks)
        found = influence(plan)
        self.tree = Tree(found.decisions)
        self.setting = Setting(plan=plan, services=mocks, influence=found, faults=bounds.faults)
        self.ends: dict[object, End] = {}
        self.covered: set[Branch] = set()
        self.paths: set[object] = set()
        self.runs = 0
        self.bound: Bound = ""

    async def walk_all(self, loop: VirtualLoop) -> None:
        """Run after run until the tree is exhausted, or a bound is reached."""
        until = time.monotonic() + self.bounds.seconds
        while not self.tree.exhausted:
            if self.runs >= self.bounds.runs or time.monotonic() > until:
                self.bound = "runs" if self.runs >= self.bounds.runs else "seconds"
                return
            loop.deadline = until + 1.0
            await self.walk_one(loop)

    async def walk_one(self, loop: VirtualLoop) -> None:
        """One run, with the choices that are next in the tree."""
        choices = self.tree.next()
        world = SimulatedWorld(self.setting, choices, self.script())
        given = self.input(choices)
        ended = await walk(self.graph, self.front, world, given, dict(self.bounds.context), loop)
        self.runs += 1
        self.tree.ran(choices)
        self.note(ended, world, given)

    def script(self) -> Script:
        """What is written for a run."""
        if self.bounds.recording is None:
            return Script()
        kinds = {path: step.kind for path in self.bounds.recording.get("nodes") or {}
                 if (step := self.setting.step(path)) is not None}  # fmt: skip
        return recorded(self.bounds.recording, kinds)

    def input(self, choices: Choices) -> dict[str, Json]:
        """The input of a run: what is given, and what is chosen for the rest."""
        base = (self.bounds.recording or {}).get("input") or {}
        given = {**base, **self.bounds.input}
        schema = dict(self.plan.spec.input)
        left = {name: part for name, part in schema.get("properties", {}).items() if name not in given}
        rest = {**schema, "properties": left, "required": [n for n in schema.get("required", ()) if n in left]}
        made = Making(rest, choices, "input").value(self.setting.influence.input)
        return {**{name: value for name, value in made.items() if name not in given}, **given}

    def note(self, ended: Ended, world: SimulatedWorld, given: Json) -> None:
        """Keep what a run showed."""
        self.covered |= taken(self.plan, ended)
        statuses = {path: str(record.get("status")) for path, record in ended.records.items()}
        self.paths.add((ended.status, tuple(sorted(statuses.items()))))
        error = dict(ended.error) if ended.error else None
        key = (ended.status, (error or {}).get("class"), frozenset(statuses.items()))
        if (known := self.ends.get(key)) is not None:
            self.ends[key] = replace(
                known,
                runs=known.runs + 1,
                worst=_worse(known.worst, worst(self.plan, ended)),
                cost=_dearer(known.cost, cost(self.plan, world.made, self.bounds.prices)),
            )
            return
        self.ends[key] = End(
            status=ended.status,
            path=tuple(ended.done),
            nodes=statuses,
            error=error,
            input=given,
            choices=tuple((pick.key, pick.label) for pick in world.choices.taken),
            output=ended.state.get("output"),
            worst=worst(self.plan, ended),
            cost=cost(self.plan, world.made, self.bounds.prices),
        )

    def report(self, analysis: Analysis, services: Services) -> Report:
        """All that was found."""
        ends = tuple(sorted(self.ends.values(), key=lambda end: (end.status, -end.runs, end.path)))
        listed = branches(self.plan)
        longest, dearest = Worst(seconds=0.0, working=0.0), None
        for end in ends:
            longest = _worse(longest, end.worst)
            dearest = _dearer(dearest, end.cost) if dearest else end.cost
        total = dearest or Cost()
        left = [branch for branch in listed if branch not in self.covered]
        return Report(
            workflow=self.plan.spec.name,
            runs=self.runs,
            paths=len(self.paths),
            complete=not self.bound and not self.tree.stuck_to,
            bound=self.bound,
            narrowed=tuple(sorted(self.tree.stuck_to)),
            ends=ends,
            covered=tuple(branch for branch in listed if branch in self.covered),
            gaps=tuple(gaps(self.plan, services, left, self.bound)),
            worst=longest,
            cost=total,
            excesses=tuple(_excesses(self.plan, ends)),
            warnings=tuple(self.setting.warnings),
        )


def _worse(one: Worst, other: Worst) -> Worst:
    return Worst(
        seconds=max(one.seconds, other.seconds),
        working=max(one.working, other.working),
        unbounded=tuple(dict.fromkeys([*one.unbounded, *other.unbounded])),
    )


def _dearer(one: Cost, other: Cost) -> Cost:
    """The range that holds both."""
    unbounded = tuple(dict.fromkeys([*one.unbounded, *other.unbounded]))
    tokens, usd = [one.most_tokens, other.most_tokens], [one.most_usd, other.most_usd]
    least = [value for value in (one.least_usd, other.least_usd) if value is not None]
    return Cost(
        least_tokens=min(one.least_tokens, other.least_tokens),
        most_tokens=None if unbounded else max(value or 0 for value in tokens),
        least_usd=min(least) if len(least) == 2 else None,
        most_usd=max(value or 0.0 for value in usd) if not unbounded and None not in usd else None,
        calls=max(one.calls, other.calls),
        unbounded=unbounded,
    )


def _excesses(plan: Plan, ends: tuple[End, ...]) -> list[Excess]:
    """The limits that the declared worst case of some path exceeds."""
    limits = plan.spec.limits
    most = {
        "timeout": max((end.worst.working for end in ends), default=0.0),
        "max_tokens": max((end.cost.most_tokens or end.cost.least_tokens for end in ends), default=0),
        "max_cost_usd": max((end.cost.most_usd or end.cost.least_usd or 0.0 for end in ends), default=0.0),
        "max_steps": max((_steps(plan, end) for end in ends), default=0),
    }
    found = [(name, getattr(limits, name), value) for name, value in most.items()]
    over = [
        Excess(limit=name, value=limit, most=value)
        for name, limit, value in found
        if limit is not None and value > limit
    ]
    paused = [end for end in ends if end.status == "paused" and limits.max_steps is not None]
    if paused and limits.max_steps is not None and all(excess.limit != "max_steps" for excess in over):
        if any(_steps(plan, end) >= limits.max_steps for end in paused):
            over.append(Excess(limit="max_steps", value=limits.max_steps, most=limits.max_steps + 1))
    return over


def _steps(plan: Plan, end: End) -> int:
    """How many steps that call a model or a tool have run."""
    from graphs.simulation.world import INDEX

    kinds = {path: plan.steps[step_id].kind for path in end.nodes if (step_id := INDEX.sub("", path)) in plan.steps}
    ran = (path for path, status in end.nodes.items() if status in ("done", "failed", "cancelled"))
    return sum(1 for path in ran if kinds.get(path) in ("llm", "tool"))


__all__ = ["Bounds", "Front", "Report", "simulate"]
