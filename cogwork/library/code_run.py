"""One call of somebody's graph: driven in a task of its own, which requests to pause or cancel can reach."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphDrained, GraphRecursionError
from langgraph.runtime import RunControl
from langgraph.types import StateSnapshot

from cogwork.library.code_steps import as_plain, is_task, nested_path, numbered, question
from graphs.keeping import POLL
from state.durable import Durable, Request
from state.errors import Fault
from state.events import Event, EventKind
from state.values import Json

_END: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a call ended: by an error, cancelled, or else as the checkpoint says; with the request that was heeded."""

    error: dict[str, Json] | None = None
    cancelled: bool = False
    request: Request | None = None


async def driven(
    graph: Any,
    given: Any,
    config: RunnableConfig,
    modes: list[str],
    kept: Durable,
    thread: str,
    options: Mapping[str, Any],
) -> AsyncGenerator[Any]:
    """The chunks of one call, and last how it ended. The graph is cut off with whoever listens.

    A request to pause lets the nodes at work end; one to cancel cuts them off.
    """
    control = RunControl()
    chunks: asyncio.Queue[Any] = asyncio.Queue()

    async def stream() -> None:
        durable: dict[str, Any] = {"durability": "sync", "control": control, "subgraphs": True}
        async for chunk in graph.astream(given, config, stream_mode=modes, **durable, **options):
            chunks.put_nowait(chunk)

    heeded: list[Request] = []
    running = asyncio.create_task(stream())
    running.add_done_callback(lambda _: chunks.put_nowait(_END))
    watch = asyncio.create_task(_watch(kept, thread, control, running, heeded))
    watch.add_done_callback(lambda _: running.cancel())
    try:
        while (chunk := await chunks.get()) is not _END:
            yield chunk
        if watch.done() and not watch.cancelled() and (fault := watch.exception()) is not None:
            raise fault
        yield _ended(running, heeded)
    finally:
        for task in (watch, running):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


async def _watch(
    kept: Durable, thread: str, control: RunControl, running: asyncio.Task[None], heeded: list[Request]
) -> None:
    """Heed what is asked of the run, for as long as it goes on."""
    while True:
        found = await kept.requests.open(thread)
        if found is not None and found.id not in [each.id for each in heeded]:
            heeded.append(found)
            if found.kind == "pause":
                control.request_drain("pause")
            else:
                running.cancel()
        await asyncio.sleep(POLL)


def _ended(running: asyncio.Task[None], heeded: list[Request]) -> Ended:
    last = heeded[-1] if heeded else None
    if running.cancelled():
        return Ended(cancelled=True, request=last)
    error = running.exception()
    if error is None or isinstance(error, GraphDrained):
        return Ended(request=last)
    if not isinstance(error, Exception):
        raise error
    return Ended(error=record(error), request=last)


def record(error: BaseException, node: str = "") -> dict[str, Json]:
    """What a node of somebody's graph raised, as data."""
    if isinstance(error, Fault):
        return error.record(node=node)
    if isinstance(error, GraphRecursionError):
        return Fault("budget_exceeded", str(error).split("\n")[0], origin="workflow").record(node=node)
    if isinstance(error, TimeoutError):
        return Fault("timeout", str(error) or "it took too long").record(node=node)
    name = type(error).__name__
    return Fault("tool_error", f"{name}: {error}" if str(error) else name, details={"exception": name}).record(
        node=node
    )


class Story:
    """What has been seen of a run: its steps by path, their outputs, and the events that tell of them."""

    def __init__(self, now: Callable[[], datetime], clock: Callable[[], float]) -> None:
        self.run = ""
        self.outputs: dict[str, Json] = {}
        self.errors: list[dict[str, Json]] = []
        self._now, self._clock = now, clock
        self._counts: Counter[str] = Counter()
        self._known: dict[str, str] = {}
        self._over: set[str] = set()
        self._paths: dict[str, str] = {}
        self._began: dict[str, float] = {}

    def begin(self, run: str) -> None:
        """A new run."""
        self.run = run

    def resume(self, run: str, before: Mapping[str, int], snapshot: StateSnapshot) -> None:
        """Go on with a run, at whose newest checkpoint some tasks may be over already."""
        self.run, self._counts = run, Counter(before)
        for task in snapshot.tasks:
            self._known[task.id] = numbered(task.name, self._counts[task.name])
            self._counts[task.name] += 1
            if task.result is not None and not task.interrupts:
                self._over.add(task.id)

    def event(self, kind: EventKind, /, *, step: str = "", **data: Json) -> Event:
        """An event of this run."""
        return Event(kind=kind, run=self.run, at=self._now().isoformat(), step=step, data=data)

    def told(self, chunk: Any) -> Iterator[Event]:
        """The events that a chunk of LangGraph's streams gives."""
        namespace, mode, data = chunk
        if mode == "messages":
            message, about = data
            if isinstance(message, AIMessageChunk) and message.text:
                around = nested_path(namespace, self._paths)
                node = str(about.get("langgraph_node", ""))
                yield self.event("step.token", step=around or self._latest(node), text=str(message.text))
        elif mode == "tasks" and is_task(data) and data["id"] not in self._over:
            yield from self._begun(namespace, data) if "result" not in data else self._settled(data)

    def _latest(self, node: str) -> str:
        return next((path for path in reversed(self._paths.values()) if path.split("[")[0] == node), node)

    def _begun(self, namespace: tuple[str, ...], task: Mapping[str, Any]) -> Iterator[Event]:
        around = nested_path(namespace, self._paths)
        path = self._known.get(task["id"], "")
        if not path:
            whole = f"{around}.{task['name']}" if around else str(task["name"])
            path = numbered(whole, self._counts[whole])
            self._counts[whole] += 1
        self._paths[task["id"]], self._began[task["id"]] = path, self._clock()
        yield self.event("step.started", step=path)

    def _settled(self, task: Mapping[str, Any]) -> Iterator[Event]:
        path = self._paths.get(task["id"], str(task["name"]))
        seconds = round(self._clock() - self._began.get(task["id"], self._clock()), 6)
        if task.get("error"):
            error = (
                record(task["error"], path) if isinstance(task["error"], BaseException) else _said(task["error"], path)
            )
            self.errors.append(error)
            yield self.event("step.failed", step=path, error=error, seconds=seconds)
        elif task.get("interrupts"):
            for number, asked in enumerate(task["interrupts"], start=1):
                at = path if number == 1 else f"{path}#{number}"
                yield self.event(
                    "step.waiting", step=path, **question(at, asked["value"], asked.get("response_schema"))
                )
        else:
            self.outputs[path] = as_plain(task["result"])
            yield self.event("step.finished", step=path, seconds=seconds, attempts=1)


def _said(error: Any, path: str) -> dict[str, Json]:
    return Fault("tool_error", str(error)[:2000]).record(node=path)
