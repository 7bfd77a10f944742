"""The picture of a plan as a LangChain graph: its steps and edges, at any size."""

from __future__ import annotations

from langchain_core.runnables.graph import Edge, Graph, Node

from graphs.analysis.plan import Plan, PlannedStep
from nodes.base import Then
from nodes.condition import ConditionNode

START, END = "__start__", "__end__"


def drawable(plan: Plan) -> Graph:
    """Steps as nodes (loop bodies and used workflows as ``loop.step``), data and order as edges, choices dotted."""
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
        chosen = {name: label for label, name in choices(step)}
        for successor in step.successors:
            label = chosen.get(plan.steps[successor].name)
            edges.append(Edge(source=step_id, target=successor, data=label, conditional=label is not None))
    back = scope.header or END
    edges += [Edge(source=leaf, target=back, conditional=scope.header is not None) for leaf in scope.leaves]
    return edges


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
