"""What is measured: one graph of tasks as a cogwork workflow, and the same written by hand in plain LangGraph."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeAlias

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph

from benchmarks.dags import Dag, Task
from cogwork.store.checkpoints import SqliteCheckpoints
from cogwork.tools.toolbox import Toolbox, tool
from graphs.build import build
from graphs.language.load import load
from state.graph import GraphState
from state.services import Services

Kind: TypeAlias = Literal["langgraph", "cogwork transform", "cogwork tool", "cogwork effect-free", "cogwork write"]
Storage: TypeAlias = Literal["memory", "sqlite"]
KINDS: tuple[Kind, ...] = ("langgraph", "cogwork transform", "cogwork tool")
STORAGES: tuple[Storage, ...] = ("memory", "sqlite")
TOOLS: dict[Kind, str] = {"cogwork effect-free": "bench.free", "cogwork write": "bench.write"}
"""The tools of the kinds that show what recording costs; the others call one that reads."""
_threads = itertools.count()


@tool(name="bench.wait", effect="read")
async def wait(seconds: float) -> int:
    """Wait, as for a remote service."""
    await asyncio.sleep(seconds)
    return 1


@tool(name="bench.nothing", effect="read")
async def nothing() -> int:
    """Do nothing."""
    return 1


@tool(name="bench.free", effect="none")
async def free() -> int:
    """Do nothing, and say so: there is nothing to record."""
    return 1


@tool(name="bench.write", effect="write", idempotent=False)
async def write() -> int:
    """Do nothing, but as something that must not be done twice."""
    return 1


class NoModels:
    """No models: nothing measured here asks one."""

    def find(self, *args: Any, **options: Any) -> NoReturn:
        """There is none."""
        raise LookupError("the benchmarks use no model")

    def context_length(self, name: str) -> int | None:
        """Nobody has said how much it takes."""
        return None

    def price(self, name: str) -> None:
        return None

    def fallbacks(self, mode: str | None) -> tuple[str, ...]:
        """No mode has any."""
        return ()

    def problem(self, name: str) -> str:
        """There is none."""
        return f"the benchmarks use no model, not {name}"


class NoPrompts:
    """No prompt files."""

    def find(self, name: str, *, mode: str | None = None) -> None:
        """There is none."""

    def names(self) -> list[str]:
        """There are none."""
        return []


def services() -> Services:
    """The tools of the benchmarks, and nothing else."""
    return Services(tools=Toolbox([wait, nothing, free, write]), models=NoModels(), prompts=NoPrompts())


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one run took: seconds on the clock, and of all this process's threads."""

    wall: float
    cpu: float


@dataclass(slots=True, kw_only=True)
class Subject:
    """A compiled graph with its checkpointer; every run has a thread of its own, forgotten afterwards."""

    name: str
    storage: Storage
    graph: Any
    saver: Any
    expected: int
    costs: list[Cost] = field(default_factory=list)

    async def run(self) -> Cost:
        """Run once, and keep what it took.

        Raises:
            RuntimeError: not every task has run, so that the time would mean nothing.
        """
        thread = f"t{next(_threads)}"
        config = {"configurable": {"thread_id": thread}, "recursion_limit": 100_000}
        wall, cpu = time.perf_counter(), time.process_time()
        state = await self.graph.ainvoke({}, config, durability="sync")
        cost = Cost(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)
        if len(state["path"]) != self.expected:
            raise RuntimeError(f"{self.name} ran {len(state['path'])} of {self.expected} tasks")
        await self.saver.adelete_thread(thread)
        self.costs.append(cost)
        return cost


@asynccontextmanager
async def subject(kind: Kind, dag: Dag, storage: Storage, folder: Path) -> AsyncIterator[Subject]:
    """The graph of ``dag``, ready to run, with a checkpointer of its own."""
    async with AsyncExitStack() as stack:
        saver = await stack.enter_async_context(_saver(kind, storage, folder))
        pure, called = kind == "cogwork transform", TOOLS.get(kind, "bench.nothing")
        graph = by_hand(dag, saver) if kind == "langgraph" else workflow(dag, saver, pure=pure, called=called)
        yield Subject(name=kind, storage=storage, graph=graph, saver=saver, expected=len(dag.tasks))


@asynccontextmanager
async def _saver(kind: Kind, storage: Storage, folder: Path) -> AsyncIterator[Any]:
    if storage == "memory":
        yield InMemorySaver()
        return
    path = folder / f"{next(_threads)}.sqlite"
    if kind == "langgraph":
        async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
            yield saver
    else:
        with SqliteCheckpoints(path) as own:
            yield own


def workflow(dag: Dag, saver: Any, *, pure: bool, called: str = "bench.nothing") -> Any:
    """The tasks as a workflow: tools that wait, or transforms that do nothing."""
    return build(load(document(dag, pure=pure, called=called)), services(), _no_other, checkpointer=saver)


def document(dag: Dag, *, pure: bool, called: str = "bench.nothing") -> dict[str, Any]:
    """The workflow of the tasks in the canonical form; tasks without a duration call the tool ``called``."""
    nodes = {task.name: {**_node(task, pure, called), "depends_on": list(task.parents)} for task in dag.tasks}
    return {"cogwork": "v1", "name": "bench", "nodes": nodes, "output": f"{{{{ {dag.leaves[-1]} }}}}"}


def _node(task: Task, pure: bool, called: str) -> dict[str, Any]:
    if pure:
        return {"type": "transform", "set": 1}
    if task.seconds:
        return {"type": "tool", "tool": "bench.wait", "args": {"seconds": task.seconds}}
    return {"type": "tool", "tool": called}


def _no_other(name: str, where: Any) -> None:
    """The benchmarks use no other workflow."""


def by_hand(dag: Dag, saver: Any) -> Any:
    """The tasks as one would write them in LangGraph: a node each, joins as edges from a list, records in the state."""
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(GraphState)
    for task in dag.tasks:
        graph.add_node(task.name, _function(task))
    for task in dag.tasks:
        if len(task.parents) > 1:
            graph.add_edge(list(task.parents), task.name)
        else:
            graph.add_edge(task.parents[0] if task.parents else START, task.name)
    for leaf in dag.leaves:
        graph.add_edge(leaf, END)
    return graph.compile(checkpointer=saver)


def _function(task: Task) -> Callable[[Any], Awaitable[dict[str, Any]]]:
    async def node(state: GraphState) -> dict[str, Any]:
        started = datetime.now(UTC).isoformat()
        if task.seconds:
            await asyncio.sleep(task.seconds)
        record = {"status": "done", "attempts": 1, "started_at": started, "ended_at": datetime.now(UTC).isoformat()}
        return {"nodes": {task.name: record}, "results": {task.name: 1}, "path": [task.name]}

    node.__name__ = task.name
    return node
