"""Runs whose process dies at one write of the checkpoint or of the record of calls, and goes on in another one."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from graphs.graph import WorkflowGraph
from state.errors import WorkflowCancelled, WorkflowFailed
from state.services import CallContext
from tests.conftest import Stage, answer
from tests.test_random_graphs import Died, DyingSaver

SAID = {
    "human": {"answer": "yes"},
    "in_doubt": {"resolution": "retry"},
    "approval": {"decision": "approve"},
    "elicitation": {"color": "red"},
}
"""What people answer, by the kind of question; what the death of a process cuts off here has not taken place."""


class Ledger(Stage):
    """A stage that notes the keys of the calls that have ended, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[str] = []
        self.told: Callable[[Any], None] = lambda value: None
        """Called with what each call is told to return."""
        self.stuck = ""
        """The path of the step whose undo call hangs."""
        self.survived = 0
        """How many calls had been made when the process died."""

    async def _do(self, context: CallContext, *args: Any) -> Any:
        if context.idempotency_key.endswith(f":{self.stuck}:undo"):
            self.log.append(("start", context.step))
            await asyncio.Event().wait()
        value = await super()._do(context, *args)
        self.ended.append(context.idempotency_key)
        self.told(value)
        return value


async def settled(graph: WorkflowGraph, given: Any, config: RunnableConfig) -> dict[str, Any]:
    """The state that a call of the graph ends in, whether the run fails or not; hangs are failures."""
    with suppress(WorkflowFailed, WorkflowCancelled):
        return await asyncio.wait_for(graph.ainvoke(given, config), 20)
    return (await graph.aget_state(config)).values


async def to_the_end(graph: WorkflowGraph, given: Any, config: RunnableConfig) -> dict[str, Any]:
    """The end of a run whose questions are all answered."""
    state = await settled(graph, given, config)
    while asked := (await graph.aget_state(config)).interrupts:
        said = {each.value["at"]: SAID[each.value["kind"]] for each in asked}
        state = await settled(graph, answer(said), config)
    return state


async def died_at(stage: Ledger, spec: Any, after: int, given: Any = None) -> tuple[bool, dict[str, Any]]:
    """Whether the run died at that write, and its end in a new graph on the same storage."""
    saver, config = DyingSaver(), stage.thread()
    saver.left = after
    try:
        return False, await to_the_end(stage.graph(spec, saver), given or {}, config)
    except Died:
        saver.left = 10**9
        stage.survived = len(stage.paths())
    graph = stage.graph(spec, saver)
    kept = (await graph.aget_state(config)).values
    return True, await to_the_end(graph, None if kept.get("run") else given or {}, config)


def ending(state: Mapping[str, Any]) -> dict[str, Any]:
    """What an end is made of, but for times and numbers of attempts."""
    run = state["run"]
    return {
        "nodes": {path: record["status"] for path, record in state["nodes"].items() if record["status"] != "cancelled"},
        "results": state.get("results"),
        "output": state.get("output"),
        "run": {name: copy.deepcopy(run.get(name)) for name in ("status", "reason", "undo")},
        "also": sorted(error["node"] for error in run.get("also") or ()),
    }


def at_every_write(
    spec: Any, library: Mapping[str, Any] | None = None, *, alike: bool = True, ledger: Callable[[], Ledger] = Ledger
) -> int:
    """Let a run die at each of its writes in turn; how often it died.

    Each run ends as the one that does not die does, and no call that has ended is made again. ``alike`` false leaves the
    comparison out, for runs whose end depends on who is faster.
    """

    def staged() -> Ledger:
        stage = ledger()
        stage.library = dict(library or {})
        return stage

    whole = asyncio.run(to_the_end(staged().graph(spec, InMemorySaver()), {}, {"configurable": {"thread_id": "whole"}}))
    for after in range(1, 10_000):
        stage = staged()
        died, state = asyncio.run(died_at(stage, spec, after))
        twice = {key: count for key, count in Counter(stage.ended).items() if count > 1}
        assert not twice, f"death at write {after}"
        if alike:
            assert ending(state) == ending(whole), f"death at write {after}"
        assert not [path for path, record in state["nodes"].items() if record["status"] in ("open", "waiting")]
        if not died:
            return after - 1
    raise AssertionError("the run dies for ever")
