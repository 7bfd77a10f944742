"""The compiled graph of a workflow: a LangGraph ``CompiledStateGraph`` whose calls go through the scheduler."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.graph import Graph
from langgraph._internal._config import ensure_config
from langgraph.errors import GraphDrained
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import RunControl
from langgraph.types import StateUpdate
from pydantic import BaseModel

from graphs import blocking, stopping
from graphs.analysis.draw import drawable
from graphs.analysis.plan import Plan
from graphs.calls import Call, classify
from graphs.keeping import heeded, kept_by, owned_name, recorded, timed, void_pause
from graphs.language.dump import digest
from graphs.locality import admit
from graphs.runtime.steps import SCHEDULER
from graphs.schemas import input_model, output_model
from graphs.streams import Filter
from graphs.witnessing import witnessed
from state.durable import Durable, Observer
from state.events import Event
from state.services import Services, Within

DEPTH = "__cogwork_depth"
"""The ``configurable`` key of how many runs a run is within; not persisted, as it begins with two underscores."""
RECURSION_LIMIT = 10_000_000
"""Supersteps are bounded by the spec's own loops, not by LangGraph's limit."""


class WorkflowGraph(CompiledStateGraph[Any, Any, Any, Any]):
    """What ``build`` returns: call it like any compiled LangGraph graph, async or not.

    The input is the workflow's own input; the state that comes back is ``state.graph.GraphState``. A run that fails raises
    ``WorkflowFailed`` after its last event; an answer that does not fit its form raises ``AnswerRefused`` and leaves the
    question open. ``durability`` is always ``sync`` where there is a checkpointer.
    """

    plan: Plan
    services: Services
    now: Callable[[], datetime]
    """The clock of its runs; the simulation sets one that nobody has to wait for."""
    observer: Observer | None
    """Who keeps a record of its runs, where anybody does."""

    def __init__(self, **attributes: Any) -> None:
        self.plan = attributes.pop("plan")
        self.services = attributes.pop("services")
        self.now = attributes.pop("now", lambda: datetime.now(UTC))
        self.observer = attributes.pop("observer", None)
        self._digest: str | None = attributes.pop("_digest", None)
        super().__init__(**attributes)

    @property
    def digest(self) -> str:
        """SHA-256 of the workflow's canonical form and of all that it uses."""
        if self._digest is None:
            self._digest = hashlib.sha256("".join(digest(d.spec) for d in self.plan.documents).encode()).hexdigest()
        return self._digest

    @asynccontextmanager
    async def _owned(self, config: RunnableConfig | None) -> AsyncIterator[Durable | None]:
        """Own the config's thread within the block, where anything is kept; with what keeps it.

        Raises:
            Owned: somebody else works on it.
        """
        configurable = (config or {}).get("configurable", {})
        saver = configurable.get("__pregel_checkpointer", self.checkpointer)
        if not saver or "thread_id" not in configurable:
            yield None
            return
        kept = kept_by(saver)
        async with kept.owners.held(owned_name(configurable)):
            yield kept

    # -- running -------------------------------------------------------------------------------------------

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        """LangGraph's stream modes, without the scheduler's yields.

        Raises:
            InputRefused, AnswerRefused, NotResumable: before anything runs or is written.
            WorkflowFailed: after the last chunk of a run that failed.
            WorkflowCancelled: after the last chunk of a run that somebody cancelled.
            Fault: ``permission_denied``; this instance lacks labels that the workflow requires.
        """
        config = self._known(config)
        async with self._owned(config) as kept:
            if kept is not None and config is not None:
                await void_pause(kept, str(config["configurable"]["thread_id"]))
            async for chunk in self._driven(input, config, kept, kwargs):
                yield chunk

    async def _driven(
        self, input: Any, config: RunnableConfig | None, durable: Durable | None, kwargs: dict[str, Any]
    ) -> AsyncIterator[Any]:
        """One call of the graph by the owner of its thread."""
        admit(self.plan, self.services)
        call = await classify(self, input, config, kwargs.get("context"))
        kept = Filter(self.stream_mode, kwargs)
        own = call.durable and kwargs.get("control") is None
        call.scheduler.telling = kept.wants("custom") or "__pregel_stream" in (config or {}).get("configurable", {})
        call.scheduler.draining = _drain(kwargs.get("control"))
        call.scheduler.durable, call.scheduler.cache = call.durable, self.cache
        call.scheduler.within = self._around(call, config)
        if own:
            kwargs["control"] = control = RunControl()
            call.scheduler.halt = lambda: control.request_drain("pause")
        call.scheduler.stepwise = self._halts(kwargs)
        if call.durable:
            kwargs["durability"] = "sync"
        async with AsyncExitStack() as stack:
            if durable is not None:
                thread = str((config or {})["configurable"]["thread_id"])
                await stack.enter_async_context(recorded(call.scheduler, durable, thread))
                await stack.enter_async_context(heeded(call.scheduler, durable, thread))
            elif call.scheduler.budget.timed:
                await stack.enter_async_context(timed(call.scheduler))
            await stack.enter_async_context(witnessed(self, call, call.config or config))
            stack.push_async_callback(self.services.tools.release, str(call.scheduler.about["id"]))
            stack.push_async_callback(call.scheduler.close)
            try:
                async for chunk in super().astream(call.input, self._running(call, call.config or config), **kwargs):
                    if (shown := kept.shown(chunk)) is not None:
                        yield shown
            except GraphDrained:
                await call.scheduler.written()
                if not own:
                    raise
        call.conclude(halted=call.scheduler.stepwise or bool(call.scheduler.draining and call.scheduler.draining()))

    def _known(self, config: RunnableConfig | None) -> RunnableConfig | None:
        """The config with what LangGraph will add to it: what the graph is bound to, and the node that calls it."""
        whole = ensure_config(self.config, config)
        if not whole["configurable"]:
            return config
        return {**(config or {}), "configurable": whole["configurable"], "metadata": whole["metadata"]}

    def _around(self, call: Call, config: RunnableConfig | None) -> Within:
        """What calls of tools are told of this run."""
        configurable = (config or {}).get("configurable", {})
        saver = configurable.get("__pregel_checkpointer", self.checkpointer)
        return Within(
            checkpointer=saver if call.durable else None,
            depth=int(configurable.get(DEPTH, 0)),
            context=call.scheduler.about.get("context") or {},
            observer=self.observer if call.durable else None,
        )

    def _halts(self, options: Mapping[str, Any]) -> bool:
        """Whether LangGraph's breakpoints may stop the call."""
        asked = ("interrupt_before", "interrupt_after")
        return bool(
            any(options.get(name) for name in asked) or self.interrupt_before_nodes or self.interrupt_after_nodes
        )

    def _running(self, call: Call, config: RunnableConfig | None) -> RunnableConfig:
        given = dict(config or {})
        given.pop("max_concurrency", None)
        given["recursion_limit"] = RECURSION_LIMIT
        given["configurable"] = {**(config or {}).get("configurable", {}), SCHEDULER: call.scheduler}
        return given  # type: ignore[return-value]

    async def apause(self, config: RunnableConfig, reason: str = "") -> None:
        """Ask the run on the thread to rest; returns when it does.

        Starts stop at once, writes in flight end and are recorded, all else in flight runs again when the run is resumed.

        Raises:
            NotResumable: nobody works on it.
        """
        await stopping.pause(self, config, reason)

    async def acancel(self, config: RunnableConfig, *, undo: bool = False, reason: str = "") -> Any:
        """Cancel the run on the thread; returns its state once it has ended.

        ``on_failure`` and ``finally`` run; with ``undo`` the finished steps are taken back. Whoever works on the run does so;
        where nobody does, this call.

        Raises:
            NotResumable: the thread holds no run, or one that has ended.
        """
        return await stopping.cancel(self, config, reason, undo=undo)

    def pause(self, config: RunnableConfig, reason: str = "") -> None:
        """``apause`` for callers without an event loop."""
        blocking.run(self.apause(config, reason))

    def cancel(self, config: RunnableConfig, *, undo: bool = False, reason: str = "") -> Any:
        """``acancel`` for callers without an event loop."""
        return blocking.run(self.acancel(config, undo=undo, reason=reason))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """The state at the end of the run, or where it rests (``__interrupt__`` holds the questions)."""
        return await super().ainvoke(input, config, **kwargs)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """``ainvoke`` for callers without an event loop."""
        return blocking.run(self.ainvoke(input, config, **kwargs))

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """``astream`` for callers without an event loop."""
        return blocking.iterate(lambda: self.astream(input, config, **kwargs))

    async def aevents(
        self, input: Any, config: RunnableConfig | None = None, *, tokens: bool = True, **kwargs: Any
    ) -> AsyncIterator[Event]:
        """What happens in the run, step by step; the last event says how it ended or where it rests.

        A failed run ends with ``run.failed`` and raises nothing; what is refused before the run begins raises.
        """
        from graphs.events import events_of

        async for event in events_of(self, input, config, tokens=tokens, **kwargs):
            yield event

    def events(
        self, input: Any, config: RunnableConfig | None = None, *, tokens: bool = True, **kwargs: Any
    ) -> Iterator[Event]:
        """``aevents`` for callers without an event loop."""
        return blocking.iterate(lambda: self.aevents(input, config, tokens=tokens, **kwargs))

    # -- changing the state --------------------------------------------------------------------------------

    def bulk_update_state(self, config: RunnableConfig, supersteps: Sequence[Sequence[StateUpdate]]) -> RunnableConfig:
        """``abulk_update_state`` for callers without an event loop."""
        return blocking.run(self.abulk_update_state(config, supersteps))

    async def abulk_update_state(
        self, config: RunnableConfig, supersteps: Sequence[Sequence[StateUpdate]]
    ) -> RunnableConfig:
        """LangGraph's, but ``as_node`` may be left out at any checkpoint: what goes on is read from the records.

        Raises:
            Owned: somebody works on the run, and would go on from what it was.
        """
        async with self._owned(self._known(config)):
            return await super().abulk_update_state(config, self._attributed(supersteps))

    def _attributed(self, supersteps: Sequence[Sequence[StateUpdate]]) -> list[list[StateUpdate]]:
        """The updates with a node where none is named: LangGraph refuses to guess after a superstep of several."""
        sink = self.plan.sink

        def whole(update: StateUpdate) -> StateUpdate:
            values, as_node, *rest = update
            return StateUpdate(values, sink if as_node is None and values is not None else as_node, *rest)

        return [[whole(update) for update in updates] for updates in supersteps]

    # -- showing -------------------------------------------------------------------------------------------

    def get_graph(self, config: RunnableConfig | None = None, *, xray: int | bool = False) -> Graph:
        """The workflow's steps and edges, at any size."""
        return drawable(self.plan)

    async def aget_graph(self, config: RunnableConfig | None = None, *, xray: int | bool = False) -> Graph:
        """The workflow's steps and edges, at any size."""
        return drawable(self.plan)

    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """A pydantic model of the workflow's input."""
        return input_model(self.plan)

    def get_input_jsonschema(self, config: RunnableConfig | None = None) -> dict[str, Any]:
        """The JSON Schema of the workflow's input, for forms."""
        return input_model(self.plan).model_json_schema()

    def get_output_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """A pydantic model of the state that a call returns."""
        return output_model(self.plan)

    def get_output_jsonschema(self, config: RunnableConfig | None = None) -> dict[str, Any]:
        """The JSON Schema of the state that a call returns."""
        return output_model(self.plan).model_json_schema()


def _drain(control: Any) -> Any:
    return (lambda: control.drain_requested) if control is not None else None
