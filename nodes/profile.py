"""What an agent is: a model with instructions, tools and those it may hand over to; and what it may use up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeAlias

from pydantic import Field

from nodes.base import Condition, Part
from state.services import Tool
from state.values import Json, Schema

Approval: TypeAlias = Literal["allow", "ask", "deny"]
"""What becomes of a tool call that a model wants: it is made, a person decides, or it is refused."""


class Budget(Part):
    """What one conversation with tools may use before it must end; the run's own ``limits`` count as well."""

    max_turns: int = Field(12, ge=1, le=1_000, description="How often the model is asked.")
    max_calls: int = Field(100, ge=1, le=100_000, description="How many tool calls it may make.")
    max_tokens: int | None = Field(None, ge=1, description="Tokens read and written by its turns.")
    max_cost_usd: float | None = Field(None, gt=0, description="What its turns may cost, where prices are known.")
    on_exhausted: Literal["fail", "answer"] = Field(
        "fail", description="answer: the model is asked once more, without tools, to answer with what it has."
    )


class Handoff(Part):
    """One agent gives its work to another, and does not get it back."""

    to: str = Field(description="The agent that takes over.")
    when: Condition | None = Field(
        None, description="Evaluated on the agent's final answer, `output`; without it the model decides by a tool."
    )
    with_: dict[str, Json] = Field(
        default_factory=dict,
        alias="with",
        description="What the other agent is told; texts may hold {{ output.field }}.",
    )
    description: str = Field("", description="When to hand over, for the model that decides.")


class Agent(Part):
    """A model with instructions, by name."""

    model: str | None = None
    instructions: str = ""
    description: str = ""
    capabilities: list[str] = Field(default_factory=list)
    tools: list[str] = Field(default_factory=list, description="Tools, by name or pattern such as git.*.")
    approve: dict[str, Approval] = Field(
        default_factory=dict,
        description="By tool or pattern: allow, ask (a person) or deny; the first that fits counts.",
    )
    output: Schema | None = Field(None, description="Schema of its answer, where that is not the step's.")
    handoffs: list[Handoff] = Field(default_factory=list, description="Agents that it may hand its work to.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Who works on a step just now, and how: an agent with what the step says itself, which goes first."""

    name: str
    model: str | None = None
    instructions: str = ""
    tools: tuple[str, ...] = ()
    approve: Mapping[str, Approval] = field(default_factory=dict)
    output: Schema | None = None
    handoffs: tuple[Handoff, ...] = ()


def profile(node: Any, agents: Mapping[str, Agent], name: str) -> Profile:
    """The profile of the agent ``name`` (empty: none) as it works on the llm node ``node``.

    What the step says of model and tools is meant for the agent that it names, its policies for all.
    """
    agent = agents.get(name, Agent())
    first = name == (node.agent or "")
    return Profile(
        name=name,
        model=(node.model if first else None) or agent.model or node.model,
        instructions=agent.instructions,
        tools=tuple(dict.fromkeys([*(node.tools if first else ()), *agent.tools])),
        approve={**node.approve, **{key: each for key, each in agent.approve.items() if key not in node.approve}},
        output=agent.output or node.output or None,
        handoffs=tuple(agent.handoffs) if node.handoffs else (),
    )


def approval(tool: Tool, policies: Mapping[str, Approval]) -> Approval:
    """What becomes of a call of the tool: what the first policy that fits its name says, else a person is asked of writes.

    A tool that needs approval is never called without.
    """
    chosen = next((policy for pattern, policy in policies.items() if fnmatchcase(tool.name, pattern)), None)
    if getattr(tool, "needs_approval", False) and chosen != "deny":
        return "ask"
    return chosen or ("ask" if tool.effect == "write" else "allow")


def converses(node: Any, agents: Mapping[str, Agent]) -> bool:
    """Whether an llm node works in turns: its model, or an agent that may take over, has tools; or it may hand over."""
    agent = agents.get(node.agent or "")
    return bool(node.tools or (agent is not None and (agent.tools or (agent.handoffs and node.handoffs))))
