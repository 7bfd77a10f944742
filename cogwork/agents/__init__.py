"""Agents and hand-overs that are registered once and named by many workflows."""

from cogwork.agents.files import read_agent
from cogwork.agents.records import RegisteredAgent, RegisteredHandoff, agent_id
from cogwork.agents.registry import Agents
from cogwork.agents.verbs import AgentVerbs

__all__ = ["AgentVerbs", "Agents", "RegisteredAgent", "RegisteredHandoff", "agent_id", "read_agent"]
