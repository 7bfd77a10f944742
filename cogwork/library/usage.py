"""What a workflow uses, by itself or through the workflows that it uses; read from its plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from cogwork.library.entries import Used
from cogwork.tools.workflows import PREFIX
from graphs.analysis.plan import Plan, PlannedStep
from graphs.language.spec import LlmNode, ToolNode
from nodes.base import CallingNode
from nodes.conversation import offered
from state.services import Tools

MAX_NAME: Final = 255
_Named = tuple[str, str]


def used_by(plan: Plan, tools: Tools, beyond: int = 0) -> dict[_Named, int]:
    """Kind and name of all that the plan uses, with the depth at which it does first; ``beyond`` is added to each."""
    depths, found = _depths(plan), dict[_Named, int]()
    for index, document in enumerate(plan.documents):
        spec, depth = document.spec, depths.get(index, 0) + beyond
        if index:
            _note(found, "workflow", spec.name, depth)
        if spec.mode is not None:
            _note(found, "mode", spec.mode, depth + 1)
        for name, agent in spec.agents.items():
            _note(found, "agent", name, depth + 1)
            if agent.model is not None:
                _note(found, "model", agent.model, depth + 1)
            for tool in offered(agent.tools, tools):
                _note(found, "tool", tool, depth + 1)
    for step in plan.steps.values():
        depth = depths.get(step.document, 0) + beyond + 1
        for kind, name in _of_step(step, tools):
            _note(found, kind, name, depth)
    return found


def _depths(plan: Plan) -> dict[int, int]:
    """How many workflows are around each document of the plan."""
    found = {0: 0}
    for scope in plan.scopes.values():
        if scope.kind == "use" and scope.parent is not None:
            found[scope.document] = found[plan.scopes[scope.parent].document] + 1
    return found


def _of_step(planned: PlannedStep, tools: Tools) -> Iterator[_Named]:
    node = planned.step
    if isinstance(node, ToolNode):
        yield "tool", node.tool
    if isinstance(node, LlmNode):
        yield from (("tool", name) for name in offered(node.tools, tools))
        named = {"model": node.model, "agent": node.agent, "prompt": node.prompt_file, "mode": node.mode}
        yield from ((kind, name) for kind, name in named.items() if name)
    if isinstance(node, CallingNode):
        for fallback in node.fallback:
            named = {"tool": fallback.tool, "model": fallback.model, "agent": fallback.agent}
            yield from ((kind, name) for kind, name in named.items() if name)
        if node.undo is not None:
            yield "tool", node.undo.tool


def _note(found: dict[_Named, int], kind: str, name: str, depth: int) -> None:
    key = (kind, name[:MAX_NAME])
    found[key] = min(found.get(key, depth), depth)


def workflow_tools(found: Mapping[_Named, int]) -> dict[str, int]:
    """The workflows among the tools, by the tools' names."""
    return {name: depth for (kind, name), depth in found.items() if kind == "tool" and name.startswith(PREFIX)}


def merged(found: Mapping[_Named, int], ids: Mapping[str, str]) -> tuple[Used, ...]:
    """The uses, a workflow that is called as a tool among the workflows; ``ids`` are those of workflows of the library."""
    whole = dict(found)
    for name, depth in workflow_tools(found).items():
        _note(whole, "workflow", name.removeprefix(PREFIX), depth)
    for name, id in ids.items():
        if (depth_of := whole.get(("workflow", name))) is not None:
            _note(whole, "workflow_id", id, depth_of)
    return tuple(sorted(Used(depth=depth, kind=kind, name=name) for (kind, name), depth in whole.items()))
