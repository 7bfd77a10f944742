"""What differs between two versions, in the eyes of those who call the workflow, answer its questions or allow its effects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from cogwork.library.bundles import Bundle
from cogwork.library.content import Content
from cogwork.library.house import House
from cogwork.library.pinned import services_of
from cogwork.library.schemas import input_changes, output_changes, shown
from cogwork.tools.workflows import PREFIX, WorkflowTool
from graphs.analysis.expand import expand
from graphs.analysis.plan import Plan, PlannedStep
from graphs.language.dump import plain
from graphs.language.spec import HumanNode
from nodes.base import CallingNode
from state.services import Services
from state.values import Json

Area: TypeAlias = Literal["input", "output", "people", "effects", "steps", "about", "code"]
Impact: TypeAlias = Literal["breaking", "compatible", "internal"]
IMPACTS: Final[tuple[Impact, ...]] = ("breaking", "compatible", "internal")
_OWN_PARTS: Final = ("nodes",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change: ``breaking`` for those who rely on how it was, ``compatible`` where they may go on, ``internal`` where they
    cannot notice. ``place`` is the field or step."""

    area: Area
    impact: Impact
    place: str
    told: str
    before: Json = None
    after: Json = None

    @property
    def line(self) -> str:
        """The change as a line of text."""
        return f"{self.impact}: {self.area} {self.place} {self.told}".replace("  ", " ")

    def to_dict(self) -> dict[str, Json]:
        """The change as plain JSON."""
        return {
            "area": self.area,
            "impact": self.impact,
            "place": self.place,
            "told": self.told,
            "before": self.before,
            "after": self.after,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All changes from version ``a`` to version ``b``, the gravest first."""

    changes: tuple[Change, ...]
    workflow: str = ""
    a: int = 0
    b: int = 0

    @property
    def impact(self) -> Impact | None:
        """The gravest impact; None where nothing differs."""
        return next((impact for impact in IMPACTS if any(each.impact == impact for each in self.changes)), None)

    @property
    def lines(self) -> list[str]:
        """The changes as lines of text."""
        return [each.line for each in self.changes]

    def to_dict(self) -> dict[str, Json]:
        """The comparison as plain JSON."""
        return {
            "workflow": self.workflow,
            "a": self.a,
            "b": self.b,
            "impact": self.impact,
            "changes": [each.to_dict() for each in self.changes],
        }


def compared(house: House, before: Content, after: Content) -> Comparison:
    """What changes from one content to the other."""
    found = [*_about(before, after)]
    if before.bundle is not None and after.bundle is not None:
        found += _specs(_Side.of(house, before.bundle), _Side.of(house, after.bundle))
    else:
        found += _code(before, after)
    found.sort(key=lambda each: IMPACTS.index(each.impact))
    return Comparison(changes=tuple(found))


def schemas(house: House, bundle: Bundle) -> tuple[dict[str, Json], dict[str, Json]]:
    """The JSON Schemas of what the workflow of a bundle takes and gives; the latter empty where nothing is known."""
    side = _Side.of(house, bundle)
    return dict(bundle.workflow.spec.input), dict(side.tool.output_schema or {})


def _about(before: Content, after: Content) -> Iterator[Change]:
    for name in ("name", "title", "description", "tags", "metadata"):
        one, other = (plain(getattr(each, name)) for each in (before, after))
        if one != other:
            impact: Impact = "breaking" if name == "name" else "internal"
            told = f"is {shown(other)} instead of {shown(one)}"
            yield Change(area="about", impact=impact, place=name, told=told, before=one, after=other)


def _code(before: Content, after: Content) -> Iterator[Change]:
    if before.kind != after.kind:
        told = f"is {after.kind} instead of {before.kind}: what callers may rely on cannot be compared"
        yield Change(area="code", impact="breaking", place="kind", told=told, before=before.kind, after=after.kind)
        return
    if before.code is None or after.code is None:
        return
    for name in ("reference", "arguments", "source"):
        one, other = (plain(getattr(each, name)) for each in (before.code, after.code))
        if one != other:
            told = "has changed" if name == "source" else f"is {shown(other)} instead of {shown(one)}"
            yield Change(area="code", impact="internal", place=name, told=told, before=one, after=other)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One version with its plan and services."""

    bundle: Bundle
    plan: Plan
    services: Services
    tool: WorkflowTool

    @classmethod
    def of(cls, house: House, bundle: Bundle) -> _Side:
        """The side of a bundle."""
        services = services_of(house, bundle)
        plan, _ = expand(bundle.workflow, bundle.resolve)
        tool = WorkflowTool(PREFIX + bundle.workflow.spec.name, bundle.workflow, _House(services, bundle), 1)
        return cls(bundle=bundle, plan=plan, services=services, tool=tool)

    @property
    def effects(self) -> dict[str, str]:
        """The tools that change the world, with the step that calls each first."""
        found: dict[str, str] = {}
        for step in self.plan.steps.values():
            node = step.node
            if node is not None and node.effect_of(self.services) == "write":
                found.setdefault(str(getattr(node, "tool", step.id)), step.id)
            if isinstance(step.step, CallingNode):
                tools = [each.tool for each in step.step.fallback if each.tool is not None]
                for name in tools:
                    tool = self.services.tools.find(name)
                    if tool is None or tool.effect == "write":
                        found.setdefault(name, step.id)
        return found

    @property
    def people(self) -> dict[str, HumanNode]:
        """The steps that ask people."""
        return {id: step.step for id, step in self.plan.steps.items() if isinstance(step.step, HumanNode)}


@dataclass(frozen=True, slots=True)
class _House:
    """What a workflow's output is inferred with."""

    services: Services
    bundle: Bundle
    cache: Any = None

    def resolve(self, name: str, user: Any) -> Any:
        return self.bundle.resolve(name, user)

    def workflow_files(self) -> Iterator[Any]:
        return iter(())

    def find(self, name: str) -> None:
        return None

    def load(self, source: Any) -> Any:
        raise FileNotFoundError(source)

    def specs(self) -> Any:
        raise FileNotFoundError("specs")


def _specs(a: _Side, b: _Side) -> Iterator[Change]:
    one, other = a.bundle.workflow.spec, b.bundle.workflow.spec
    for impact, place, told, old, new in input_changes(one.input, other.input):
        yield Change(area="input", impact=impact, place=place, told=told, before=old, after=new)
    for impact, place, told, old, new in output_changes(a.tool.output_schema, b.tool.output_schema):
        yield Change(area="output", impact=impact, place=place, told=told, before=old, after=new)
    yield from _people(a, b)
    yield from _effects(a, b)
    yield from _steps(a.plan, b.plan)
    for name in type(one).model_fields:
        left, right = (plain(getattr(each, name)) for each in (one, other))
        skipped = ("nodes", "input", "name", "description", "tags", "metadata", "on_failure", "finally_")
        if left != right and name not in skipped:
            told = f"is {shown(right)} instead of {shown(left)}"
            yield Change(area="steps", impact="internal", place=name, told=told, before=left, after=right)


def _people(a: _Side, b: _Side) -> Iterator[Change]:
    before, after = a.people, b.people
    for id in [*before, *(id for id in after if id not in before)]:
        if id not in after:
            yield Change(area="people", impact="compatible", place=id, told="is asked no more", before=before[id].ask)
        elif id not in before:
            told = f"is asked now: {shown(after[id].ask)}"
            yield Change(area="people", impact="breaking", place=id, told=told, after=after[id].ask)
        else:
            for impact, place, told, old, new in input_changes(before[id].form, after[id].form):
                yield Change(area="people", impact=impact, place=f"{id}.{place}", told=told, before=old, after=new)


def _effects(a: _Side, b: _Side) -> Iterator[Change]:
    before, after = a.effects, b.effects
    for name, step in after.items():
        if name not in before:
            impact: Impact = "compatible" if before else "breaking"
            told = f"is called by {step}, and writes" + ("" if before else "; nothing was written before")
            yield Change(area="effects", impact=impact, place=name, told=told, after=step)
    for name, step in before.items():
        if name not in after:
            yield Change(area="effects", impact="compatible", place=name, told="writes no more", before=step)


def _steps(a: Plan, b: Plan) -> Iterator[Change]:
    for id in [*a.steps, *(id for id in b.steps if id not in a.steps)]:
        one, other = a.steps.get(id), b.steps.get(id)
        if one is None and other is not None:
            yield Change(area="steps", impact="internal", place=id, told=f"is new ({other.kind})", after=other.kind)
        elif other is None and one is not None:
            yield Change(area="steps", impact="internal", place=id, told="is gone", before=one.kind)
        elif one is not None and other is not None:
            yield from _step(id, one, other)


def _step(id: str, one: PlannedStep, other: PlannedStep) -> Iterator[Change]:
    if one.kind != other.kind:
        told = f"is a step of kind {other.kind} instead of {one.kind}"
        yield Change(area="steps", impact="internal", place=id, told=told, before=one.kind, after=other.kind)
        return
    before, after = own(one), own(other)
    fields = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    if fields:
        told = f"has another {', '.join(fields)}"
        old, new = ({key: side.get(key) for key in fields} for side in (before, after))
        yield Change(area="steps", impact="internal", place=id, told=told, before=old, after=new)


def own(planned: PlannedStep) -> dict[str, Json]:
    """What a step says itself, without the steps that it holds."""
    return {key: value for key, value in plain(planned.step).items() if key not in _OWN_PARTS}
