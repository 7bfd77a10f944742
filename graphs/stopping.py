"""Asking a run to rest or to end, whoever works on it: the request is left in its store, and its fulfilment waited for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig

from graphs.calls import ENDED
from graphs.keeping import POLL, kept_by, owned_name, request
from state.durable import Durable, Request
from state.errors import NotResumable, Owned, WorkflowCancelled, WorkflowFailed

if TYPE_CHECKING:
    from graphs.graph import WorkflowGraph


async def pause(graph: WorkflowGraph, config: RunnableConfig, reason: str) -> None:
    """``WorkflowGraph.apause``."""
    kept, thread, name = _kept(graph, config)
    if not await asyncio.to_thread(kept.owners.alive, name):
        raise NotResumable(f"Nobody works on {thread!r}: there is nothing to pause")
    made = request("pause", reason)
    await kept.requests.make(thread, made)
    while await asyncio.to_thread(kept.owners.alive, name) and await kept.requests.open(thread) is not None:  # noqa: ASYNC110 - perhaps another process
        await asyncio.sleep(POLL)
    await kept.requests.close(thread, made)


async def cancel(graph: WorkflowGraph, config: RunnableConfig, reason: str, *, undo: bool) -> Any:
    """``WorkflowGraph.acancel``."""
    kept, thread, name = _kept(graph, config)
    snapshot = await graph.aget_state(config)
    if not snapshot.values or snapshot.values.get("run", {}).get("status") in ENDED:
        raise NotResumable(f"Thread {thread!r} holds no run that goes on: there is nothing to cancel")
    made = request("cancel", reason, undo=undo)
    await kept.requests.make(thread, made)
    while await kept.requests.open(thread) is not None:
        if await asyncio.to_thread(kept.owners.alive, name):
            await asyncio.sleep(POLL)
        elif await _ended_here(graph, config, kept, thread, made):
            break
    return (await graph.aget_state(config)).values


async def _ended_here(graph: WorkflowGraph, config: RunnableConfig, kept: Durable, thread: str, made: Request) -> bool:
    """End the run, on which nobody works, by going on with it; whether it rests instead, as what follows asks a person.

    Raises:
        NotResumable: nobody can go on with it; the request is void.
    """
    try:
        with suppress(WorkflowCancelled, WorkflowFailed, Owned):
            await graph.ainvoke(None, config)
            return True
    except NotResumable:
        await kept.requests.close(thread, made)
        if not await _ended(graph, config):
            raise
    return False  # or its owner has ended it meanwhile


async def _ended(graph: WorkflowGraph, config: RunnableConfig) -> bool:
    return (await graph.aget_state(config)).values.get("run", {}).get("status") in ENDED


def _kept(graph: WorkflowGraph, config: RunnableConfig) -> tuple[Durable, str, str]:
    configurable = config.get("configurable", {})
    if not graph.checkpointer or "thread_id" not in configurable:
        raise NotResumable("Only a graph with a checkpointer and a thread_id can be paused or cancelled")
    return kept_by(graph.checkpointer), str(configurable["thread_id"]), owned_name(configurable)
