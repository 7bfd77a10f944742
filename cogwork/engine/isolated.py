"""Graphs that run in a process of their own: the same interface, with the work elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command
from pydantic import ValidationError

from cogwork.errors import EngineError
from cogwork.executions.settling import Settled, settle
from cogwork.isolation.job import Job
from cogwork.isolation.limits import Isolation
from cogwork.isolation.running import isolated_events
from cogwork.isolation.zygote import Zygote
from cogwork.records.bundles import documents_of
from graphs.graph import WorkflowGraph
from graphs.witnessing import step_facts
from state.events import Event
from state.services import Services
from state.values import Json


@dataclass(frozen=True, slots=True)
class Standing:
    """What a worker knows of a thread whose graph it does not have: whether it has begun, and no more."""

    created_at: str | None
    config: Any
    next: tuple[str, ...] = ()
    values: Mapping[str, Json] = ()  # type: ignore[assignment]
    interrupts: tuple[Any, ...] = ()


class IsolatedGraph:
    """A workflow in a process of its own; ``graph`` is its own where it is data, ``reference`` names code that this process
    does not import."""

    def __init__(
        self,
        zygote: Callable[[], Zygote],
        isolation: Isolation,
        services: Services,
        saver: Any,
        *,
        graph: WorkflowGraph | None = None,
        reference: str = "",
        arguments: Mapping[str, Json] | None = None,
        name: str = "",
        digest: str = "",
    ) -> None:
        self._zygote, self._isolation, self._services = zygote, isolation, services
        self.checkpointer, self.graph = saver, graph
        self._code = {"reference": reference, "arguments": dict(arguments or {})} if reference else {}
        self.name = graph.plan.spec.name if graph is not None else name
        self.digest = graph.digest if graph is not None else digest

    async def aevents(
        self, input: Any, config: RunnableConfig | None = None, *, tokens: bool = True, **kwargs: Any
    ) -> AsyncIterator[Event]:
        """The events that the run has elsewhere; the last one says what held and what was used."""
        configurable = (config or {}).get("configurable", {})
        answers = input.resume if isinstance(input, Command) else None
        documents = tuple(documents_of(self.graph)) if self.graph is not None else ()
        job = Job(
            thread=str(configurable["thread_id"]),
            bundle=documents,
            input=dict(input) if isinstance(input, Mapping) else None,
            answers=answers,
            context=kwargs.get("context") or {},
            tokens=tokens,
            **self._code,
        )
        zygote = self._zygote()
        await zygote.start()
        async for event in isolated_events(
            zygote, job, services=self._services, saver=self.checkpointer, isolation=self._isolation
        ):
            yield event

    async def aget_state(self, config: RunnableConfig) -> Any:
        """LangGraph's snapshot of the thread, where the graph is at hand."""
        if self.graph is not None:
            return await self.graph.aget_state(config)
        thread = config["configurable"]["thread_id"]
        found = await self.checkpointer.aget_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})
        at = found.checkpoint.get("ts") if found is not None else None
        return Standing(created_at=at, config=found.config if found is not None else {}, values={})

    async def settled(self, event: Event, settled: Settled, config: RunnableConfig) -> Settled:
        """What the last event says, with what the checkpoint knows of the steps, and what was used."""
        resources = dict(event.data.get("isolation") or {})
        if self.graph is not None and event.kind != "run.failed":
            snapshot = await self.graph.aget_state({"configurable": {"thread_id": config["configurable"]["thread_id"]}})
            settled = settle(snapshot.values, settled.questions, step_facts(self.graph.plan))
        return replace(settled, resources=resources)


def isolation_of(given: Mapping[str, Any], usual: Isolation) -> Isolation:
    """The limits that a caller means, over the usual ones.

    Raises:
        EngineError: ``invalid_input``.
    """
    try:
        return Isolation.model_validate({**usual.model_dump(), **given})
    except ValidationError as err:
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in err.errors(include_url=False))
        raise EngineError("invalid_input", f"The limits of the isolated process do not fit: {said}") from err
