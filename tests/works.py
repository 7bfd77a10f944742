"""The work of one step by itself: a node, what it sees and calls, and a record that outlives its processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from graphs.language.spec import LlmNode, ToolNode
from graphs.runtime.attempts import attempt_all
from graphs.runtime.recording import Recording
from nodes.base import CallingNode, Node, Outcome, StepCall
from nodes.template import compile_value
from state.durable import MemoryCalls, RecordedCall
from state.errors import Fault
from state.services import Services
from state.values import Json

RUN, THREAD, PATH = "r1", "t1", "step"
KEY = f"{RUN}:{PATH}:0"
_NODES: TypeAdapter[CallingNode] = TypeAdapter(LlmNode | ToolNode)


class Disk(MemoryCalls):
    """A record of calls that tells what was written, in order; it fails once it is full."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[tuple[str, str, int]] = []
        """``(key, status, attempt)`` of what was kept, ``(key, "forgotten", 0)`` of what was removed."""
        self.full = False

    async def keep(self, thread: str, call: RecordedCall) -> None:
        """Write the call."""
        if self.full:
            raise OSError(28, "No space left on device")
        self.written.append((call.key, call.status, call.attempt))
        await super().keep(thread, call)

    async def forget(self, thread: str, key: str) -> None:
        """Remove the call."""
        self.written.append((key, "forgotten", 0))
        await super().forget(thread, key)

    async def recording(self) -> Recording:
        """What a new process has of the run."""
        calls = await self.of_run(THREAD, RUN)
        return Recording(THREAD, RUN, self, calls, lambda: datetime(2026, 11, 21, tzinfo=UTC))

    async def call(self, key: str = KEY) -> RecordedCall | None:
        """What is on disk under the key."""
        return (await self.of_run(THREAD, RUN)).get(key)


@dataclass(slots=True, kw_only=True)
class Work:
    """One step's work, in as many processes as it takes."""

    node: CallingNode
    services: Services
    disk: Disk | None = None
    names: Mapping[str, Json] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    retried: list[tuple[int, float, str]] = field(default_factory=list)
    fell_back: list[tuple[str, str]] = field(default_factory=list)
    call: StepCall | None = None
    recording: Recording | None = None

    async def run(self) -> Outcome:
        """The outcome, in a process of its own."""
        self.recording = await self.disk.recording() if self.disk is not None else None
        self.call = step_call(self.node, self.services, names=self.names, recording=self.recording, **self.more)
        try:
            return await attempt_all(
                self.node,
                self.call,
                lambda attempt, wait, fault: self.retried.append((attempt, wait, fault.fault_class)),
                lambda name, fault: self.fell_back.append((name, fault.fault_class)),
            )
        finally:
            if self.recording is not None and self.disk is not None and not self.disk.full:
                await self.recording.flush()

    async def fault(self) -> Fault:
        """What it fails with."""
        try:
            outcome = await self.run()
        except Fault as fault:
            return fault
        raise AssertionError(f"it succeeded with {outcome.value!r}")


def node(**spec: Json) -> CallingNode:
    """A tool or llm node from its spec."""
    return _NODES.validate_python(spec)


def step_call(made: Node, services: Services, **more: Any) -> StepCall:
    """The call of a node, its expressions compiled."""
    fields = {slot.pointer: compile_value(slot.source) for slot in made.slots()}
    for number, fallback in enumerate(made.fallback if isinstance(made, CallingNode) else ()):
        if fallback.args is not None:
            fields[f"/fallback/{number}/args"] = compile_value(fallback.args)
    given: dict[str, Any] = {"run": RUN, "path": PATH, "names": {}, **more}
    return StepCall(fields=fields, services=services, **given)
