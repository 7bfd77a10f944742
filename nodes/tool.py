"""The tool node: call one tool; its result is the node's value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field

from nodes.base import CallingNode, Outcome, Slot, StepCall
from nodes.calls import check_args, perform
from nodes.reuse import Reuse
from nodes.secrecy import revealed
from state.errors import Fault
from state.services import Effect, Services, Tool
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
        """One call, arguments checked before and the result after; a finished one is answered from the record.

        What the caller of the run has handed in is the first attempt's end, and nothing is called.
        """
        if call.given is not None and call.attempt == 1:
            return _handed_in(call.given)
        tool = call.services.tools.find(self.tool)
        if tool is None:
            why = call.services.tools.problem(self.tool) or f"Tool {self.tool!r} is not allowed by the settings"
            raise Fault("invalid_input", why, origin="tool", stage="arguments")
        args = call.value("/args") or {}
        secrets, limit = call.services.secrets, call.services.result_limits.of(tool.name)
        passed = revealed(self.args, args, secrets, self.tool)
        check_args(tool, passed, shown=args)
        value = await call.once(
            target=self.tool,
            effect=self.effect_of(call.services),
            repeatable=self.repeatable(call.services),
            args=args,
            do=lambda context: perform(tool, passed, context, output=self.output, max_bytes=limit, secrets=secrets),
            reuse=self._reuse(tool, args),
        )
        return Outcome(value=value, cached=call.cached)

    def _reuse(self, tool: Tool, args: Json) -> Reuse | None:
        if self.cache is None:
            return None
        about = {"tool": tool.name, "args": args, "schemas": [tool.args_schema, tool.output_schema, self.output]}
        return Reuse("tool", about, self.cache)


def _handed_in(end: Mapping[str, Json]) -> Outcome:
    if "error" in end:
        raise Fault.from_record(end["error"])
    return Outcome(value=end["result"], given=True)
