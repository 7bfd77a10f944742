"""What an execution's options say of all steps of a workflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from graphs.language.load import Workflow
from graphs.language.overrides import overridden
from nodes.base import CallingNode, Retry
from state.values import Json


def with_retry(workflow: Workflow, retry: Retry | None) -> Workflow:
    """The workflow with that policy for its steps that call a tool or model and have none of their own."""
    if retry is None:
        return workflow
    policy = retry.model_dump(mode="json")
    nodes: dict[str, Json] = {path: {"retry": policy} for path in _without(workflow.spec.nodes, "")}
    return overridden(workflow, {"nodes": nodes} if nodes else None)


def _without(nodes: Mapping[str, Any], before: str) -> Iterator[str]:
    for name, node in nodes.items():
        if isinstance(node, CallingNode) and node.retry is None:
            yield f"{before}{name}"
        held = getattr(node, "nodes", None)
        if isinstance(held, Mapping):
            yield from _without(held, f"{before}{name}.")
