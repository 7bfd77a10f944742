"""Executions in a session: what they are given of it, and what they leave in it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cogwork.executions.options import Options
from cogwork.executions.record import Execution
from cogwork.executions.store import Executions
from cogwork.sessions.conversations import Conversations
from cogwork.sessions.entries import Place
from cogwork.sessions.memory import Memory
from cogwork.sessions.records import SessionPolicy
from cogwork.sessions.sessions import Sessions
from cogwork.sessions.store import MemoryStore, memory_store
from cogwork.sessions.turns import record_turn, request_field, session_context
from graphs.graph import WorkflowGraph
from state.values import Json

if TYPE_CHECKING:
    from cogwork.settings import Settings


class Talks:
    """Sessions, conversations and memory, as executions have to do with them; the memory is opened when it is needed."""

    def __init__(self, executions: Executions, settings: Settings, embeddings: Any = None) -> None:
        records, now = executions.records, executions.now
        policy = SessionPolicy(ttl=settings.session_ttl)
        self.sessions = Sessions(records, now=now, policy=policy)
        self.conversations = Conversations(records, now=now)
        self._executions, self._settings, self._embeddings = executions, settings, embeddings
        self._gate = threading.Lock()
        self._store: MemoryStore | None = None

    def memory(self, place: Place) -> Memory:
        """What is remembered of a user, a session and a project."""
        with self._gate:
            if self._store is None:
                chosen = self._settings
                self._store = memory_store(
                    chosen.state_dir / "memory.sqlite",
                    chosen.database_url,
                    synchronous=chosen.synchronous,
                    ring=self._executions.records.seals.ring,
                )
        return Memory(self._store, place, now=self._executions.now, embeddings=self._embeddings)

    async def given(
        self, options: Options, graph: Any, input: Mapping[str, Any], context: Mapping[str, Any]
    ) -> tuple[dict[str, Json], Options]:
        """The context of an execution in the session that its options name, and its options with the session's mode.

        Raises:
            EngineError: ``session_not_found``, ``conversation_not_found``; ``illegal_move`` for a session that has ended.
        """
        if options.session_id is None:
            return dict(context), options
        session = await self.sessions.find(options.session_id)
        place = Place(user=options.user_id or session.user_id, session=session.id)
        memory = await asyncio.to_thread(self.memory, place)
        found = await session_context(
            self.sessions,
            self.conversations,
            session.id,
            conversation_id=options.conversation_id,
            request=_said(graph, input),
            memory=memory,
            tokens=self._settings.history.tokens,
            messages=self._settings.history.messages,
        )
        changes: dict[str, Any] = {"conversation_id": found.conversation.id}
        changes |= {"user_id": options.user_id or session.user_id}
        if found.mode and isinstance(graph, WorkflowGraph) and "mode" not in options.overrides:
            changes["overrides"] = {**options.overrides, "mode": found.mode}
        return {**found.context, **context}, options.model_copy(update=changes)

    async def told(self, execution: Execution, graph: Any) -> None:
        """Put what was asked and answered into the conversation; once, however often this is called."""
        conversation = execution.options.get("conversation_id")
        if execution.session_id is None or not conversation:
            return
        input = await self._executions.input_of(execution)
        output = await self._executions.output_of(execution)
        asked = _said(graph, input if isinstance(input, Mapping) else {})
        if asked.strip():
            await record_turn(
                self.conversations, str(conversation), execution.id, asked, output, status=execution.status
            )

    def close(self) -> None:
        """Close the memory, if it was opened."""
        if self._store is not None:
            self._store.close()


def _said(graph: Any, input: Mapping[str, Any]) -> str:
    """What a person says in the input; empty where no field is for that."""
    schema = graph.plan.spec.input if isinstance(graph, WorkflowGraph) else getattr(graph, "input_schema", {})
    field = request_field(schema)
    return str(input.get(field) or "") if field is not None else ""
