"""Agents that a workflow names and does not declare: found elsewhere, and written into its spec, so that a run keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from graphs.language.dialects.rewriting import rewritten_condition
from graphs.language.load import Workflow
from graphs.language.spec import Agent, ForEach, LlmNode, Repeat, Steps, WorkflowSpec
from nodes.expression import Reference

Find = Callable[[str], Agent | None]
"""Finds an agent that is declared outside of workflows; None where there is none of that name."""
COMPLETION: Final = "completion"
"""The trigger of a hand-over that is met by any answer."""


def with_agents(workflow: Workflow, find: Find) -> Workflow:
    """The workflow with all agents that it names and that ``find`` knows, those that they hand over to among them.

    What the workflow declares itself goes first. A run keeps its spec, so later changes of an agent do not reach it.
    """
    spec = workflow.spec
    found = dict(spec.agents)
    waiting = [name for name in dict.fromkeys(named(spec)) if name not in found]
    while waiting:
        name = waiting.pop(0)
        agent = find(name)
        if agent is None or name in found:
            continue
        found[name] = agent
        waiting += [handoff.to for handoff in agent.handoffs if handoff.to not in found]
    if len(found) == len(spec.agents):
        return workflow
    return replace(workflow, spec=spec.model_copy(update={"agents": found}))


def named(spec: WorkflowSpec) -> Iterator[str]:
    """The agents that a workflow's steps, their fallbacks and its agents' hand-overs name."""
    blocks = [block.nodes for block in (spec.on_failure, spec.finally_) if block is not None]
    for nodes in (spec.nodes, *blocks):
        yield from _in_steps(nodes)
    for agent in spec.agents.values():
        yield from (handoff.to for handoff in agent.handoffs)


def _in_steps(nodes: Steps) -> Iterator[str]:
    for step in nodes.values():
        if isinstance(step, ForEach | Repeat):
            yield from _in_steps(step.nodes)
        elif isinstance(step, LlmNode):
            yield from [step.agent] if step.agent else []
            yield from (fallback.agent for fallback in step.fallback if fallback.agent is not None)


def trigger(conditions: list[str]) -> bool | str:
    """The conditions of a hand-over as one expression on the answer, all of which must hold.

    ``completion`` holds for any answer; ``source_output.ready = true`` is the documents' form of ``output.ready == true``.
    """
    parts = [str(rewritten_condition(each, _on_output, "")) for each in conditions if each.strip() != COMPLETION]
    return " and ".join(f"({part})" for part in parts) if len(parts) > 1 else parts[0] if parts else True


def _on_output(reference: Reference, text: str, pointer: str) -> str | None:
    return "output" + text[len("source_output") :] if reference.root == "source_output" else None
