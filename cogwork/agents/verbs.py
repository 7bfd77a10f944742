"""The verbs of the registry for coroutines, under the names that the documents give them; files and records are read off the
event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cogwork.agents.records import HandoffType, RegisteredAgent, RegisteredHandoff, Status
from cogwork.agents.registry import Agents

if TYPE_CHECKING:
    from cogwork.records.pages import Page


@dataclass(frozen=True, slots=True)
class AgentVerbs:
    """Registering, finding and listing agents and hand-overs."""

    agents: Agents

    async def register_agent(self, name: str, **fields: Any) -> str:
        """Register an agent, in place of one of the same id; its id. The fields are those of ``Agents.register``.

        Raises:
            EngineError: ``invalid_input``; a name without letters, or fields that do not fit.
        """
        return await asyncio.to_thread(self.agents.register, name, **fields)

    async def get_agent(self, agent_id: str) -> RegisteredAgent:
        """The agent of that id or name.

        Raises:
            EngineError: ``agent_not_found``, with suggestions.
        """
        return await asyncio.to_thread(self.agents.get, agent_id)

    async def list_agents(
        self,
        *,
        capabilities: Iterable[str] = (),
        status: Status | None = "active",
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[RegisteredAgent]:
        """A page of the agents that have all these capabilities: the declared ones, then the registered, the latest first.

        Raises:
            EngineError: ``invalid_input``, ``invalid_cursor``.
        """
        return await asyncio.to_thread(
            self.agents.page, capabilities=capabilities, status=status, limit=limit, cursor=cursor
        )

    async def archive_agent(self, agent_id: str) -> None:
        """Take an agent out of use.

        Raises:
            EngineError: ``agent_not_found``, or ``invalid_input`` for one that a file declares.
        """
        await asyncio.to_thread(self.agents.archive, agent_id)

    async def create_handoff(
        self,
        source_agent_id: str,
        target_agent_id: str,
        *,
        handoff_type: HandoffType = "sequential",
        data_mapping: Mapping[str, str] | None = None,
        trigger_conditions: Iterable[str] = (),
        description: str = "",
    ) -> str:
        """Let one registered agent hand over to another; the hand-over's id.

        Raises:
            EngineError: ``agent_not_found``; ``invalid_input`` for what does not fit, or a way back to the source.
        """
        return await asyncio.to_thread(
            self.agents.create_handoff,
            source_agent_id,
            target_agent_id,
            type=handoff_type,
            data_mapping=data_mapping,
            trigger_conditions=trigger_conditions,
            description=description,
        )

    async def get_handoff(self, handoff_id: str) -> RegisteredHandoff:
        """The hand-over of that id.

        Raises:
            EngineError: ``handoff_not_found``, with suggestions.
        """
        return await asyncio.to_thread(self.agents.get_handoff, handoff_id)

    async def list_handoffs(
        self,
        *,
        source_agent_id: str | None = None,
        target_agent_id: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[RegisteredHandoff]:
        """A page of the hand-overs of these agents, the latest first.

        Raises:
            EngineError: ``invalid_input``, ``invalid_cursor``.
        """
        return await asyncio.to_thread(
            self.agents.handoff_page, source=source_agent_id, target=target_agent_id, limit=limit, cursor=cursor
        )
