"""From a checked plan to a compiled LangGraph graph."""

from __future__ import annotations

from typing import Any

from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from graphs.analysis.check import analyse
from graphs.analysis.draw import about
from graphs.analysis.expand import Resolve
from graphs.analysis.plan import Plan, PlannedStep
from graphs.graph import WorkflowGraph
from graphs.keeping import kept_by
from graphs.language.load import Workflow
from graphs.runtime.steps import langgraph_node
from state.errors import SpecError
from state.graph import GraphState, History, Trigger
from state.services import Services


def build(
    workflow: Workflow,
    services: Services,
    resolve: Resolve,
    *,
    checkpointer: Any = None,
    store: Any = None,
    cache: Any = None,
) -> WorkflowGraph:
    """The compiled graph of a workflow; each step of the spec is a node of its ``StateGraph``.

    ``cache`` is LangGraph's ``BaseCache`` for the results of steps that say ``cache:``, or opens it where there are any.

    Raises:
        SpecError: every problem that ``check`` reports as an error.
    """
    analysis = analyse(workflow, services, resolve)
    if analysis.errors:
        raise SpecError(tuple(analysis.errors))
    return compiled(analysis.plan, services, checkpointer=checkpointer, store=store, cache=cache)


def state_graph(plan: Plan) -> StateGraph[Any, Any, Any, Any]:
    """The ``StateGraph`` of a plan; successors are chosen by each node's ``Command``, ``destinations`` name them."""
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(GraphState)
    for step in plan.steps.values():
        graph.add_node(
            step.id,
            langgraph_node(step),
            input_schema=History if step.kind == "undo" else Trigger,
            metadata=about(step),
            destinations=_destinations(plan, step),
        )
    for entry in plan.scopes[""].entries:
        graph.add_edge(START, entry)
    return graph


def _destinations(plan: Plan, step: PlannedStep) -> tuple[str, ...]:
    """The nodes that a step's ``Command`` may lead to, beside itself: its successors, and what it holds."""
    body = plan.scopes.get(step.id)
    return (*step.successors, *(body.entries if body is not None else ()))


def compiled(
    plan: Plan, services: Services, *, checkpointer: Any = None, store: Any = None, cache: Any = None
) -> WorkflowGraph:
    """The compiled graph of a sound plan."""
    if checkpointer:
        kept_by(checkpointer)  # noted on the saver before LangGraph copies it, so that all graphs on it share it
    if callable(cache):
        cache = cache() if any(getattr(step.step, "cache", None) for step in plan.steps.values()) else None
    made = state_graph(plan).compile(checkpointer=checkpointer, store=store, cache=cache, name=plan.spec.name)
    return _as_workflow_graph(made, plan, services)


def _as_workflow_graph(made: CompiledStateGraph[Any, Any, Any, Any], plan: Plan, services: Services) -> WorkflowGraph:
    attributes = {key: value for key, value in made.__dict__.items() if key != "__orig_class__"}
    return WorkflowGraph(**attributes, plan=plan, services=services)
