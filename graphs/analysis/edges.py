"""The edges among the steps of one scope: written, out of references, and chosen; and the rings that they may form."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.analysis.names import Names
from graphs.analysis.plan import PlannedStep, Reading, Scope
from graphs.analysis.standins import stand_in
from graphs.language.spec import Step
from nodes.base import AtLeast, Then
from nodes.condition import ConditionNode


def link(names: Names, scope: Scope, members: list[PlannedStep]) -> None:
    """Lay the edges among the members of a scope: what is written, referred to, and chosen."""
    for member in members:
        _written(names, member, scope)
        _read(names, member, scope)
    selectors = _choices(names, scope, members)
    for member in members:
        member.selectors = tuple(selectors.get(member.id, ()))
    stand_in(names, scope, members)
    successors: dict[str, list[str]] = {member.id: [] for member in members}
    for member in members:
        for parent in dict.fromkeys([*member.parents, *member.selectors]):
            successors[parent].append(member.id)
    for member in members:
        member.successors = tuple(successors[member.id])
    scope.entries = tuple(m.id for m in members if not m.parents and not m.selectors)
    scope.leaves = tuple(m.id for m in members if _is_last(names, m))
    for member in members:
        member.losers = tuple(_losers(names, scope, member))
    _refuse_rings(names, scope, members)


def _is_last(names: Names, member: PlannedStep) -> bool:
    """Whether nothing comes after the step; what only stands in for it does not."""
    return not member.stands_in and all(names.steps[s].stands_in for s in member.successors)


def _losers(names: Names, scope: Scope, racer: PlannedStep) -> list[str]:
    """The steps that lead to ``racer`` and nowhere else, which nobody needs once it starts."""
    if not (racer.step.cancel_rest and (racer.step.join == "any" or isinstance(racer.step.join, AtLeast))):
        return []
    inside: set[str] = {racer.id}
    waiting = list(_before(racer))
    while waiting:
        current = names.steps[waiting.pop()]
        onward = [s for s in current.successors if not names.steps[s].stands_in]
        if current.id not in inside and onward and inside.issuperset(onward):
            inside.add(current.id)
            waiting += _before(current)
    return [step_id for step_id in scope.names.values() if step_id in inside - {racer.id}]


def targets(step: Step) -> Iterator[tuple[str, str]]:
    """The names that a step chooses, with the pointers of the fields that name them."""
    if isinstance(step, ConditionNode):
        yield from step.targets()
    if isinstance(step.on_error, Then):
        yield "/on_error/then", step.on_error.then


def _written(names: Names, member: PlannedStep, scope: Scope) -> None:
    for index, name in enumerate(member.step.depends_on):
        parent = scope.names.get(name)
        if parent is None or parent == member.id:
            what = "itself" if parent == member.id else f"{name!r}, which is no step here"
            names.report(
                member.document,
                "unknown_dependency",
                f"{member.name!r} depends on {what}",
                f"{member.pointer}/depends_on/{index}",
                names.suggestion(scope, name),
            )
        else:
            member.parents.setdefault(parent, False)


def _read(names: Names, member: PlannedStep, scope: Scope) -> None:
    """Edges out of references; a body's references to the outside are edges of the loop itself."""
    outer: dict[str, None] = {}
    for reading in member.uses:
        required = not reading.guarded and not reading.meta
        if reading.target == member.id:
            _refuse_self(names, member, reading)
        elif names.steps[reading.target].scope == scope.id:
            member.parents[reading.target] = member.parents.get(reading.target, False) or required
        elif required:
            outer[reading.target] = None
    for reading in _inside(names, member):
        if reading.target == member.id:
            _refuse_self(names, member, reading)
        elif names.steps[reading.target].scope == scope.id:
            member.parents.setdefault(reading.target, False)
    member.outer_required = tuple(outer)


def _refuse_self(names: Names, member: PlannedStep, reading: Reading) -> None:
    names.report(
        member.document,
        "self_reference",
        f"{member.name!r} refers to its own value",
        reading.pointer,
        "a step's value exists only after it has run; in a repeat loop, previous is the last iteration's",
    )


def _inside(names: Names, member: PlannedStep) -> Iterator[Reading]:
    """The readings inside a loop's body, at any depth."""
    scope = names.scopes.get(member.id)
    if scope is None or scope.kind == "use":
        return
    yield from member.body_uses
    for step_id in scope.names.values():
        yield from names.steps[step_id].uses
        yield from _inside(names, names.steps[step_id])


def _choices(names: Names, scope: Scope, members: list[PlannedStep]) -> dict[str, dict[str, None]]:
    """For each step the conditions and failures that choose it."""
    chosen: dict[str, dict[str, None]] = {}
    for member in members:
        for pointer, name in targets(member.step):
            target = scope.names.get(name)
            if target is None or target == member.id:
                names.report(
                    member.document,
                    "unknown_target",
                    f"{member.name!r} leads to {name!r}, which is no other step here",
                    member.pointer + pointer,
                    names.suggestion(scope, name),
                )
            else:
                chosen.setdefault(target, {})[member.id] = None
    return chosen


def _before(member: PlannedStep) -> Iterator[str]:
    yield from member.parents
    yield from member.selectors


def _refuse_rings(names: Names, scope: Scope, members: list[PlannedStep]) -> None:
    """Report rings of edges, one for each knot; steps in a ring could never start."""
    waiting = {m.id: len({*_before(m)}) for m in members}
    free = [m for m, count in waiting.items() if not count]
    while free:
        for successor in names.steps[free.pop()].successors:
            waiting[successor] -= 1
            if not waiting[successor]:
                free.append(successor)
    stuck = dict.fromkeys(m for m, count in waiting.items() if count)
    while stuck:
        ring = _ring(names, stuck)
        listed = " → ".join(names.steps[m].name for m in [*ring, ring[0]])
        names.report(
            scope.document,
            "cycle",
            f"These steps wait for each other: {listed}",
            names.steps[ring[0]].pointer,
            "loops are written with repeat: or for_each:",
        )
        stuck = _beyond(names, stuck, ring)


def _ring(names: Names, stuck: dict[str, None]) -> list[str]:
    """One ring among steps that wait for each other, in the order of the edges, from its first step in the text."""
    trail: dict[str, None] = {}
    current = next(iter(stuck))
    while current not in trail:
        trail[current] = None
        current = next(p for p in _before(names.steps[current]) if p in stuck)
    listed = list(trail)
    ring = listed[listed.index(current) :][::-1]
    members = set(ring)
    first = ring.index(next(m for m in stuck if m in members))
    return ring[first:] + ring[:first]


def _beyond(names: Names, stuck: dict[str, None], ring: list[str]) -> dict[str, None]:
    """What is still stuck if the ring were cut: steps that only wait behind it are not rings of their own."""
    left = {m: len({p for p in _before(names.steps[m]) if p in stuck}) for m in stuck}
    gone, free = set(ring), list(ring)
    while free:
        for successor in names.steps[free.pop()].successors:
            if successor in left and successor not in gone:
                left[successor] -= 1
                if not left[successor]:
                    gone.add(successor)
                    free.append(successor)
    return {m: None for m in stuck if m not in gone}
