"""``WorkflowEngine``: the documents' verbs over the library, the executions, the agents and the figures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cogwork.app import App, app
from cogwork.engine.batches import Batch, Batches
from cogwork.engine.handle import Handle
from cogwork.engine.parts import Parts, Shared
from cogwork.engine.results import filter_of, result_for
from cogwork.engine.serving import Beside
from cogwork.engine.starting import Starting
from cogwork.errors import EngineError
from cogwork.executions.listing import listed
from cogwork.executions.options import Options, options_of
from cogwork.executions.record import Execution
from cogwork.executions.result import ExecutionResult
from cogwork.executions.statuses import IllegalMove
from cogwork.settings import Settings

if TYPE_CHECKING:
    from cogwork.executions.history import Told
    from cogwork.library.library import Library
    from cogwork.records.pages import Page
    from state.values import Json


class WorkflowEngine:
    """Workflows, their executions and what they come to; use it as ``async with WorkflowEngine() as engine``.

    Executions that are started run in a worker beside the program, or, with ``worker=False``, in those that
    ``cogwork worker`` starts. What the verbs return can be read like a dict; ``blocking`` are the same verbs for programs
    without an event loop. The parts that do the work are attributes: ``library``, ``dispatch``, ``batches`` …

    Args:
        config: settings in place of those of the environment; the documents' names are understood.
        settings: the same as ``Settings``.
        tools: Python functions or ``Tool`` objects, beside the built-in ones.
        worker: whether executions run beside this program too.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        settings: Settings | None = None,
        tools: Iterable[Any] = (),
        worker: bool = True,
    ) -> None:
        if settings is None:
            settings = Settings(**config) if config else Settings()
        self.app: App = app(settings, tools)
        self._worker = worker
        self._shared: Shared | None = None
        self._parts: Parts | None = None
        self._beside: Beside | None = None
        self._here: set[asyncio.Task[Any]] = set()

    # -- life ----------------------------------------------------------------------------------------------

    async def initialize(self) -> None:
        """Open the records, the checkpoints and the queue, initialise the workflows that are code, then begin to work.

        Raises:
            EngineError: ``database_error``; ``conflict`` where this process has a worker already.
        """
        if self._parts is not None:
            return
        self._shared = await asyncio.to_thread(Shared, self.app)
        self._parts = self._shared.parts(self.library)
        await self.library.code.initialize_all()
        if self._worker:
            self._beside = Beside(self._shared, library=self.library)
            await asyncio.to_thread(self._beside.start)

    async def shutdown(self) -> None:
        """Take nothing more; let what runs rest and hand it on; shut down the workflows that are code; close what was opened.

        What ran in this process can be resumed by the next.
        """
        for task in self._here:
            task.cancel()
        if self._here:
            await asyncio.wait(self._here)
        if self._beside is not None:
            await asyncio.to_thread(self._beside.stop)
        if self._parts is not None:
            await self.library.code.shutdown_all()
            await self._parts.close()
        if self._shared is not None:
            await asyncio.to_thread(self._shared.close)
        await asyncio.to_thread(self.app.close)
        self._parts = self._shared = self._beside = None
        self.__dict__.pop("library", None)

    async def __aenter__(self) -> WorkflowEngine:
        await self.initialize()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.shutdown()

    @property
    def parts(self) -> Parts:
        """The parts, once ``initialize`` has opened them.

        Raises:
            EngineError: ``conflict``; it has not, or ``shutdown`` has closed them.
        """
        if self._parts is None:
            raise EngineError("conflict", "The engine is not open: use it in `async with`, or call initialize() first")
        return self._parts

    @cached_property
    def library(self) -> Library:
        """The workflows with their versions, labels and users."""
        return self._opened.library()

    @property
    def _opened(self) -> Shared:
        if self._shared is None:
            raise EngineError("conflict", "The engine is not open: use it in `async with`, or call initialize() first")
        return self._shared

    # -- workflows -----------------------------------------------------------------------------------------

    async def create_workflow(self, name: str | None = None, source: Any = None, **fields: Any) -> str:
        """Publish a workflow; its id. ``source`` is a file, text or spec; or ``fields`` are those of one, such as the documents'
        ``steps``, with ``description``, ``tags`` and ``metadata``.

        Raises:
            SpecError: it has faults; holds every problem.
            EngineError: ``conflict``; the name is taken.
        """
        about = {key: fields.pop(key) for key in ("author", "note") if key in fields}
        if source is None:
            given = {"name": name, **fields} if name is not None else fields
            return (await self.library.create(given, **about)).id
        return (await self.library.create(source, name=name, **fields, **about)).id

    async def register_workflow(self, thing: Any, name: str | None = None, **arguments: Any) -> str:
        """Publish a workflow that is code: a class that builds a graph, with constructor arguments, a ``StateGraph`` or a
        compiled graph; its name.

        Raises:
            EngineError: ``invalid_input``; it builds no graph.
        """
        return (await self.library.register(thing, name=name, **arguments)).name

    async def get_workflow(self, workflow_id: str) -> dict[str, Json]:
        """A workflow by id or name.

        Raises:
            EngineError: ``workflow_not_found``, with suggestions.
        """
        return (await self.library.get(workflow_id)).to_dict()

    async def update_workflow(self, workflow_id: str, updates: Mapping[str, Any] | None = None, **more: Any) -> bool:
        """Publish a new version with the updates (or a whole ``source``); executions that are open keep theirs. Whether there
        was anything to change.

        Raises:
            SpecError, EngineError: see ``Library.update``.
        """
        before = await self.library.get(workflow_id)
        after = await self.library.update(workflow_id, updates=updates, **more)
        return (before.newest, before.version, before.name) != (after.newest, after.version, after.name)

    async def list_workflows(
        self,
        tags: Iterable[str] = (),
        status: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
        text: str | None = None,
    ) -> dict[str, Json]:
        """A page of workflows, the latest first: ``{"workflows": […], "cursor": …}``."""
        page = await self.library.list(tags=tags, status=status, text=text, limit=limit, cursor=cursor)
        return {"workflows": [each.to_dict() for each in page.items], "cursor": page.cursor}

    async def delete_workflow(self, workflow_id: str, *, force: bool = False) -> bool:
        """Delete a workflow; its versions stay for the executions that began with them.

        Raises:
            EngineError: ``workflow_not_found``; ``in_use``, unless ``force``.
        """
        await self.library.delete(workflow_id, force=force)
        return True

    # -- executions ----------------------------------------------------------------------------------------

    async def execute_workflow(
        self,
        workflow_id: Any,
        input_data: Mapping[str, Any] | None = None,
        execution_options: Options | Mapping[str, Any] | None = None,
        *,
        context: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Handle:
        """Ask for an execution of a workflow: of the library by id, name or ``name@version``, or a file or spec.

        With the mode ``sync`` it runs here, and this returns at its end or first rest; else in a worker, and this returns at
        once. ``more`` are options too.

        Raises:
            EngineError: ``workflow_not_found``, ``invalid_input``.
            SpecError: what was given has faults, or an override does not fit.
        """
        options = options_of(execution_options, **more)
        request, _ = await self._starting.request(workflow_id, input_data, options, context)
        if options.mode == "sync":
            return Handle(self, await self._owned(self.parts.dispatch.run(request)))
        return Handle(self, await self.parts.dispatch.start(request))

    async def run_workflow(
        self,
        workflow_id: Any,
        input_data: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> ExecutionResult:
        """Execute a workflow here, and wait; what it has come to, which ``summarize_results`` sums up."""
        given = {**options, **({"metadata": dict(metadata)} if metadata else {}), "mode": "sync"}
        handle = await self.execute_workflow(workflow_id, input_data, given)
        return await self.get_execution_result(handle.id)

    async def get_execution_status(self, execution_id: str) -> dict[str, Json]:
        """How an execution stands.

        Raises:
            EngineError: ``execution_not_found``, with suggestions.
        """
        return (await self.parts.executions.get(execution_id)).to_dict()

    async def get_execution_result(self, execution_id: str) -> ExecutionResult:
        """What an execution has come to, up to now where it has not ended.

        Raises:
            EngineError: ``execution_not_found``.
        """
        return await result_for(self.parts, execution_id)

    async def list_executions(
        self,
        workflow_id: str | None = None,
        status: str | None = None,
        start_time: datetime | str | None = None,
        end_time: datetime | str | None = None,
        limit: int = 20,
        cursor: str | None = None,
        tags: Iterable[str] = (),
        **more: Any,
    ) -> dict[str, Json]:
        """A page of executions, the latest first: ``{"executions": […], "cursor": …}``; ``more`` are fields of ``Filter``.

        Raises:
            EngineError: ``invalid_input``, ``invalid_cursor``.
        """
        wanted = filter_of(
            workflow=workflow_id, status=status, since=start_time, until=end_time, tags=tuple(tags), **more
        )
        page: Page[Execution] = await self.parts.records.reading(
            lambda connection: listed(connection, wanted, limit=limit, cursor=cursor)
        )
        return {"executions": [each.to_dict() for each in page.items], "cursor": page.cursor}

    async def cancel_execution(self, execution_id: str, reason: str = "", *, undo: bool = False) -> bool:
        """End an execution in order; whether it was open. With ``undo`` its finished steps are taken back.

        Raises:
            EngineError: ``execution_not_found``.
        """
        try:
            await self.parts.dispatch.cancel(execution_id, reason, undo=undo)
        except IllegalMove:
            return False
        return True

    async def pause_execution(self, execution_id: str, reason: str = "") -> bool:
        """Let an execution rest; whether it was going on.

        Raises:
            EngineError: ``execution_not_found``.
        """
        try:
            await self.parts.dispatch.pause(execution_id, reason)
        except IllegalMove:
            return False
        return True

    async def resume_execution(self, execution_id: str, answers: Any = None) -> Handle:
        """Go on with a paused execution, with the answers to what it asks; one that ran here goes on here.

        Raises:
            AnswerRefused: an answer does not fit its form, or comes too late.
            EngineError: ``illegal_move``, ``invalid_input``, ``execution_not_found``.
        """
        execution = await self.parts.executions.get(execution_id)
        here = execution.mode == "sync"
        return Handle(self, await self._owned(self.parts.dispatch.resume(execution_id, answers, here=here)))

    def follow(self, execution_id: str, after: int = 0) -> AsyncIterator[Told]:
        """What happens in an execution, from the beginning or after that number, to its end."""
        return self.parts.history.follow(execution_id, after=after)

    # -- batches -------------------------------------------------------------------------------------------

    async def execute_batch(
        self,
        workflow_id: Any,
        inputs: Sequence[Mapping[str, Any]],
        execution_options: Options | Mapping[str, Any] | None = None,
        *,
        name: str = "",
    ) -> Batch:
        """Ask for an execution per input; the batch tells how far they have come.

        Raises:
            EngineError: ``invalid_input``; says which input does not fit, and then none is asked for.
        """
        options = options_of(execution_options)
        requests = [(await self._starting.request(workflow_id, each, options))[0] for each in inputs]
        return await self.batches.start(requests, name)

    @property
    def batches(self) -> Batches:
        """Batches of executions."""
        return Batches(self.parts.dispatch)

    # -- inside --------------------------------------------------------------------------------------------

    @property
    def _starting(self) -> Starting:
        return Starting(self.library, self.parts.graphs)

    async def _owned(self, work: Any) -> Execution:
        """What ``work`` comes to; it is ended with the engine."""
        task: asyncio.Task[Execution] = asyncio.ensure_future(work)
        self._here.add(task)
        task.add_done_callback(self._here.discard)
        try:
            return await task
        except asyncio.CancelledError:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            raise
