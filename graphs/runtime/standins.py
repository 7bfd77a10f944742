"""What serves when a node has failed for good: its fallbacks, as nodes with the calls to run them with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nodes.base import CallingNode, Fallback, Node, StepCall
from nodes.execution import PER_FALLBACK
from nodes.llm import LlmNode
from nodes.tool import ToolNode
from state.errors import Fault

Standin = tuple[str, Node | Fault, StepCall]
"""The name that ``steps.n.fallback`` tells, the node (a fault where there is none), and its call."""


def standins(node: CallingNode, call: StepCall) -> Iterator[Standin]:
    """The fallbacks of ``node`` in order; other models, agents and tools keep its retries and timeouts."""
    for number, fallback in enumerate(fallbacks_of(node, call)):
        own = replace(call, base=call.base + PER_FALLBACK * (number + 1), given=None)
        own.begin(1)
        if fallback.node is not None:
            yield f"node:{fallback.node}", *_sibling(fallback.node, call, number)
        elif fallback.tool is not None:
            yield f"tool:{fallback.tool}", *_tool(node, fallback, own, number)
        elif fallback.model is not None:
            yield f"model:{fallback.model}", _asking(node, call, model=fallback.model), own
        else:
            yield f"agent:{fallback.agent}", _asking(node, call, agent=fallback.agent), own


def fallbacks_of(node: CallingNode, call: StepCall) -> list[Fallback]:
    """The fallbacks of a node; for an llm node that names none, and stands in for no other, those of its mode."""
    if node.fallback or call.base or not isinstance(node, LlmNode):
        return node.fallback
    names = call.services.models.fallbacks(node.mode or call.mode)
    return [Fallback(model=name) for name in names if name != node.model]


def _sibling(name: str, call: StepCall, number: int) -> tuple[Node | Fault, StepCall]:
    if number not in call.standins:
        return Fault("internal", f"The step {name!r} was not handed in as a fallback of {call.path}"), call
    node, its_call = call.standins[number]
    return node, replace(its_call, writing=call.writing, resting=call.resting, paid=call.paid)


def _tool(node: CallingNode, fallback: Fallback, call: StepCall, number: int) -> tuple[Node, StepCall]:
    """The tool with the fallback's arguments; without any, a tool node's own."""
    fields = {pointer: compiled for pointer, compiled in call.fields.items() if pointer != "/args"}
    given, args = call.fields.get(f"/fallback/{number}/args"), fallback.args or {}
    if given is None and fallback.args is None and isinstance(node, ToolNode):
        given, args = call.fields.get("/args"), node.args
    if given is not None:
        fields["/args"] = given
    tool = ToolNode(tool=str(fallback.tool), args=args, **_policies(node))
    return tool, replace(call, fields=fields)


def _asking(node: CallingNode, call: StepCall, *, model: str | None = None, agent: str | None = None) -> Node | Fault:
    """The llm node with another model, or with another agent's model and instructions."""
    if not isinstance(node, LlmNode):
        return Fault("invalid_input", "A model or an agent can stand in for an llm node only", stage="schedule")
    if agent is not None and agent not in call.agents:
        return Fault("invalid_input", f"This workflow has no agent {agent!r}", stage="schedule")
    other = {"model": model} if model is not None else {"model": None, "agent": agent}
    return node.model_copy(update={**other, "fallback": []})


def _policies(node: CallingNode) -> dict[str, object]:
    return {"retry": node.retry, "timeout": node.timeout, "total_timeout": node.total_timeout, "cache": node.cache}
