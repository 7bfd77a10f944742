"""Telling whoever keeps a record of runs what happens in a call of a graph."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from langchain_core.runnables import RunnableConfig

from graphs.analysis.plan import Plan
from graphs.answers import questions_of
from graphs.calls import Call
from graphs.forks import latest
from state.bearing import bearing

if TYPE_CHECKING:
    from graphs.graph import WorkflowGraph


def step_facts(plan: Plan) -> dict[str, dict[str, str]]:
    """What is known of each step before it runs, by its id: ``kind``, and where it names one ``tool`` and ``agent``."""
    found: dict[str, dict[str, str]] = {}
    for name, planned in plan.steps.items():
        header = plan.scopes[planned.scope].header
        agent = getattr(planned.step, "agent", None) or (found.get(header, {}).get("agent") if header else None)
        tool = getattr(planned.step, "tool", None)
        found[name] = {
            "kind": planned.kind,
            **({"tool": tool} if isinstance(tool, str) else {}),
            **({"agent": agent} if isinstance(agent, str) else {}),
        }
    return found


@asynccontextmanager
async def witnessed(graph: WorkflowGraph, call: Call, config: RunnableConfig | None) -> AsyncIterator[None]:
    """Tell the graph's observer what happens in the block; a run that nobody keeps is not told of."""
    if graph.observer is None or not call.durable or config is None:
        yield
        return
    configurable, scheduler = config["configurable"], call.scheduler
    witness = await graph.observer.began(
        str(configurable["thread_id"]),
        scheduler.about,
        input=scheduler.run.top.input,
        steps=step_facts(graph.plan),
        configurable=configurable,
    )
    scheduler.witness = witness
    try:
        with bearing(run=scheduler.about["id"], thread=str(configurable["thread_id"])):
            yield
    except BaseException as err:
        await asyncio.shield(asyncio.ensure_future(witness.broke(err)))
        raise
    snapshot = await graph.aget_state(latest(config))
    await witness.left(snapshot.values, tuple(question.value for question in questions_of(snapshot)))
