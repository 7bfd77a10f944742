"""The transform node: a mapping of expressions; its evaluated form is the node's value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from nodes.base import Node, Outcome, Slot, StepCall
from state.services import Services
from state.values import Json, Schema


class TransformNode(Node):
    """Build a value out of other values, without any call."""

    type: Literal["transform"] = "transform"
    set: Json = Field(description="The value; texts may hold {{ expressions }}.")
    output: Schema | None = Field(None, description="Schema of the value, checked when it is built.")

    pure: ClassVar[bool] = True

    def slots(self) -> Iterator[Slot]:
        """The value to build."""
        yield Slot(pointer="/set", source=self.set)

    def result_schema(self, services: Services) -> Schema:
        """The declared schema; the checks infer one where there is none."""
        return self.output or {}

    def compute(self, call: StepCall) -> Outcome:
        """The evaluated value."""
        return Outcome(value=call.value("/set"))
