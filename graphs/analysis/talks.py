"""Llm nodes that work with tools: the steps that they hold, and the hand-overs of their agents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from graphs.analysis.names import Names
from graphs.analysis.plan import PlannedStep, Scope
from graphs.language.source import escaped
from graphs.language.spec import Agent, ForEach, Step
from nodes.agent import AgentCall, AgentTurn
from nodes.approving import ApproveCall, decision_form
from nodes.base import Slot
from nodes.llm import LlmNode
from nodes.profile import converses

TURN, CALLS, APPROVE, CALL = "turn", "calls", "approve", "call"
"""The names of the steps that the plan makes: ``x[0].turn``, ``x[0].calls[1].approve``, ``x[0].calls[1].call``."""


def talks(step: Step, agents: Mapping[str, Agent]) -> bool:
    """Whether a step of the spec is an llm node that works with tools."""
    return isinstance(step, LlmNode) and not isinstance(step, AgentTurn) and converses(step, agents)


def as_asked(step: Step, agents: Mapping[str, Agent]) -> Step:
    """The step with what its agent says of its answer, where it says nothing itself."""
    agent = agents.get(step.agent or "") if isinstance(step, LlmNode) and not isinstance(step, AgentTurn) else None
    if agent is None or agent.output is None or step.output is not None:  # type: ignore[attr-defined]
        return step
    several = agent.handoffs and step.handoffs  # type: ignore[attr-defined]
    return step.model_copy(update={"output": {} if several else agent.output})


def steps_of(node: LlmNode) -> dict[str, Step]:
    """The steps that one round of the conversation consists of."""
    kept = {name: getattr(node, name) for name in type(node).model_fields}
    away: dict[str, object] = {
        "prompt": "",
        "system": None,
        "with_": {},
        "model": None,
        "undo": None,
        "when": None,
        "on_error": "fail",
    }
    edges = {"depends_on": [], "join": "default", "cancel_rest": False, "metadata": {}}
    fallback = [each for each in node.fallback if each.model is not None or each.agent is not None]
    turn = AgentTurn.model_construct(**{**kept, **away, **edges, "first_model": node.model, "fallback": fallback})
    approve = ApproveCall.model_construct(form=decision_form(), when="item.approval == 'ask'")
    call = AgentCall.model_construct(
        turn=turn, join="always", retry=node.retry, timeout=node.timeout, total_timeout=node.total_timeout
    )
    held: Any = {APPROVE: approve, CALL: call}  # of classes that no spec can name
    calls = ForEach.model_construct(for_each=f"{TURN}.calls", on_item_error="collect", max_parallel=8, nodes=held)
    return {TURN: turn, CALLS: calls}


def reachable(start: str, agents: Mapping[str, Agent]) -> list[str]:
    """The agent and all that may take over from it, directly or not."""
    found, waiting = dict.fromkeys([start]), [start]
    while waiting:
        agent = agents.get(waiting.pop())
        fresh = [each.to for each in agent.handoffs if each.to not in found] if agent is not None else []
        found.update(dict.fromkeys(fresh))
        waiting += fresh
    return list(found)


def handoff_place(agent: str, index: int) -> str:
    """The pointer of an agent's hand-over in its document, which is also the key of its compiled fields."""
    return f"/agents/{escaped(agent)}/handoffs/{index}"


def read_handoffs(names: Names, member: PlannedStep, scope: Scope) -> None:
    """Compile the hand-overs that may happen in a step; ``output`` is the answer of the agent that hands over."""
    node = member.step
    assert isinstance(node, LlmNode)
    if not node.agent or not node.handoffs:
        return
    slots = list(_slots(node.agent, scope.agents))
    found = list(names.compiled(member.document, slots, ""))
    member.fields.update((pointer, compiled) for pointer, (compiled, _) in found)
    items = [(pointer, compiled, slot) for pointer, (compiled, slot) in found]
    lookups, uses = names.resolved(scope, items)
    member.lookups = tuple(dict.fromkeys((*member.lookups, *lookups)))
    member.uses = (*member.uses, *uses)


def _slots(agent: str, agents: Mapping[str, Agent]) -> Iterator[Slot]:
    known = frozenset({"output"})
    for name in reachable(agent, agents):
        for index, handoff in enumerate(agents[name].handoffs if name in agents else ()):
            place = handoff_place(name, index)
            if handoff.when is not None:
                yield Slot(pointer=f"{place}/when", source=handoff.when, form="condition", local=known)
            yield Slot(pointer=f"{place}/with", source=handoff.with_, local=known)
