"""Tools, models, prompts and agents that a workflow names and nobody offers."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.analysis.plan import PlannedStep
from graphs.analysis.rules.subject import Subject
from graphs.language.source import escaped
from graphs.language.spec import LlmNode, ToolNode
from nodes.base import CallingNode
from state.problems import Problem


def bindings(subject: Subject) -> Iterator[Problem]:
    """``unknown_tool``, ``tool_server_unreachable``, ``unknown_model``, ``unknown_prompt``, ``unknown_agent``."""
    for step in subject.plan.steps.values():
        if isinstance(step.step, CallingNode):
            yield from _beside(subject, step, step.step)
        if isinstance(step.step, ToolNode):
            yield from _tool(subject, step, step.step.tool)
        elif isinstance(step.step, LlmNode):
            yield from _llm(subject, step, step.step)
    for scope, workflow in subject.roots():
        for name, agent in workflow.spec.agents.items():
            refusal = subject.services.models.problem(agent.model) if agent.model else None
            if refusal:
                yield subject.problem(scope.document, "unknown_model", refusal, f"/agents/{escaped(name)}/model")


def _beside(subject: Subject, step: PlannedStep, node: CallingNode) -> Iterator[Problem]:
    """What the step's undo and its fallbacks name."""
    if node.undo is not None:
        yield from _tool(subject, step, node.undo.tool, "/undo/tool")
    for index, fallback in enumerate(node.fallback):
        place = f"/fallback/{index}"
        if fallback.tool is not None:
            yield from _tool(subject, step, fallback.tool, f"{place}/tool")
        if fallback.model is not None and (refusal := subject.services.models.problem(fallback.model)):
            yield subject.at(step, "unknown_model", refusal, f"{place}/model")
        if fallback.agent is not None:
            yield from _agent(subject, step, fallback.agent, f"{place}/agent")


def _tool(subject: Subject, step: PlannedStep, name: str, place: str = "/tool") -> Iterator[Problem]:
    tools = subject.services.tools
    if tools.find(name) is None:
        if (why := tools.problem(name)) is not None:
            hint = "see that the server runs and that the settings are right: cogwork mcp"
            yield subject.at(step, "tool_server_unreachable", why, place, hint)
            return
        hint = subject.nearest(name, tools.names(), "the settings allow")
        yield subject.at(step, "unknown_tool", f"There is no tool {name!r}", place, hint)


def _agent(subject: Subject, step: PlannedStep, name: str, place: str) -> Iterator[Problem]:
    agents = subject.plan.scopes[step.scope].agents
    if name not in agents:
        hint = subject.nearest(name, agents, "agents: has")
        yield subject.at(step, "unknown_agent", f"There is no agent {name!r}", place, hint)


def _llm(subject: Subject, step: PlannedStep, node: LlmNode) -> Iterator[Problem]:
    services, scope = subject.services, subject.plan.scopes[step.scope]
    if node.model is not None and (refusal := services.models.problem(node.model)):
        yield subject.at(step, "unknown_model", refusal, "/model")
    if node.agent is not None:
        yield from _agent(subject, step, node.agent, "/agent")
    mode = node.mode or scope.mode
    if node.prompt_file is not None and services.prompts.find(node.prompt_file, mode=mode) is None:
        name, _, version = node.prompt_file.partition("@")
        latest = services.prompts.find(name, mode=mode) if version else None
        hint = (
            f"its version is {latest.version}"
            if latest
            else subject.nearest(name, services.prompts.names(), "there are")
        )
        message = f"There is no prompt file {node.prompt_file!r}"
        yield subject.at(
            step, "unknown_prompt", message, "/prompt", f"{hint}; a prompt of several words is taken as it is"
        )
