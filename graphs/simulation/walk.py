"""One path through a workflow: the real runtime on mocks, people answered at once, in time that costs nothing."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from graphs.graph import WorkflowGraph
from graphs.simulation.clock import BEGIN, Stuck, VirtualLoop
from graphs.simulation.mocks import Front
from graphs.simulation.world import SimulatedWorld
from state.errors import CogworkError, WorkflowFailed
from state.values import Json

MOST_ROUNDS = 10_000
"""So many times people are asked in one run before it is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run came to its end: the state it left, its status, and the open questions where it rests."""

    state: Mapping[str, Any]
    status: str
    error: Mapping[str, Json] | None = None
    questions: tuple[Mapping[str, Json], ...] = ()

    @property
    def records(self) -> Mapping[str, Any]:
        """The records by path."""
        return self.state.get("nodes") or {}

    @property
    def done(self) -> list[str]:
        """The paths of the steps that were done, in the order of their ends."""
        return [path for path in self.state.get("path") or () if self.records.get(path, {}).get("status") == "done"]


async def walk(
    graph: WorkflowGraph, front: Front, world: SimulatedWorld, input: Json, context: Json, loop: VirtualLoop
) -> Ended:
    """Run the graph to its end, or to where nobody answers; whatever goes wrong is in what it gives.

    Raises:
        InputRefused: the input does not fit.
    """
    graph.checkpointer = InMemorySaver()
    graph.now = loop.now
    config: RunnableConfig = {"configurable": {"thread_id": uuid.uuid4().hex}}
    front.world = world
    failure: Exception | None = None
    given: Any = input
    for _ in range(MOST_ROUNDS):
        try:
            await graph.ainvoke(given, config, **({"context": context} if context else {}))
        except WorkflowFailed:
            break
        except CogworkError as error:
            if given is input:
                raise
            failure = error
            break
        questions = await _questions(graph, config)
        given = _next(world, questions, loop) if questions else None
        if given is None:
            break
        given = given if isinstance(given, Command) else None
    front.world = None
    return await _ended(graph, config, failure)


async def _questions(graph: WorkflowGraph, config: RunnableConfig) -> list[Mapping[str, Json]]:
    snapshot = await graph.aget_state(config)
    asked = [i.value for i in snapshot.interrupts if isinstance(i.value, Mapping) and "at" in i.value]
    return sorted(asked, key=lambda question: str(question["at"]))


def _next(world: SimulatedWorld, questions: list[Mapping[str, Json]], loop: VirtualLoop) -> Command[Any] | bool | None:
    """The answers that are given; True after time has passed until a deadline; None where nothing goes on."""
    answers: dict[str, Json] = {}
    waited: list[str] = []
    for question in questions:
        if question.get("kind") == "budget" or (said := world.answer(question)) is None:
            continue
        if said.fault and question.get("deadline"):
            waited.append(str(question["deadline"]))
        else:
            answers[str(question["at"])] = said.value
    if answers:
        return Command(resume=answers)
    if not waited:
        return None
    until = datetime.fromisoformat(min(waited))
    loop.elapsed = max(loop.elapsed, (until - BEGIN).total_seconds()) + 0.001
    return True


async def _ended(graph: WorkflowGraph, config: RunnableConfig, failure: Exception | None) -> Ended:
    snapshot = await graph.aget_state(config)
    state: Mapping[str, Any] = snapshot.values
    asked = tuple(i.value for i in snapshot.interrupts if isinstance(i.value, Mapping))
    about = state.get("run") or {}
    status = str(about.get("status", "failed"))
    error = about.get("error")
    if failure is not None:
        status, error = "failed", {"class": "internal", "node": "", "message": f"{type(failure).__name__}: {failure}"}
    elif asked and status == "running":
        status = "paused"
    return Ended(state=state, status=status, error=error, questions=asked)


__all__ = ["Ended", "Stuck", "walk"]
