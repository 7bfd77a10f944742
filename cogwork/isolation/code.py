"""Workflows that are code: a graph that a function makes of arguments, run like any other."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from langgraph.graph import StateGraph

from state.errors import Fault
from state.events import Event, EventKind
from state.services import Services
from state.values import Json, normalise

SERVICES: Final[ContextVar[Services]] = ContextVar("cogwork_services")
"""The services of the execution, for the code of its nodes."""


def code_graph(reference: str, arguments: Mapping[str, Json], services: Services, saver: Any) -> CodeRun:
    """What can be run of the code that ``reference`` names.

    Raises:
        Fault: ``invalid_input``; the code is not there, raises, or makes no graph.
    """
    try:
        made = named(reference)(**arguments)
        graph = made.compile(checkpointer=saver) if isinstance(made, StateGraph) else made
        graph.checkpointer = saver
    except MemoryError:
        raise
    except Exception as error:
        raise Fault("invalid_input", f"{reference} makes no graph: {type(error).__name__}: {error}") from error
    return CodeRun(reference, graph, services)


def named(reference: str) -> Any:
    """What ``module:name`` means.

    Raises:
        ImportError, AttributeError: there is no such thing.
    """
    module, _, name = reference.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


class CodeRun:
    """A compiled graph of somebody else's, with the events of a workflow's run."""

    def __init__(self, name: str, graph: Any, services: Services) -> None:
        self.name, self.graph, self.services = name, graph, services
        self.run = uuid4().hex

    async def aevents(
        self, input: Any, config: Any = None, *, tokens: bool = True, context: Any = None
    ) -> AsyncIterator[Event]:
        """The beginning, the end of each node, and the end of the run."""
        SERVICES.set(self.services)
        values, questions = {}, list[Any]()
        yield self._event("run.started" if isinstance(input, dict) else "run.resumed", workflow=self.name)
        try:
            owned = self.graph.checkpointer.owners.held(config["configurable"]["thread_id"])
            async with owned:
                options = {"stream_mode": ["updates", "values"], "durability": "sync"}
                async for mode, chunk in self.graph.astream(input, config, **options):
                    if mode == "values":
                        values = chunk
                        continue
                    questions += [each.value for each in chunk.get("__interrupt__", ())]
                    for step in chunk.keys() - {"__interrupt__"}:
                        yield self._event("step.finished", step=step)
        except MemoryError:
            raise
        except Exception as error:
            fault = Fault("internal", f"{type(error).__name__}: {error}"[:2000])
            yield self._event("run.failed", error=(error if isinstance(error, Fault) else fault).record(node=""))
            return
        if questions:
            yield self._event("run.paused", questions=normalise(questions), reason="human")
        else:
            yield self._event("run.completed", output=normalise(values))

    def _event(self, kind: EventKind, *, step: str = "", **data: Json) -> Event:
        return Event(kind=kind, run=self.run, at=datetime.now(UTC).isoformat(), step=step, data=data)
