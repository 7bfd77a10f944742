"""The tool node: call one tool; its result is the node's value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from nodes.base import CallingNode, Outcome, Slot, StepCall
from nodes.calls import checked_call
from state.errors import Fault
from state.services import CallContext, Effect, Services
from state.values import Json, Schema


class ToolNode(CallingNode):
    """Call one tool; its result is this node's value."""

    type: Literal["tool"] = "tool"
    tool: str = Field(description="The tool's name.")
    args: dict[str, Json] = Field(default_factory=dict, description="Its arguments; texts may hold {{ references }}.")
    output: Schema | None = Field(None, description="Schema of the result, where the tool's own says less.")
    effect: Effect | None = Field(None, description="What the call does to the world; without it, what the tool says.")
    idempotent: bool | None = Field(
        None, description="Whether the call may be repeated under its key; without it, what the tool says."
    )

    def slots(self) -> Iterator[Slot]:
        """The arguments."""
        yield Slot(pointer="/args", source=self.args)

    def result_schema(self, services: Services) -> Schema:
        """The declared schema, else the tool's."""
        if self.output is not None:
            return self.output
        tool = services.tools.find(self.tool)
        return tool.output_schema if tool else {}

    def effect_of(self, services: Services) -> Effect:
        """The declared one, else the tool's."""
        if self.effect is not None:
            return self.effect
        tool = services.tools.find(self.tool)
        return tool.effect if tool else "write"

    def repeatable(self, services: Services) -> bool:
        """Whether calling again does no harm: no write, or one that does its work once under its key."""
        if self.effect_of(services) != "write":
            return True
        tool = services.tools.find(self.tool)
        return self.idempotent if self.idempotent is not None else tool is not None and tool.idempotent

    async def run(self, call: StepCall) -> Outcome:
        """One call, arguments checked before and the result after."""
        tool = call.services.tools.find(self.tool)
        if tool is None:
            raise Fault("invalid_input", f"Tool {self.tool!r} is not allowed by the settings", origin="tool")
        context = CallContext(
            run=call.run, step=call.path, idempotency_key=f"{call.run}:{call.path}:0", attempt=call.attempt
        )
        value = await checked_call(tool, call.value("/args"), context, output=self.output)
        return Outcome(value=value)

    def in_doubt(self, services: Services, fault: Fault) -> bool:
        """A write that timed out and that is not idempotent may have been done."""
        return fault.fault_class == "timeout" and not self.repeatable(services)
