"""A stage for workflows: tools that do what their arguments say, take turns of the event loop, and keep a log."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command

from cogwork.tools.toolbox import FunctionTool, Toolbox
from graphs.build import build
from graphs.graph import WorkflowGraph
from graphs.language.load import load
from state.errors import Fault
from state.services import CallContext, Effect, Services
from state.values import Json

settings.register_profile(
    "fixed", deadline=None, derandomize=True, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("random", settings.get_profile("fixed"), derandomize=False)
settings.load_profile("fixed")  # a run of the suite never fails by chance; --hypothesis-profile=random looks for more

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it runs in the background deaf to Ctrl-C, and the commands that the tests interrupt inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Stage:
    """The services of a test, and what its tools did.

    Tools ``do.none``, ``do.read`` and ``do.write``: yield ``turns`` times, wait for ``hold`` to be opened, fail with
    ``fault`` up to attempt ``until`` (always, where that is 0), else return ``value``. ``delay`` gives further turns by path.
    """

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        """``(start | end | fail | cancel, path)`` in the order of events."""
        self.keys: list[str] = []
        self.most = self.running = 0
        self.delay: Callable[[str], int] = lambda path: 0
        self.on_start: Callable[[str], None] = lambda path: None
        self.doors: dict[str, asyncio.Event] = {}
        self.library: dict[str, Any] = {}
        tools = [self._tool("none"), self._tool("read"), self._tool("write")]
        self.services = Services(tools=Toolbox(tools), models=_NoModels(), prompts=_NoPrompts())
        self._threads = count(1)

    def _tool(self, effect: Effect) -> FunctionTool:
        async def do(
            context: CallContext,
            value: Any = None,
            turns: int = 0,
            hold: str = "",
            fault: str = "",
            until: int = 0,
            retry_after: float = 0,
        ) -> Any:
            self.keys.append(context.idempotency_key)
            return await self._do(
                context, value, turns, hold, fault if context.attempt <= (until or 99) else "", retry_after
            )

        return FunctionTool.from_function(do, name=f"do.{effect}", description="Do as told.", effect=effect)

    async def _do(self, context: CallContext, value: Json, turns: int, hold: str, fault: str, after: float) -> Json:
        path, end = context.step, "cancel"
        self.log.append(("start", path))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            self.on_start(path)
            for _ in range(turns + self.delay(path)):
                await asyncio.sleep(0)
            if hold:
                await self.door(hold).wait()
            end = "fail" if fault else "end"
            if fault:
                raise Fault(fault, f"{path} was told to fail", origin="tool", retry_after=after or None)  # type: ignore[arg-type]
            return value
        finally:
            self.running -= 1
            self.log.append((end, path))

    def door(self, name: str) -> asyncio.Event:
        """The door that a tool with ``hold`` waits at."""
        return self.doors.setdefault(name, asyncio.Event())

    def paths(self, what: str = "start") -> list[str]:
        """The paths of the tools that started, ended …, in order."""
        return [path for kind, path in self.log if kind == what]

    def before(self, first: str, second: str) -> bool:
        """Whether the one had ended when the other started."""
        return self.log.index(("end", first)) < self.log.index(("start", second))

    def graph(self, spec: Any, checkpointer: Any = None) -> WorkflowGraph:
        """The graph of a spec; ``name`` and ``cogwork`` may be left out."""
        whole = {"cogwork": "v1", "name": "staged", **spec} if isinstance(spec, Mapping) else spec
        return build(load(whole), self.services, lambda name, user: self._used(name), checkpointer=checkpointer)

    def _used(self, name: str) -> Any:
        found = self.library.get(name)
        return None if found is None else load({"cogwork": "v1", "name": name, **found})

    async def run(self, spec: Any, **given: Json) -> dict[str, Any]:
        """The state that a run of the spec ends in."""
        return await self.graph(spec).ainvoke(given)

    async def output(self, spec: Any, **given: Json) -> Json:
        """The output of a run of the spec."""
        return (await self.run(spec, **given))["output"]

    def thread(self) -> RunnableConfig:
        """The configuration of a new thread."""
        return {"configurable": {"thread_id": f"thread-{next(self._threads)}"}}


class _NoModels:
    def find(self, name: str | None, **_: Any) -> Any:
        raise Fault("invalid_input", f"no model {name} on this stage")

    def context_length(self, name: str) -> int | None:
        """Nobody has said how much it takes."""
        return None

    def price(self, name: str) -> tuple[float, float] | None:
        """Nothing is known of its price."""
        return getattr(self, "prices", {}).get(name)

    def fallbacks(self, mode: str | None) -> tuple[str, ...]:
        """None serves."""
        return ()

    def problem(self, name: str) -> str | None:
        return f"no model {name} on this stage"


class _NoPrompts:
    def find(self, name: str, *, mode: str | None = None) -> None:
        return None

    def names(self) -> list[str]:
        return []


@pytest.fixture
def stage() -> Stage:
    """A fresh stage."""
    return Stage()


def do(value: Json = None, effect: Effect = "read", **more: Json) -> dict[str, Json]:
    """A step that calls one of the stage's tools; keys of a step are taken as such, others are the tool's arguments."""
    keys = ("depends_on", "when", "join", "on_error", "retry", "timeout", "output")
    step = {key: more.pop(key) for key in keys if key in more}
    return {"type": "tool", "tool": f"do.{effect}", "args": {"value": value, **more}, **step}


def say(value: Json, **more: Json) -> dict[str, Json]:
    """A transform step."""
    return {"type": "transform", "set": value, **more}


def choose(*cases: tuple[str, Any], otherwise: Any = None, **more: Json) -> dict[str, Json]:
    """A condition step: pairs of condition and targets."""
    rest = {} if otherwise is None else {"else": otherwise}
    return {"type": "condition", "cases": [{"if": when, "then": then} for when, then in cases], **rest, **more}


def ask(question: str = "Well?", **more: Json) -> dict[str, Json]:
    """A human step."""
    return {"type": "human", "ask": question, **more}


def statuses(state: Mapping[str, Any]) -> dict[str, str]:
    """Path to status, of the state that a run ended in."""
    return {path: record["status"] for path, record in state["nodes"].items()}


def causes(state: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Path to reason and origin, of what was skipped."""
    found = {path: record.get("cause") for path, record in state["nodes"].items()}
    return {path: (cause["reason"], cause["by"]) for path, cause in found.items() if cause}


def answer(value: Json) -> Command[Any]:
    """The command that resumes a run with an answer, or with answers by path."""
    return Command(resume=value)
