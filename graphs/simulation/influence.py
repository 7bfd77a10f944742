"""Which values decide what runs: followed from the conditions back to the results, answers and inputs that they come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from graphs.analysis.plan import Lookup, Plan, PlannedStep, Scope
from graphs.simulation.demand import Demand, Path, Use, test
from graphs.simulation.reading import Mark, Reader
from nodes.base import Compiled
from nodes.expression import Expression
from nodes.template import Template, Value

_TRUTH: Final = Use(tests=frozenset({test("truth", True)}), decisive=True)
_SIZES: Final = Use(tests=frozenset(test("size", count) for count in (0, 1, 2)), decisive=True)
_MOST: Final = 20_000
_LAPS: Final = 2
"""How many iterations back ``previous`` is followed: each round of arithmetic squares the values to try."""


@dataclass(slots=True, kw_only=True)
class Influence:
    """What is asked of each value: of steps by id, of the workflow's input, of the metadata of steps."""

    values: dict[str, Demand] = field(default_factory=dict)
    input: Demand = field(default_factory=Demand)
    faults: dict[str, set[str]] = field(default_factory=dict)
    """By step id the classes of failure that expressions compare with."""
    decisions: list[set[str]] = field(default_factory=list)
    """For each expression that decides what runs, its sources: step ids, and inputs as ``input.name``."""

    def of(self, step_id: str) -> Demand:
        """What is asked of a step's value."""
        return self.values.setdefault(step_id, Demand())


def influence(plan: Plan) -> Influence:
    """What the expressions of a sound plan ask of its sources."""
    following = _Following(plan)
    for step in plan.steps.values():
        scope = plan.scopes[step.scope]
        body = plan.scopes.get(step.id)
        for pointer, compiled in step.fields.items():
            inside = pointer in ("/output", "/repeat/until") and step.node is None
            seen_from, lookups = (body, step.body_lookups) if inside and body else (scope, step.lookups)
            if pointer.startswith("/undo"):
                lookups = step.undo_lookups
            following.decide(compiled, _use_of(pointer), seen_from, lookups)
    for scope in plan.scopes.values():
        if scope.output is not None:
            following.field(scope.output, (), Use(), scope, scope.output_lookups)
    return following.found


def _use_of(pointer: str) -> Use:
    if pointer == "/for_each":
        return _SIZES
    return _TRUTH if pointer in ("/when", "/repeat/until") or pointer.startswith("/cases/") else Use()


