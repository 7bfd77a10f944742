"""The expressions of a run's steps with what they gave and the values that they read, from the state alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from graphs.analysis.plan import Plan, PlannedStep
from nodes.condition import ConditionNode
from nodes.expression import Expression, ExpressionError
from nodes.template import Value
from state.values import Json

if TYPE_CHECKING:
    from graphs.runtime.run import Run

LONGEST: Final = 120
"""How much of a value is shown."""
_INDEX: Final = re.compile(r"\[\d+\]")


def step_id(path: str) -> str:
    """The id of the step that a path is an instance of: the path without its indexes."""
    return _INDEX.sub("", path)


def brief(value: Json) -> str:
    """A value on one line, cut."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


class Deciding:
    """What the expressions of one run's steps came to."""

    def __init__(self, plan: Plan, values: Mapping[str, Any]) -> None:
        self.plan, self.values = plan, values

    def planned(self, path: str) -> PlannedStep | None:
        """The step that a path is an instance of."""
        return self.plan.steps.get(step_id(path))

    def choice(self, path: str) -> Iterator[str]:
        """A condition's cases with their values, and what it selected."""
        planned = self.planned(path)
        if planned is None or not isinstance(planned.step, ConditionNode):
            return
        for index in range(len(planned.step.cases)):
            yield from self.evaluated(path, f"/cases/{index}/if", f"{path}, case {index + 1}")
        chosen = (self.values.get("results", {}).get(path) or {}).get("selected", [])
        yield f"{path} chose {', '.join(chosen) or 'nothing'}."

    def evaluated(self, path: str, pointer: str, title: str) -> Iterator[str]:
        """An expression of a step, what it gave, and the values that it read."""
        planned = self.planned(path)
        compiled = planned.fields.get(pointer) if planned else None
        if planned is None or compiled is None:
            return
        names = self._names(path)
        if isinstance(compiled, Expression):
            yield f"{title}: {compiled.source}" + ("" if names is None else f" → {_value(compiled, names)}")
        elif names is not None:
            yield f"{title} = {_value(compiled, names)}"
        if names is not None:
            for text in dict.fromkeys(read for part in _expressions(compiled) for read in _references(part)):
                yield f"    {text} = {_read(text, names)}"

    def given(self, path: str) -> Iterator[str]:
        """What the step itself was given: its arguments, prompt variables or list, with the values that they read."""
        planned = self.planned(path)
        for pointer in planned.fields if planned else ():
            if pointer.split("/")[1] not in ("when", "cases", "fallback", "undo", "output"):
                yield from self.evaluated(path, pointer, pointer.strip("/").replace("/", "."))

    def _names(self, path: str) -> dict[str, Json] | None:
        """What the step's expressions see; None inside loops that are over."""
        from graphs.runtime.environment import names
        from graphs.runtime.frames import Frame

        run = self._run()
        frames: list[Frame] = [run.top]
        for frame in frames:
            for member in frame.members.values():
                if member.path == path:
                    return names(run, frame, member.planned.lookups, self.values.get("run", {}))
                frames.extend(member.frames.values())
        return None

    def _run(self) -> Run:
        from graphs.runtime.run import Run

        records = {path: dict(record) for path, record in self.values.get("nodes", {}).items()}
        run = Run(self.plan, records=records, results=self.values.get("results", {}))
        run.top.input = self.values.get("input")
        run.populate(run.top)
        return run


def _expressions(compiled: Any) -> Iterator[Expression]:
    """Every expression within a field."""
    if isinstance(compiled, Expression):
        yield compiled
        return
    inner = compiled.inner if isinstance(compiled, Value) else compiled
    if inner is None:
        return
    if hasattr(inner, "expressions"):
        yield from inner.expressions
        return
    for part in inner.values() if isinstance(inner, Mapping) else inner:
        yield from _expressions(part)


def _references(expression: Expression) -> Iterator[str]:
    return (expression.source[each.start : each.end] for each in expression.references)


def _value(compiled: Expression | Value, names: Mapping[str, Json]) -> str:
    try:
        return brief(compiled.evaluate(names))
    except ExpressionError as err:
        return f"an error: {err.message}"


def _read(text: str, names: Mapping[str, Json]) -> str:
    from nodes.expression.compiled import compile_expression

    try:
        return _value(compile_expression(text), names)
    except ExpressionError as err:
        return f"an error: {err.message}"
