"""The isolated execution itself: build the graph that the job names, run it, and tell the worker what happens."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Protocol

from cogwork.isolation.faults import told
from cogwork.isolation.line import Line
from state.errors import CogworkError
from state.events import Event
from state.values import Json

_DONE: Final = 0


class Runs(Protocol):
    """What can be run: ``graphs.graph.WorkflowGraph``, and what stands in for it where the workflow is code."""

    def aevents(
        self, input: Any, config: Any = None, *, tokens: bool = True, context: Any = None
    ) -> AsyncIterator[Event]:
        """The events of one call, as ``WorkflowGraph.aevents`` gives them."""


def run(handle: int) -> int:
    """Do the job that comes over the line; the exit code."""
    line = Line(socket.socket(fileno=handle))
    if not line.job.get("thread"):
        return _DONE
    asyncio.run(_told(line))
    sys.stdout.flush()
    sys.stderr.flush()
    return _DONE


async def _told(line: Line) -> None:
    """Run the job and send its events, and what it raises."""
    try:
        async for event in _events(line):
            line.tell("event", event=event.to_dict())
    except CogworkError as error:
        line.tell("refused", raised=told(error))
    except MemoryError:
        raise
    except Exception as error:
        line.tell("refused", raised=told(error))
    else:
        line.tell("done")


async def _events(line: Line) -> AsyncIterator[Event]:
    from langgraph.types import Command

    from graphs.graph import DEPTH

    job = line.job
    graph = _graph(line, job)
    config: Any = {
        "configurable": {"thread_id": job["thread"], DEPTH: job["depth"]},
        "metadata": dict(job["metadata"]),
    }
    input = job["input"]
    if job["answers"] is not None:
        input = Command(resume=await _addressed(graph, config, job["answers"]))
    async for event in graph.aevents(input, config, tokens=job["tokens"], context=job["context"]):
        yield event


def _graph(line: Line, job: Mapping[str, Any]) -> Runs:
    from cogwork.isolation.far_saver import FarSaver
    from cogwork.isolation.far_services import services_over

    saver, services = FarSaver(line, job["thread"]), services_over(line)
    if job["bundle"]:
        from graphs.build import build
        from graphs.language.load import load

        workflow, *used = (load(document, file="<isolated>") for document in job["bundle"])
        rest = iter(used)
        return build(workflow, services, lambda name, user: next(rest, None), checkpointer=saver)
    from cogwork.isolation.code import CodeRun

    return CodeRun(job["reference"], job["arguments"], services, saver)


async def _addressed(graph: Any, config: Any, answers: Mapping[str, Json]) -> dict[str, Json]:
    """The answers by the ids of their interrupts: by path, an only answer could be taken for a form's own value."""
    if not hasattr(graph, "aget_state"):  # code addresses answers by itself
        return dict(answers)
    asked = [each for each in (await graph.aget_state(config)).interrupts if isinstance(each.value, dict)]
    ids = {each.value.get("at"): each.id for each in asked}
    return {ids.get(path, path): answer for path, answer in answers.items()}