class _Following:
    """One walk over a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.found = plan, Influence()
        self._seen: set[tuple[str, Path, Use]] = set()
        self._sources: set[str] = set()
        self._laps: dict[str, int] = {}
        """By loop, how many iterations back the walk has followed ``previous``."""

    def decide(self, compiled: Compiled, use: Use, scope: Scope, lookups: Iterable[Lookup]) -> None:
        """Follow a field of a step; where it decides what runs, note its sources."""
        if use.decisive:
            self._sources = set()
            self._seen.clear()
        self.field(compiled, (), use, scope, lookups)
        if use.decisive:
            self.found.decisions.append(self._sources)

    def field(self, compiled: Compiled, path: Path, use: Use, scope: Scope, lookups: Iterable[Lookup]) -> None:
        """Follow what a field's value at ``path`` is made of."""
        by_root = {(lookup.root, lookup.kind == "meta"): lookup for lookup in lookups}
        for expression, rest, inner in _parts(compiled, path, use):
            reader = Reader(vars=scope.vars)
            reader.read(expression.tree, rest, inner)
            for mark in reader.marks:
                self.mark(mark, scope, by_root)

    def mark(self, mark: Mark, scope: Scope, lookups: dict[tuple[str, bool], Lookup]) -> None:
        """One use of one root, at a path."""
        if mark.root == "steps":
            self.meta(mark, lookups)
            return
        lookup = lookups.get((mark.root, False))
        kind = lookup.kind if lookup else None
        if lookup is not None and kind == "node":
            self.value(lookup.target, mark.path, mark.use)
        elif kind == "input":
            self.input(self.owner(scope), mark.path, mark.use)
        elif kind == "loop":
            self.loop(mark, scope)

    def meta(self, mark: Mark, lookups: dict[tuple[str, bool], Lookup]) -> None:
        """A use of ``steps.<name>``."""
        name, *rest = mark.path or (None,)
        lookup = lookups.get((str(name), True))
        if lookup is None or not rest:
            return
        if rest[0] == "output":
            self.value(lookup.target, tuple(rest[1:]), mark.use)
        elif rest[:2] == ["error", "class"]:
            classes = {t.constant for t in mark.use.tests if isinstance(t.constant, str)}
            self.found.faults.setdefault(lookup.target, set()).update(classes)

    def owner(self, scope: Scope) -> Scope:
        """The workflow that a scope belongs to."""
        while scope.kind not in ("workflow", "use"):
            scope = self.plan.scopes[scope.parent or ""]
        return scope

    def input(self, owner: Scope, path: Path, use: Use) -> None:
        """A use of the workflow's input, or of what a used workflow is given."""
        if owner.header is None:
            self.found.input.at(path).take(use)
            self._sources.add(f"input.{path[0]}" if path else "input")
            return
        header = self.plan.steps[owner.header]
        if "/with" in header.fields and self._new(f"with:{header.id}", path, use):
            self.field(header.fields["/with"], path, use, self.plan.scopes[header.scope], header.lookups)

    def loop(self, mark: Mark, scope: Scope) -> None:
        """A use of ``item`` or ``previous``."""
        kind = {"item": "for_each", "previous": "repeat"}.get(mark.root)
        around: Scope | None = scope
        while around is not None and around.kind != kind:
            around = self.plan.scopes[around.parent] if around.parent is not None else None
        if around is None or not self._new(f"{mark.root}:{around.id}", mark.path, mark.use):
            return
        header = self.plan.steps[around.id]
        outside = self.plan.scopes[header.scope]
        if mark.root == "item":
            self.field(header.fields["/for_each"], (None, *mark.path), mark.use, outside, header.lookups)
        elif self._laps.get(around.id, 0) < _LAPS:
            self._laps[around.id] = self._laps.get(around.id, 0) + 1
            if "/repeat/initial" in header.fields:
                self.field(header.fields["/repeat/initial"], mark.path, mark.use, outside, header.lookups)
            self.body(header, mark.path, mark.use)
            self._laps[around.id] -= 1

    def value(self, step_id: str, path: Path, use: Use) -> None:
        """A use of a step's value."""
        step = self.plan.steps[step_id]
        if not self._new(step_id, path, use):
            return
        if step.kind in ("llm", "tool", "human", "agent"):
            self.found.of(step_id).at(path).take(use)
            self._sources.add(step_id)
            for standin in step.standins:
                if standin:
                    self.value(standin, path, use)
        elif step.kind == "transform":
            self.field(step.fields["/set"], path, use, self.plan.scopes[step.scope], step.lookups)
        elif step.kind == "for_each":
            if not path:
                self.field(step.fields["/for_each"], (), use, self.plan.scopes[step.scope], step.lookups)
            elif not isinstance(path[0], str):
                self.body(step, path[1:], use)
        elif step.kind in ("repeat", "use"):
            self.body(step, path, use)

    def body(self, header: PlannedStep, path: Path, use: Use) -> None:
        """A use of what the body of a loop, or a used workflow, yields."""
        scope = self.plan.scopes[header.id]
        if "/output" in header.fields:
            self.field(header.fields["/output"], path, use, scope, header.body_lookups)
        elif scope.output is not None:
            self.field(scope.output, path, use, scope, scope.output_lookups)
        elif len(scope.leaves) == 1:
            self.value(scope.leaves[0], path, use)
        elif path and isinstance(path[0], str) and path[0] in scope.names:
            self.value(scope.names[path[0]], path[1:], use)

    def _new(self, what: str, path: Path, use: Use) -> bool:
        key = (what, path, use)
        if key in self._seen or len(self._seen) > _MOST or len(path) > 16:
            return False
        self._seen.add(key)
        return True


def _parts(compiled: Compiled, path: Path, use: Use) -> Iterator[tuple[Expression, Path, Use]]:
    """The expressions that make up a field's value at a path, each with the rest of the path."""
    if isinstance(compiled, Expression):
        yield compiled, path, use
        return
    inner = compiled.inner
    if isinstance(inner, Template):
        whole = inner.is_island
        for expression in inner.expressions:
            yield expression, path if whole else (), use if whole else use.also(opaque=True)
        return
    for key, part in _below(inner):
        if not path:
            yield from _parts(part, (), use if use.decisive and not use.tests else Use())
        elif path[0] == key or (path[0] is None and isinstance(key, int)):
            yield from _parts(part, path[1:], use)


def _below(inner: object) -> Iterator[tuple[str | int, Value]]:
    if isinstance(inner, dict):
        yield from inner.items()
    elif isinstance(inner, list):
        yield from enumerate(inner)
