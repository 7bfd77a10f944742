"""Turn a spec into a plan: names resolved, expressions compiled, used workflows expanded in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from graphs.analysis.edges import link
from graphs.analysis.names import Names
from graphs.analysis.plan import FINALLY, ON_FAILURE, UNDO, Lookup, Plan, PlannedStep, Scope, Stage, Unwinding
from graphs.analysis.talks import as_asked, read_handoffs, steps_of, talks
from graphs.language.load import Workflow
from graphs.language.source import escaped
from graphs.language.spec import Block, ForEach, LlmNode, Repeat, Step, Use
from nodes.base import CallingNode, Node, Slot
from state.problems import Problem

MAX_STEPS: Final = 20_000
MAX_USE_DEPTH: Final = 16

Resolve = Callable[[str, Workflow], Workflow | None]
"""Finds the workflow that ``use`` names, seen from the workflow that uses it; None when there is none."""


def expand(workflow: Workflow, resolve: Resolve) -> tuple[Plan, list[Problem]]:
    """The plan of a workflow and what is wrong with its names, expressions and edges.

    The plan is complete only when no problem is an error.
    """
    names = Names(documents=[workflow])
    expansion = _Expansion(names=names, resolve=resolve, trail=[workflow])
    expansion.open_workflow(workflow, Scope(id="", kind="workflow", parent=None, header=None, document=0))
    if any(isinstance(step.step, CallingNode) and step.step.undo for step in names.steps.values()):
        names.steps[UNDO] = PlannedStep(id=UNDO, name=UNDO, step=Unwinding(), scope="", pointer="")
    plan = Plan(spec=workflow.spec, steps=names.steps, scopes=names.scopes, documents=tuple(names.documents))
    return plan, names.problems


@dataclass(slots=True, kw_only=True)
class _Expansion:
    """One walk over a workflow and everything that it uses; ``trail`` holds the workflows that are open."""

    names: Names
    resolve: Resolve
    trail: list[Workflow]
    full: bool = False

    def open_workflow(self, workflow: Workflow, scope: Scope) -> None:
        """Expand a whole workflow into ``scope``."""
        spec = workflow.spec
        scope.input_schema, scope.vars, scope.agents = spec.input, spec.vars, spec.agents
        scope.mode = spec.mode or scope.mode
        self.open_scope(scope, spec.nodes, "")
        for pointer, (compiled, slot) in self.names.compiled(scope.document, spec.slots(), ""):
            scope.output = compiled
            scope.output_lookups, scope.output_uses = self.names.resolved(scope, [(pointer, compiled, slot)])
        for name, block in ((ON_FAILURE, spec.on_failure), (FINALLY, spec.finally_)):
            if block is not None:
                self.open_stage(scope, name, block)

    def open_stage(self, scope: Scope, name: str, block: Block) -> None:
        """Expand a block that runs when the workflow's own steps have come to their end: it sees them and waits for none."""
        pointer = f"/{name}"
        holder = PlannedStep(
            id=f"{scope.id}.{name}" if scope.id else name,
            name=name,
            step=Stage(nodes=block.nodes),
            scope=scope.id,
            pointer=pointer,
            document=scope.document,
        )
        self.names.steps[holder.id] = holder
        scope.stages[name] = holder.id
        self.open_scope(self.inside(holder, scope, "stage"), block.nodes, pointer)

    def inside(self, header: PlannedStep, scope: Scope, kind: Literal["for_each", "repeat", "stage", "agent"]) -> Scope:
        """A scope within another one of the same document, which shares what is declared there."""
        return Scope(
            id=header.id,
            kind=kind,
            parent=scope.id,
            header=header.id,
            document=scope.document,
            input_schema=scope.input_schema,
            vars=scope.vars,
            agents=scope.agents,
            mode=scope.mode,
            made=scope.made or kind == "agent",
        )

    def open_scope(self, scope: Scope, nodes: Mapping[str, Step], pointer: str) -> None:
        """Expand the steps of one scope, nested ones included, and lay its edges."""
        self.names.scopes[scope.id] = scope
        prefix = f"{scope.id}." if scope.id else ""
        scope.names = {name: prefix + name for name in nodes}
        members = [
            PlannedStep(
                id=prefix + name,
                name=name,
                step=as_asked(step, scope.agents),
                scope=scope.id,
                pointer=pointer if scope.made else f"{pointer}/nodes/{escaped(name)}",
                document=scope.document,
                talks=talks(step, scope.agents),
            )
            for name, step in nodes.items()
        ]
        self.names.steps.update((member.id, member) for member in members)
        for member in members:
            self.read(member, scope)
        for member in members:
            self.descend(member, scope)
        link(self.names, scope, members)

    def read(self, member: PlannedStep, scope: Scope) -> None:
        """Compile the fields of one step and resolve what they refer to."""
        step = member.step
        slots = list(step.slots()) if isinstance(step, Node | ForEach | Repeat | Use) else []
        if isinstance(step, CallingNode):
            slots += _served(step)
        if member.step.when is not None:
            slots.append(Slot(pointer="/when", source=member.step.when, form="condition"))
        found = list(self.names.compiled(member.document, slots, member.pointer))
        member.fields.update((pointer, compiled) for pointer, (compiled, _) in found)
        items = [(pointer, compiled, slot) for pointer, (compiled, slot) in found]
        member.lookups, member.uses = self.names.resolved(scope, items, member.pointer)
        if isinstance(step, Node):
            member.lookups += tuple(Lookup(root=root, kind="loop") for root in step.roots)
        if isinstance(step, CallingNode) and step.undo is not None:
            self.read_undo(member, scope, Slot(pointer="/undo/args", source=step.undo.args))

    def read_undo(self, member: PlannedStep, scope: Scope, slot: Slot) -> None:
        """Compile the arguments of ``undo``; they see the step's own value, also as ``output``, and make no edges."""
        found = list(self.names.compiled(member.document, [slot], member.pointer))
        member.fields.update((pointer, compiled) for pointer, (compiled, _) in found)
        items = [(pointer, compiled, each) for pointer, (compiled, each) in found]
        member.undo_lookups, member.undo_uses = self.names.resolved(scope, items, member.pointer, own=member.id)

    def descend(self, member: PlannedStep, scope: Scope) -> None:
        """Expand what the step holds: a loop's body or a used workflow."""
        step = member.step
        if len(self.names.steps) > MAX_STEPS:
            self.refuse_size()
        elif isinstance(step, ForEach | Repeat):
            kind: Literal["for_each", "repeat"] = "for_each" if isinstance(step, ForEach) else "repeat"
            body = self.inside(member, scope, kind)
            self.open_scope(body, step.nodes, member.pointer)
            self.read_body(member, body, step)
        elif isinstance(step, Use):
            self.descend_use(member, scope, step)
        elif isinstance(step, LlmNode) and member.talks:
            self.open_scope(self.inside(member, scope, "agent"), steps_of(step), member.pointer)
            read_handoffs(self.names, member, scope)

    def refuse_size(self) -> None:
        """Report once that the workflow is too large."""
        if not self.full:
            self.full = True
            hint = "make the parts workflows of their own and run them one after the other"
            message = f"With all that it uses, the workflow has more than {MAX_STEPS:,} steps"
            self.names.report(0, "too_large", message, "", hint)

    def descend_use(self, member: PlannedStep, scope: Scope, step: Use) -> None:
        """Expand the used workflow, unless it cannot be found or uses itself."""
        pointer = f"{member.pointer}/use"
        used = self.resolve(step.use, self.names.documents[scope.document])
        if used is None:
            hint = "name one of the settings' folders, or give a path that begins with ./"
            self.names.report(scope.document, "unknown_workflow", f"There is no workflow {step.use!r}", pointer, hint)
            return
        if len(self.trail) >= MAX_USE_DEPTH or any(_same(used, other) for other in self.trail):
            ring = " → ".join([*(other.spec.name for other in self.trail), used.spec.name])
            message = f"A workflow may not use itself, nor nest deeper than {MAX_USE_DEPTH}: {ring}"
            self.names.report(
                scope.document, "recursive_use", message, pointer, "use repeat or for_each for repetition"
            )
            return
        self.names.documents.append(used)
        self.trail.append(used)
        inner = Scope(
            id=member.id,
            kind="use",
            parent=scope.id,
            header=member.id,
            document=len(self.names.documents) - 1,
            mode=scope.mode,
        )
        self.open_workflow(used, inner)
        self.trail.pop()

    def read_body(self, member: PlannedStep, body: Scope, step: ForEach | Repeat) -> None:
        """Compile what a loop evaluates among its body's nodes."""
        found = list(self.names.compiled(member.document, step.body_slots(), member.pointer))
        member.fields.update((pointer, compiled) for pointer, (compiled, _) in found)
        items = [(pointer, compiled, slot) for pointer, (compiled, slot) in found]
        member.body_lookups, member.body_uses = self.names.resolved(body, items, member.pointer)
        if step.output is None and len(body.leaves) > 1:
            listed = ", ".join(self.names.steps[leaf].name for leaf in body.leaves)
            self.names.report(
                member.document,
                "several_results",
                f"The body has several last nodes: {listed}",
                member.pointer,
                "say which value the loop yields with output:",
            )


def _served(step: CallingNode) -> list[Slot]:
    """The arguments of the tools that serve as fallbacks."""
    return [
        Slot(pointer=f"/fallback/{index}/args", source=fallback.args)
        for index, fallback in enumerate(step.fallback)
        if fallback.args is not None
    ]


def _same(one: Workflow, other: Workflow) -> bool:
    return one.spec.name == other.spec.name and one.spec == other.spec
