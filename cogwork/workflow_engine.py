"""``WorkflowEngine``: the documents' verbs over the library, the executions, the agents and the figures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from cogwork.app import App, app
from cogwork.engine.agent_verbs import AgentVerbs
from cogwork.engine.execution_verbs import ExecutionVerbs
from cogwork.engine.parts import Parts, Shared
from cogwork.engine.serving import Beside
from cogwork.engine.workflow_verbs import WorkflowVerbs
from cogwork.settings import Settings

if TYPE_CHECKING:
    from cogwork.schedules.store import Schedules
    from cogwork.schedules.triggers import Triggers
    from cogwork.sessions.conversations import Conversations
    from cogwork.sessions.memory import Memory
    from cogwork.sessions.sessions import Sessions


class WorkflowEngine(WorkflowVerbs, ExecutionVerbs, AgentVerbs):
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
            settings = Settings.from_documents(config) if config else Settings()
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
        try:
            self._shared = await asyncio.to_thread(Shared, self.app)
            self._parts = self._shared.parts(self.library)
            await self.library.code.initialize_all()
            if self._worker:
                self._beside = Beside(self._shared, library=self.library)
                await asyncio.to_thread(self._beside.start)
        except BaseException:
            await self.shutdown()
            raise

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

    # -- parts ---------------------------------------------------------------------------------------------

    @property
    def sessions(self) -> Sessions:
        """Sessions of users."""
        return self.parts.talks.sessions

    @property
    def conversations(self) -> Conversations:
        """What is said in sessions."""
        return self.parts.talks.conversations

    def memory(self, user: str | None = None, session: str | None = None, project: str | None = None) -> Memory:
        """What is remembered of a user, a session or a project."""
        from cogwork.sessions.entries import Place

        return self.parts.talks.memory(Place(user=user, session=session, project=project))

    @property
    def schedules(self) -> Schedules:
        """What starts workflows at their time."""
        from cogwork.engine.firing import schedules_of

        return schedules_of(self.parts)

    @property
    def triggers(self) -> Triggers:
        """What starts workflows when something happens."""
        from cogwork.engine.firing import triggers_of

        return triggers_of(self.parts)
