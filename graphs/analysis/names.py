"""Names and what they stand for: the expressions of a plan, compiled and resolved scope by scope."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from graphs.analysis.plan import Lookup, PlannedStep, Reading, RootKind, Scope
from graphs.language.load import Workflow
from graphs.language.spec import ForEach
from nodes.base import Compiled, Slot, Step
from nodes.expression import ExpressionError, Reference, compile_condition
from nodes.template import compile_value
from state.problems import Problem

METADATA = ("status", "cause", "error", "errors", "attempts", "success", "output", "fallback")
"""What ``steps.<node>`` offers."""
MAX_SOUGHT: Final = 100
"""After so many problems, nearby names are no longer sought: each search costs as much as there are names."""
_SCOPE_ROOTS: dict[str, RootKind] = {
    "input": "input",
    "vars": "vars",
    "context": "context",
    "run": "run",
    "tool_results": "tool_results",
}
_LOOP_ROOTS = {"item": "for_each", "index": "for_each", "previous": "repeat", "iteration": "repeat"}


@dataclass(slots=True, kw_only=True)
class Names:
    """The steps and scopes of a plan in the making, and what was found wrong with it so far."""

    documents: list[Workflow]
    steps: dict[str, PlannedStep] = field(default_factory=dict)
    scopes: dict[str, Scope] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def report(self, document: int, code: str, message: str, pointer: str, hint: str = "") -> None:
        """Note one fault at its place."""
        self.problems.append(self.documents[document].problem(code, message, pointer, hint=hint))

    def compiled(
        self, document: int, slots: Iterable[Slot], pointer: str
    ) -> Iterator[tuple[str, tuple[Compiled, Slot]]]:
        """The fields of ``slots``, by their pointers; what does not compile is reported."""
        for slot in slots:
            try:
                if slot.form == "value" or not isinstance(slot.source, str):
                    yield slot.pointer, (compile_value(slot.source), slot)
                else:
                    yield slot.pointer, (compile_condition(slot.source), slot)
            except ExpressionError as err:
                where = pointer + slot.pointer + getattr(err, "pointer", "")
                self.report(document, "expression", str(err), where, "see docs/language.md, Expressions")

    def resolved(
        self, scope: Scope, items: Iterable[tuple[str, Compiled, Slot]], pointer: str = "", own: str = ""
    ) -> tuple[tuple[Lookup, ...], tuple[Reading, ...]]:
        """What the references of compiled fields stand for, seen from ``scope``; ``own`` is the step that ``output`` means."""
        lookups: dict[Lookup, None] = {}
        readings: list[Reading] = []
        for at, compiled, slot in items:
            for inner, reference in references(compiled):
                if reference.root in slot.local:
                    continue
                place = pointer + at + inner
                if own and reference.root == "output":
                    lookup: Lookup | None = Lookup(root="output", kind="node", target=own)
                else:
                    lookup = self.lookup(scope, reference, place)
                if lookup is not None:
                    lookups[lookup] = None
                    if lookup.target:
                        readings.append(self.reading(scope, lookup, reference, place))
        return tuple(lookups), tuple(readings)

    def reading(self, scope: Scope, lookup: Lookup, reference: Reference, place: str) -> Reading:
        """One reference to a step; what exists only once the step is done counts as its value, not as metadata."""
        meta = lookup.kind == "meta"
        value = meta and reference.path[1:2] in (("output",), ("errors",))
        return Reading(
            pointer=place,
            target=lookup.target,
            guarded=reference.guarded,
            meta=meta and not value,
            path=reference.path[1:] if meta else reference.path,
            outer=self.steps[lookup.target].scope != scope.id,
        )

    def lookup(self, scope: Scope, reference: Reference, place: str) -> Lookup | None:
        """Where the reference's root finds its value; None after a report."""
        root = reference.root
        if root in _SCOPE_ROOTS:
            return Lookup(root=root, kind=_SCOPE_ROOTS[root])
        if root in _LOOP_ROOTS:
            return self.loop_lookup(scope, root, place)
        if root == "steps":
            return self.meta_lookup(scope, reference, place)
        target = self.visible(scope, root)
        if target is not None:
            return Lookup(root=root, kind="node", target=target)
        if root == "output":
            self.report(
                scope.document,
                "output_out_of_place",
                "output.… means a step's own result and is not known here",
                place,
                "name the step instead: <step>.field",
            )
        else:
            self.report(
                scope.document,
                "unknown_reference",
                f"There is no step, input or variable {root!r} here",
                place,
                self.suggestion(scope, root),
            )
        return None

    def loop_lookup(self, scope: Scope, root: str, place: str) -> Lookup | None:
        """A loop variable, inside the loop that has it."""
        if any(s.kind == _LOOP_ROOTS[root] for s in self.enclosing(scope)):
            return Lookup(root=root, kind="loop")
        self.report(
            scope.document,
            "loop_variable_outside",
            f"{root!r} is known only inside a {_LOOP_ROOTS[root]} loop",
            place,
            "move the reference into the loop's body",
        )
        return None

    def meta_lookup(self, scope: Scope, reference: Reference, place: str) -> Lookup | None:
        """The step behind ``steps.<name>``."""
        name, *rest = (*reference.path, None)
        if not isinstance(name, str):
            self.report(
                scope.document,
                "computed_step",
                "steps[…] needs the step's name as written text",
                place,
                "write steps.<name> or steps['<name>']",
            )
            return None
        target = self.visible(scope, name)
        if target is None:
            self.report(
                scope.document,
                "unknown_reference",
                f"There is no step {name!r} here",
                place,
                self.suggestion(scope, name),
            )
            return None
        offered = metadata(self.steps[target].step)
        if rest[0] is not None and rest[0] not in offered:
            close = difflib.get_close_matches(str(rest[0]), offered, 1)
            self.report(
                scope.document,
                "unknown_metadata",
                f"steps.{name} has no {rest[0]!r}",
                place,
                f"did you mean {close[0]!r}?" if close else f"it has {', '.join(offered)}",
            )
            return None
        return Lookup(root=name, kind="meta", target=target)

    def visible(self, scope: Scope, name: str) -> str | None:
        """The id of the step of that name that ``scope`` sees; the nearest one."""
        for candidate in self.enclosing(scope):
            if name in candidate.names:
                return candidate.names[name]
        return None

    def enclosing(self, scope: Scope) -> Iterator[Scope]:
        """The scope and those around it, up to the workflow that it belongs to."""
        current: Scope | None = scope
        while current is not None:
            yield current
            stop = current.kind in ("workflow", "use") or current.parent is None
            current = None if stop else self.scopes[current.parent or ""]

    def suggestion(self, scope: Scope, name: str) -> str:
        """Did you mean …; no longer sought once very much is wrong."""
        if len(self.problems) > MAX_SOUGHT:
            return "mend the first problems, then check again"
        known = [n for s in self.enclosing(scope) for n in s.names] + [*_SCOPE_ROOTS]
        owner = list(self.enclosing(scope))[-1]
        inputs = owner.input_schema.get("properties", {})
        if name in inputs:
            return f"write input.{name}"
        if name in owner.vars:
            return f"write vars.{name}"
        close = difflib.get_close_matches(name, known, 1)
        return f"did you mean {close[0]!r}?" if close else "steps, input, vars, context and run can be referred to"


def metadata(step: Step) -> list[str]:
    """What ``steps.<node>`` offers of a step: ``errors`` only where they are collected."""
    collects = isinstance(step, ForEach) and step.on_item_error == "collect"
    return [name for name in METADATA if name != "errors" or collects]


def references(compiled: Compiled) -> Iterator[tuple[str, Reference]]:
    """The references of a compiled field, each with its pointer inside the field."""
    for entry in compiled.references:
        if isinstance(entry, Reference):
            yield "", entry
        else:
            yield entry
