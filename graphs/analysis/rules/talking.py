"""Llm nodes that work with tools, and their agents: the tools that they name, their policies, and whom they hand over to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from graphs.analysis.plan import PlannedStep
from graphs.analysis.rules.subject import Subject
from graphs.analysis.talks import handoff_place, reachable
from graphs.language.source import escaped
from graphs.language.spec import Agent, LlmNode
from nodes.agent import AgentTurn
from nodes.conversation import is_pattern, offered
from nodes.profile import Budget, converses
from state.problems import Problem


def talking(subject: Subject) -> Iterator[Problem]:
    """``unknown_tool``, ``unknown_agent``, ``handoff_circle``, ``bad_fallback``, ``without_effect``."""
    for scope, workflow in subject.roots():
        agents = workflow.spec.agents
        for name, agent in agents.items():
            yield from _agent(subject, scope.document, f"/agents/{escaped(name)}", agent, agents)
        yield from _circles(subject, scope.document, agents)
    for step in subject.plan.steps.values():
        if isinstance(step.step, LlmNode) and not isinstance(step.step, AgentTurn):
            yield from _step(subject, step, step.step)


def _agent(subject: Subject, document: int, place: str, agent: Agent, agents: Mapping[str, Agent]) -> Iterator[Problem]:
    for index, name in enumerate(agent.tools):
        if (found := _unknown(subject, name)) is not None:
            yield subject.problem(document, found[0], found[1], f"{place}/tools/{index}", found[2])
    for index, handoff in enumerate(agent.handoffs):
        if handoff.to not in agents:
            message = f"There is no agent {handoff.to!r} to hand over to"
            hint = subject.nearest(handoff.to, agents, "agents: has")
            yield subject.problem(document, "unknown_agent", message, f"{place}/handoffs/{index}/to", hint)
    for pattern in _idle_policies(subject, agent.approve, agent.tools):
        message = f"The policy for {pattern!r} fits none of the agent's tools"
        pointer = f"{place}/approve/{escaped(pattern)}"
        yield subject.problem(document, "without_effect", message, pointer, "name one of its tools", "warning")


def _circles(subject: Subject, document: int, agents: Mapping[str, Agent]) -> Iterator[Problem]:
    """One problem for each hand-over that leads back to an agent that it may have come from."""
    for name, agent in agents.items():
        for index, handoff in enumerate(agent.handoffs):
            if handoff.to in agents and name in reachable(handoff.to, agents):
                ring = " → ".join(_way(handoff.to, name, agents))
                message = f"The hand-over leads back: {name} → {ring}"
                hint = "work is handed on, never back; let a repeat loop go over it again"
                yield subject.problem(document, "handoff_circle", message, f"{handoff_place(name, index)}/to", hint)


def _way(start: str, end: str, agents: Mapping[str, Agent]) -> list[str]:
    """The shortest way of hand-overs from one agent to another."""
    ways = [[start]]
    while ways[0][-1] != end:
        way = ways.pop(0)
        ways += [[*way, each.to] for each in agents[way[-1]].handoffs if each.to in agents and each.to not in way]
    return ways[0]


def _step(subject: Subject, step: PlannedStep, node: LlmNode) -> Iterator[Problem]:
    agents = subject.plan.scopes[step.scope].agents
    for index, name in enumerate(node.tools):
        if (found := _unknown(subject, name)) is not None:
            yield subject.at(step, found[0], found[1], f"/tools/{index}", found[2])
    if not converses(node, agents):
        yield from _idle(subject, step, node)
        return
    named = [*node.tools]
    for name in reachable(node.agent, agents) if node.agent else ():
        named += agents[name].tools if name in agents else ()
    yield from _policies(subject, step, node, named)
    for index, fallback in enumerate(node.fallback):
        if fallback.tool is not None or fallback.node is not None:
            message = "A step that works with tools falls back on another model or agent, turn by turn"
            hint = "let the failure lead on with on_error: {then: …} instead"
            yield subject.at(step, "bad_fallback", message, f"/fallback/{index}", hint)


def _policies(subject: Subject, step: PlannedStep, node: LlmNode, named: list[str]) -> Iterator[Problem]:
    offers = offered(named, subject.services.tools)
    for pattern in _idle_policies(subject, node.approve, named):
        message = f"The policy for {pattern!r} fits none of the tools of this step"
        yield subject.at(step, "without_effect", message, f"/approve/{escaped(pattern)}", "name one of them", "warning")
    for index, name in enumerate(node.stop_after):
        if name not in offers:
            hint = subject.nearest(name, offers, "its tools are")
            message = f"{name!r} is none of the tools of this step, so its call cannot end it"
            yield subject.at(step, "unknown_tool", message, f"/stop_after/{index}", hint)


def _idle(subject: Subject, step: PlannedStep, node: LlmNode) -> Iterator[Problem]:
    """What counts only where there are tools."""
    for field, default in (("approve", {}), ("stop_after", []), ("budget", Budget())):
        if getattr(node, field) != default:
            message = f"{field}: {step.name!r} has no tools, and its agent has none"
            yield subject.at(
                step, "without_effect", message, f"/{field}", "give it tools:, or take this away", "warning"
            )


def _idle_policies(subject: Subject, policies: Iterable[str], named: Iterable[str]) -> Iterator[str]:
    known = offered(named, subject.services.tools)
    for pattern in policies:
        if not any(fnmatchcase(name, pattern) for name in known):
            yield pattern


def _unknown(subject: Subject, name: str) -> tuple[str, str, str] | None:
    """The code, sentence and hint of what is wrong with a name or pattern in a list of tools; None where it means some."""
    tools = subject.services.tools
    fits = any(True for _ in tools.matching(name)) if is_pattern(name) else tools.find(name) is not None
    if fits:
        return None
    if (why := tools.problem(name)) is not None:
        return "tool_server_unreachable", why, "see that the server runs and that the settings are right: cogwork mcp"
    if is_pattern(name):
        return "unknown_tool", f"No tool fits {name!r}", f"there are {', '.join(list(tools.names())[:12]) or 'none'}"
    return "unknown_tool", f"There is no tool {name!r}", subject.nearest(name, tools.names(), "the settings allow")
