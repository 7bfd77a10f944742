"""The picture of a plan as a LangChain graph: its steps and edges, at any size."""

from __future__ import annotations

from langchain_core.runnables.graph import Edge, Graph, Node

from graphs.analysis.plan import FINALLY, ON_FAILURE, Plan, PlannedStep, Scope
from nodes.base import Then
from nodes.condition import ConditionNode

START, END = "__start__", "__end__"
FALLBACK = "fallback"
"""What stands on the edge from a step to one that serves in its place."""


def drawable(plan: Plan) -> Graph:
    """Steps as nodes (loop bodies and used workflows as ``loop.step``), data and order as edges, choices dotted; so are the
    ways to what stands in for a step, and to the blocks that run at a workflow's end."""
    nodes = {START: Node(id=START, name=START, data=None, metadata=None)}
    for step in plan.steps.values():
        nodes[step.id] = Node(id=step.id, name=step.id, data=None, metadata=about(step))
    nodes[END] = Node(id=END, name=END, data=None, metadata=None)
    edges = [edge for scope_id in plan.scopes for edge in _scope_edges(plan, scope_id)]
    return Graph(nodes=nodes, edges=edges)


def about(step: PlannedStep) -> dict[str, object]:
    """What pictures and clients are told of a step besides its name."""
    described = {"description": step.step.description} if step.step.description else {}
    return {"kind": step.kind, **described, **step.step.metadata}


def _scope_edges(plan: Plan, scope_id: str) -> list[Edge]:
    scope = plan.scopes[scope_id]
    source = scope.header or START
    edges = [Edge(source=source, target=entry) for entry in scope.entries]
    for step_id in scope.names.values():
        step = plan.steps[step_id]
        chosen = labels(plan, step)
        for successor in step.successors:
            label = chosen.get(plan.steps[successor].name)
            edges.append(Edge(source=step_id, target=successor, data=label, conditional=label is not None))
    back = scope.header or END
    edges += [Edge(source=leaf, target=back, conditional=scope.header is not None) for leaf in scope.leaves]
    before: tuple[str, ...] = scope.leaves
    for label, step_id in afterwards(plan, scope):
        edges += [Edge(source=one, target=step_id, data=label, conditional=True) for one in before]
        before = (step_id,)
    if before != scope.leaves:
        edges.append(Edge(source=before[0], target=back, conditional=True))
    return edges


def afterwards(plan: Plan, scope: Scope) -> list[tuple[str, str]]:
    """What runs when the steps of a scope have come to their end, in order: (when, id)."""
    found = []
    if ON_FAILURE in scope.stages:
        found.append(("on failure", scope.stages[ON_FAILURE]))
    if scope.kind == "workflow" and plan.undo is not None:
        found.append(("undo", plan.undo.id))
    if FINALLY in scope.stages:
        found.append(("at the end", scope.stages[FINALLY]))
    return found


def labels(plan: Plan, step: PlannedStep) -> dict[str, str]:
    """What stands on the dotted edges of a step, by the local name of the target."""
    served = {plan.steps[other].name: FALLBACK for other in step.standins if other}
    return {name: label for label, name in choices(step)} | served


def choices(step: PlannedStep) -> list[tuple[str, str]]:
    """The labelled targets of a step: (label, local name)."""
    node, labelled = step.step, []
    if isinstance(node, ConditionNode):
        for case in node.cases:
            targets = [case.then] if isinstance(case.then, str) else case.then
            labelled += [(str(case.if_), name) for name in targets]
        otherwise = node.else_ or []
        labelled += [("else", name) for name in ([otherwise] if isinstance(otherwise, str) else otherwise)]
    if isinstance(node.on_error, Then):
        labelled.append(("on error", node.on_error.then))
    return labelled
