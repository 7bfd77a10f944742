"""Agents and hand-overs that are registered once and named by many workflows."""

from cogwork.agents.files import read_agent
from cogwork.agents.records import AgentError, RegisteredAgent, RegisteredHandoff, agent_id
from cogwork.agents.registry import Agents

__all__ = ["AgentError", "Agents", "RegisteredAgent", "RegisteredHandoff", "agent_id", "read_agent"]
