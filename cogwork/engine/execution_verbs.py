"""The verbs of executions, as the documents have them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from cogwork.engine.batches import Batch, Batches
from cogwork.engine.handle import Handle
from cogwork.engine.opened import Opened
from cogwork.engine.resources import capabilities, cleaned, used
from cogwork.engine.results import filter_of, result_for
from cogwork.engine.trying import dry_run
from cogwork.errors import EngineError
from cogwork.executions.listing import listed
from cogwork.executions.options import Options, options_of
from cogwork.executions.record import Execution
from cogwork.executions.result import ExecutionResult
from cogwork.executions.statuses import IllegalMove

if TYPE_CHECKING:
    from cogwork.executions.history import Told
    from cogwork.records.pages import Page
    from state.values import Json


class ExecutionVerbs(Opened):
    """Execute workflows, here or in workers; look at executions, answer, pause, resume and cancel them; batches."""

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
        once. ``more`` are options too. With ``dry_run`` use ``dry_run``: there is no execution then.

        Raises:
            EngineError: ``workflow_not_found``, ``invalid_input``.
            SpecError: what was given has faults, or an override does not fit.
        """
        options = options_of(execution_options, **more)
        if options.dry_run:
            raise EngineError("invalid_input", "A dry run makes no execution: call dry_run with the same arguments")
        request, _ = await self.parts.starting.request(workflow_id, input_data, options, context)
        if options.mode == "sync":
            return Handle(self, await self._owned(self.parts.dispatch.run(request)))
        return Handle(self, await self.parts.dispatch.start(request))

    async def dry_run(
        self,
        workflow_id: Any,
        input_data: Mapping[str, Any] | None = None,
        execution_options: Options | Mapping[str, Any] | None = None,
        *,
        context: Mapping[str, Any] | None = None,
    ) -> dict[str, Json]:
        """Check all that is checked before an execution, and walk its paths on mocks; nothing is called, and nothing kept.

        Raises:
            EngineError, SpecError: as ``execute_workflow``.
        """
        return await dry_run(self.parts, workflow_id, input_data, options_of(execution_options), context)

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

    async def fork_execution(
        self,
        execution_id: str,
        at: str,
        *,
        side: Literal["before", "after"] = "before",
        values: Mapping[str, Any] | None = None,
        input_data: Mapping[str, Any] | None = None,
    ) -> Handle:
        """Begin another execution at a past step of this one, in a worker; ``values`` are other results, by step.

        What had ended by then is taken over and not done again; what comes later is done anew, writes included.

        Raises:
            EngineError: ``execution_not_found``, ``invalid_input``; ``conflict`` where nothing is kept of that point.
        """
        from cogwork.engine.forking import forked

        return Handle(self, await forked(self.parts, execution_id, at, side, values or {}, input_data))

    async def clean_up_execution(self, execution_id: str) -> bool:
        """Take away what an execution that has ended holds beside its record: its checkpoints and calls; whether it held any.

        Raises:
            EngineError: ``execution_not_found``; ``in_use`` for one that is open.
        """
        return await cleaned(self.parts, execution_id)

    async def get_resource_usage(self, execution_id: str | None = None) -> dict[str, Json]:
        """What an execution has used: time, tokens, cost and, where it ran isolated, processor time and memory; or what this
        process uses.

        Raises:
            EngineError: ``execution_not_found``.
        """
        return await used(self.parts, execution_id)

    async def get_capabilities(self) -> dict[str, Json]:
        """What can be executed here and how: modes, kinds of steps, models, tools, queues, databases."""
        return await asyncio.to_thread(capabilities, self.parts)

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
        key: str | None = None,
    ) -> Batch:
        """Ask for an execution per input; the batch tells how far they have come. Asked again with its ``key``, it is the same.

        Raises:
            EngineError: ``invalid_input``; says which input does not fit, and then none is asked for.
        """
        options = options_of(execution_options)
        requests = [(await self.parts.starting.request(workflow_id, each, options))[0] for each in inputs]
        return await self.batches.start(requests, name, key)

    @property
    def batches(self) -> Batches:
        """Batches of executions."""
        return Batches(self.parts.dispatch)

    # -- inside --------------------------------------------------------------------------------------------

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
