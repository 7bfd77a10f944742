"""Workflows that are code, within an isolated execution: imported, made and run there, and nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

from cogwork.library.building import awaited, built, injected, resources_of
from cogwork.library.code_graph import RUN, CodeGraph, cancelled, status_of
from cogwork.library.code_steps import output_of
from cogwork.library.references import imported
from state.errors import CogworkError, Fault
from state.events import Event, EventKind
from state.services import Services
from state.values import Json

SERVICES: Final[ContextVar[Services]] = ContextVar("cogwork_services")
"""The services of the execution, for the code of its nodes."""


class _House:
    """The parts that code may ask for: those that reach the worker."""

    settings = None
    mcp = None

    def __init__(self, services: Services) -> None:
        self.services = services


class CodeRun:
    """What ``reference`` names, with its arguments, as a graph on the saver; made when it is run."""

    def __init__(self, reference: str, arguments: Mapping[str, Json], services: Services, saver: Any) -> None:
        self._reference, self._arguments = reference, arguments
        self._services, self._saver = services, saver

    async def aevents(
        self, input: Any, config: Any = None, *, tokens: bool = True, context: Any = None
    ) -> AsyncIterator[Event]:
        """The events of one call, as ``WorkflowGraph.aevents`` gives them; of a run that has ended its end once more.

        Raises:
            Fault: ``invalid_input``; the code is not there, raises, or makes no graph.
        """
        SERVICES.set(self._services)
        graph = await self._graph()
        if input is None and (ended := await _ended(graph, config)) is not None:
            yield ended
            return
        async for event in graph.aevents(input, config, tokens=tokens, context=context):
            if (
                event.kind == "run.failed"
                and (event.data["error"].get("details") or {}).get("exception") == "MemoryError"
            ):
                raise MemoryError  # a limit was reached: the worker says which
            yield event

    async def _graph(self) -> CodeGraph:
        name = self._reference
        try:
            thing = imported(name, name)
            house: Any = _House(self._services)
            arguments = injected(thing, self._arguments, resources_of(house), name)
            made = thing if arguments is None else await awaited(thing(**arguments))
            if callable(hook := getattr(made, "initialize", None)):
                await awaited(hook())
            return CodeGraph(await awaited(built(made, name)), name=name, digest="", checkpointer=self._saver)
        except (MemoryError, Fault):
            raise
        except CogworkError as error:
            raise Fault("invalid_input", str(error), origin="workflow") from error
        except Exception as error:
            message = f"{name} makes no graph: {type(error).__name__}: {error}"
            raise Fault("invalid_input", message, origin="workflow") from error


async def _ended(graph: CodeGraph, config: Any) -> Event | None:
    """The last event of a run that is over."""
    snapshot = await graph.aget_state(config)
    about = snapshot.metadata or {}
    data: dict[str, Json]
    match status_of(snapshot):
        case "completed":
            try:
                kind: EventKind = "run.completed"
                data = {"output": output_of(graph.graph.output_channels, snapshot.values)}
            except Fault as fault:
                kind, data = "run.failed", {"error": fault.record(node="")}
        case "failed":
            kind = "run.failed"
            data = {"error": Fault("internal", "it had failed", origin="workflow").record(node="")}
        case "cancelled":
            kind, data = "run.cancelled", {"error": cancelled("")}
        case _:
            return None
    run = str(about.get(RUN) or "")
    return Event(kind=kind, run=run, at=datetime.now(UTC).isoformat(), data=data)
