"""The graphs of executions: of the version that each began with, on the checkpoints, telling the recorder."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Protocol

from cogwork.engine.segments import Runnable
from cogwork.errors import EngineError
from cogwork.executions.record import Execution
from cogwork.executions.recorder import Recorder
from cogwork.records.bundles import Bundles
from cogwork.store.errors import StoreError
from graphs.graph import WorkflowGraph
from graphs.language.load import Workflow

AT_HAND: Final = 256
"""How many compiled graphs are kept in memory."""


class Compiler(Protocol):
    """What makes a graph of a workflow."""

    def __call__(
        self, source: Workflow, /, *, checkpointer: Any = None, resolve: Callable[..., Any] | None = None
    ) -> WorkflowGraph:
        """The compiled graph.

        Raises:
            SpecError: it has faults.
        """


class KeptGraphs:
    """Graphs made of the workflows that executions began with, the latest ones kept at hand."""

    def __init__(self, bundles: Bundles, build: Compiler, saver: Any, recorder: Recorder) -> None:
        self._bundles, self._build, self._saver, self._recorder = bundles, build, saver, recorder
        self._made: OrderedDict[str, WorkflowGraph] = OrderedDict()

    async def of(self, execution: Execution) -> Runnable:
        """The graph of the workflow that the execution began with.

        Raises:
            EngineError: ``version_not_found``; it was not kept.
            SpecError: it cannot be built any more, as a tool or model is gone.
        """
        known = self._made.get(execution.digest)
        if known is not None:
            self._made.move_to_end(execution.digest)
            return known
        made = await asyncio.to_thread(self._compiled, execution)
        self.put(made)
        return made

    def put(self, graph: WorkflowGraph) -> None:
        """Keep a graph at hand."""
        graph.observer = self._recorder
        self._made[graph.digest] = graph
        while len(self._made) > AT_HAND:
            self._made.popitem(last=False)

    def _compiled(self, execution: Execution) -> WorkflowGraph:
        try:
            workflow, resolve = self._bundles.find(execution.digest)
        except StoreError as err:
            raise EngineError(
                "version_not_found", str(err), execution_id=execution.id, digest=execution.digest
            ) from err
        return self._build(workflow, checkpointer=self._saver, resolve=resolve)
