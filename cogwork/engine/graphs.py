"""The graphs of executions: of the version that each began with, on the checkpoints, telling the recorder."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from cogwork.engine.defaults import with_retry
from cogwork.engine.isolated import IsolatedGraph, isolation_of
from cogwork.engine.runnable import Runnable
from cogwork.errors import EngineError
from cogwork.executions.options import Options, options_of
from cogwork.executions.record import Execution
from cogwork.executions.recorder import Recorder
from cogwork.executions.store import Executions
from cogwork.isolation.limits import Isolation
from cogwork.isolation.zygote import Zygote
from cogwork.library.pinned import services_of
from cogwork.records.bundles import Bundles
from cogwork.store.errors import StoreError
from graphs.build import build
from graphs.graph import WorkflowGraph
from graphs.language.load import Workflow
from graphs.language.overrides import overridden

if TYPE_CHECKING:
    from cogwork.library.entries import VersionRecord
    from cogwork.library.library import Library

AT_HAND: Final = 256
"""How many compiled graphs are kept in memory."""


class Compiler(Protocol):
    """What loads workflows and makes graphs of them."""

    def load(self, source: Any, overrides: Mapping[str, Any] | None = None) -> Workflow:
        """The workflow that ``source`` means."""

    def compile(
        self, source: Any, *, checkpointer: Any = None, resolve: Callable[..., Any] | None = None
    ) -> WorkflowGraph:
        """The compiled graph.

        Raises:
            SpecError: it has faults.
        """


class KeptGraphs:
    """Graphs of published versions, and of what other executions began with; the latest ones are kept at hand."""

    def __init__(
        self, bundles: Bundles, house: Compiler, saver: Any, recorder: Recorder, library: Library | None = None
    ) -> None:
        self._bundles, self._house, self._saver, self._recorder = bundles, house, saver, recorder
        self._library = library
        self._zygote: Zygote | None = None
        self._made: OrderedDict[Hashable, Any] = OrderedDict()

    async def of(self, execution: Execution) -> Runnable:
        """The graph of the workflow that the execution began with.

        Raises:
            EngineError: ``version_not_found``; it was not kept.
            SpecError: it cannot be built any more, as a tool or model is gone.
        """
        if execution.mode == "remote":
            return self._elsewhere(execution)
        isolated = execution.mode == "isolated"
        if execution.workflow_id is not None and execution.version is not None and self._library is not None:
            if (made := self._known(execution)) is not None:
                return self._apart(execution, graph=made) if isolated else made
            version = await self._library.version(execution.workflow_id, execution.version, deleted=True)
            if isolated and version.kind == "code":
                return self._apart(execution, reference=version.reference, arguments=version.arguments)
            found: Runnable = await self.published(version, options_of(execution.options))
            return self._apart(execution, graph=found) if isolated else found
        kept: Runnable = await self._at_hand(execution.digest, partial(self._kept, execution))
        return self._apart(execution, graph=kept) if isolated else kept

    def _elsewhere(self, execution: Execution) -> Runnable:
        """The execution's graph on another instance."""
        from cogwork.remote.graph import RemoteGraph

        house: Any = self._house
        executions = Executions(self._recorder.records, now=self._recorder.now)
        return RemoteGraph(execution, executions, self._saver, house.instances, house.settings.remote)

    def _known(self, execution: Execution) -> Any:
        """The graph of the execution's version where it is at hand: what a version is never changes."""
        options = options_of(execution.options)
        made = self._made.get(_place(execution.workflow_id, execution.version, options))
        if made is None and execution.mode != "isolated" and not options.overrides and options.retry is None:
            made = self._made.get((execution.workflow_id, execution.version))
        return made

    def _apart(self, execution: Execution, **what: Any) -> Runnable:
        """The execution's graph in a process of its own."""
        house: Any = self._house
        if "reference" in what and not what["reference"]:
            message = f"{execution.workflow} is code without a module and name to import: it cannot run isolated"
            raise EngineError("invalid_input", message, execution_id=execution.id)
        limits = isolation_of(execution.options.get("isolation") or {}, self.isolation)
        graph = what.get("graph")
        services = graph.services if isinstance(graph, WorkflowGraph) else house.services
        about: dict[str, Any] = {"name": execution.workflow, "digest": execution.digest}
        return IsolatedGraph(self.zygote, limits, services, self._saver, **about, **what)

    @property
    def isolation(self) -> Isolation:
        """The usual limits of isolated executions."""
        house: Any = self._house
        found: Isolation = house.settings.isolation
        return found

    def zygote(self) -> Zygote:
        """The server that isolated executions are forked from; started when the first one is."""
        if self._zygote is None:
            house: Any = self._house
            self._zygote = Zygote(hidden=[house.settings.state_dir.absolute()])
        return self._zygote

    async def close(self) -> None:
        """End the fork server, if there is one."""
        if self._zygote is not None:
            await self._zygote.aclose()

    async def published(self, version: VersionRecord, options: Options) -> Any:
        """The graph of a version of the library, with what the options change of it.

        Raises:
            SpecError: an override does not fit, or a tool, model or prompt is gone.
            EngineError: ``invalid_input``, code cannot be overridden; or it cannot be had here.
        """
        assert self._library is not None, "published versions are in a library"
        if version.kind == "code":
            return await self._code(version, options)
        key = _place(version.workflow_id, version.version, options)
        if (known := self._made.get(key)) is not None:
            self._made.move_to_end(key)
            return known
        content = await self._library.content_of(version)
        return await self._at_hand(key, lambda: self._changed(content.bundle, options))

    async def given(self, source: Any, options: Options) -> WorkflowGraph:
        """The graph of a workflow that is in no library; it is kept, so that any worker can go on with it.

        Raises:
            SpecError: it has faults, or an override does not fit.
        """

        def made() -> WorkflowGraph:
            workflow = with_retry(self._house.load(source, options.overrides or None), options.retry)
            graph = self._house.compile(workflow, checkpointer=self._saver)
            self._bundles.keep(graph)
            return graph

        graph = await asyncio.to_thread(made)
        self._keep(graph.digest, graph)
        return graph

    # -- making ----------------------------------------------------------------------------------------------

    async def _at_hand(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if (known := self._made.get(key)) is not None:
            self._made.move_to_end(key)
            return known
        made = await asyncio.to_thread(make)
        self._keep(key, made)
        return made

    def _keep(self, key: Hashable, graph: Any) -> None:
        if isinstance(graph, WorkflowGraph):
            graph.observer, graph.now = self._recorder, self._recorder.now
        self._made[key] = graph
        while len(self._made) > AT_HAND:
            self._made.popitem(last=False)

    def _kept(self, execution: Execution) -> WorkflowGraph:
        try:
            workflow, resolve = self._bundles.find(execution.digest)
        except StoreError as err:
            told = {"execution_id": execution.id, "digest": execution.digest}
            raise EngineError("version_not_found", str(err), **told) from err
        return self._house.compile(workflow, checkpointer=self._saver, resolve=resolve)

    def _changed(self, bundle: Any, options: Options) -> WorkflowGraph:
        house: Any = self._house
        workflow = with_retry(overridden(bundle.workflow, options.overrides or None), options.retry)
        services = services_of(house, bundle)
        return build(workflow, services, bundle.resolve, checkpointer=self._saver, cache=lambda: house.cache)

    async def _code(self, version: VersionRecord, options: Options) -> Any:
        if options.overrides or options.retry is not None:
            message = f"{version.name} is code: it takes no overrides and no retry policy"
            raise EngineError("invalid_input", message, workflow=version.name)
        assert self._library is not None
        key = (version.workflow_id, version.version)
        if (known := self._made.get(key)) is None:
            known = await self._library.code.graph(version, checkpointer=self._saver)
            self._keep(key, known)
        return known


def _place(workflow_id: str | None, version: int | None, options: Options) -> Hashable:
    retry = options.retry.model_dump(mode="json") if options.retry is not None else None
    return (workflow_id, version, _key(options.overrides), _key(retry))


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True) if value else ""
