"""The verbs of agents, hand-offs and figures, as the documents have them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from cogwork.engine.opened import Opened

if TYPE_CHECKING:
    from cogwork.agents import Agents
    from cogwork.metrics.metrics import Metrics
    from state.values import Json


class AgentVerbs(Opened):
    """Register, get and list agents and hand-offs; figures of workflows and agents; health."""

    @property
    def _agents(self) -> Agents:
        return self.app.agents

    async def register_agent(
        self,
        name: str,
        description: str = "",
        capabilities: Iterable[str] = (),
        tools: Iterable[str] = (),
        config: Mapping[str, Json] | None = None,
        **more: Any,
    ) -> str:
        """Register an agent, in place of one of the same name; its id. ``config`` holds ``model`` and ``instructions``.

        Raises:
            EngineError: ``invalid_input``.
        """
        about: dict[str, Any] = {"description": description, "capabilities": capabilities, "tools": tools}
        about["config"] = config
        return await asyncio.to_thread(partial(self._agents.register, name, **about, **more))

    async def get_agent(self, agent_id: str) -> dict[str, Json]:
        """An agent by id or name.

        Raises:
            EngineError: ``agent_not_found``, with the nearest one.
        """
        return (await asyncio.to_thread(self._agents.get, agent_id)).model_dump(mode="json")

    async def list_agents(
        self, capabilities: Iterable[str] = (), status: Any = "active", limit: int = 50, cursor: str | None = None
    ) -> dict[str, Json]:
        """A page of the agents that have all these capabilities: ``{"agents": […], "cursor": …}``."""
        asked = partial(self._agents.page, capabilities=capabilities, status=status, limit=limit, cursor=cursor)
        page = await asyncio.to_thread(asked)
        return {"agents": [each.model_dump(mode="json") for each in page.items], "cursor": page.cursor}

    async def create_handoff(
        self,
        source_agent_id: str,
        target_agent_id: str,
        handoff_type: Any = "sequential",
        data_mapping: Mapping[str, str] | None = None,
        trigger_conditions: Iterable[str] = (),
        description: str = "",
    ) -> str:
        """Let one agent hand over to another; the hand-off's id.

        Raises:
            EngineError: ``agent_not_found``; ``invalid_input`` for a trigger that is no expression, or a way back.
        """
        about = {"type": handoff_type, "data_mapping": data_mapping, "description": description}
        made = partial(
            self._agents.create_handoff,
            source_agent_id,
            target_agent_id,
            trigger_conditions=trigger_conditions,
            **about,
        )
        return await asyncio.to_thread(made)

    async def get_handoff(self, handoff_id: str) -> dict[str, Json]:
        """A hand-off by its id.

        Raises:
            EngineError: ``handoff_not_found``.
        """
        return (await asyncio.to_thread(self._agents.get_handoff, handoff_id)).model_dump(mode="json")

    async def list_handoffs(
        self,
        source_agent_id: str | None = None,
        target_agent_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> dict[str, Json]:
        """A page of hand-offs: ``{"handoffs": […], "cursor": …}``."""
        asked = partial(
            self._agents.handoff_page, source=source_agent_id, target=target_agent_id, limit=limit, cursor=cursor
        )
        page = await asyncio.to_thread(asked)
        return {"handoffs": [each.model_dump(mode="json") for each in page.items], "cursor": page.cursor}

    # -- figures -------------------------------------------------------------------------------------------

    @property
    def metrics(self) -> Metrics:
        """The figures of workflows, versions, nodes, agents, tools and models."""
        from cogwork.metrics.metrics import Metrics

        return Metrics(self.parts.records, now=self.parts.executions.now)

    async def get_workflow_metrics(
        self, workflow_id: str, time_range: Any = "last_30_days", metrics: Sequence[str] | None = None
    ) -> dict[str, Json]:
        """The figures of a workflow over a time: ``last_7_days`` and the like, or two instants.

        Raises:
            EngineError: ``workflow_not_found``; ``invalid_input`` for a range or a figure that there is not.
        """
        return (await self.metrics.workflow(workflow_id, time_range, metrics)).to_dict()

    async def get_agent_performance(
        self, agent_id: str, time_range: Any = "last_7_days", metrics: Sequence[str] | None = None
    ) -> dict[str, Json]:
        """The figures of an agent over a time.

        Raises:
            EngineError: ``agent_not_found``, ``invalid_input``.
        """
        return (await self.metrics.agent(agent_id, time_range, metrics)).to_dict()

    async def get_system_health(self, within: float = 5.0) -> dict[str, Json]:
        """How every part that cogwork depends on stands: ``healthy``, ``degraded`` or ``unhealthy``, and why."""
        from cogwork.engine.healthy import probes
        from cogwork.metrics.health import system_health

        return await system_health(probes(self.parts), within=within)
