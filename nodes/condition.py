"""The condition node: choose which of its targets run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal, TypeAlias

from pydantic import Field

from nodes.base import Condition, Node, Outcome, Part, Slot, StepCall
from state.errors import Fault
from state.services import Services
from state.values import Schema

Targets: TypeAlias = str | list[str]


class Case(Part):
    """Targets, and the condition under which they are chosen."""

    if_: Condition = Field(alias="if")
    then: Targets


class ConditionNode(Node):
    """Choose the targets of the first case that holds, or of all that hold."""

    type: Literal["condition"] = "condition"
    cases: list[Case] = Field(min_length=1)
    else_: Targets | None = Field(None, alias="else", description="Targets when no case holds.")
    match: Literal["first", "all"] = "first"

    pure: ClassVar[bool] = True

    def slots(self) -> Iterator[Slot]:
        """The condition of each case."""
        for index, case in enumerate(self.cases):
            yield Slot(pointer=f"/cases/{index}/if", source=case.if_, form="condition")

    def targets(self) -> Iterator[tuple[str, str]]:
        """Every target with the pointer of the field that names it."""
        for index, case in enumerate(self.cases):
            yield from _each(f"/cases/{index}/then", case.then)
        if self.else_ is not None:
            yield from _each("/else", self.else_)

    def result_schema(self, services: Services) -> Schema:
        """What was selected, and by which cases."""
        return {
            "type": "object",
            "properties": {
                "selected": {"type": "array", "items": {"type": "string"}},
                "cases": {"type": "array", "items": {"type": "integer"}},
            },
            "required": ["selected", "cases"],
            "additionalProperties": False,
        }

    def compute(self, call: StepCall) -> Outcome:
        """``{selected: [names], cases: [indexes of the cases that held]}``."""
        held: list[int] = []
        for index in range(len(self.cases)):
            if self._holds(index, call):
                held.append(index)
                if self.match == "first":
                    break
        chosen = [self.cases[index].then for index in held] or ([self.else_] if self.else_ is not None else [])
        selected = dict.fromkeys(name for targets in chosen for _, name in _each("", targets))
        return Outcome(value={"selected": list(selected), "cases": held})

    def _holds(self, index: int, call: StepCall) -> bool:
        pointer = f"/cases/{index}/if"
        value = call.value(pointer)
        if not isinstance(value, bool):
            raise Fault("invalid_input", f"{pointer.lstrip('/')}: a condition must be true or false, not {value!r:.80}")
        return value


def _each(pointer: str, targets: Targets) -> Iterator[tuple[str, str]]:
    if isinstance(targets, str):
        yield pointer, targets
    else:
        for index, name in enumerate(targets):
            yield f"{pointer}/{index}", name
