"""The dialect of tool templates: a list of steps, each of which calls one tool with parameters that may hold variables.

A step becomes a tool node of the same name. A variable that no step bears becomes a field of the input: required, or
with the default null where every use brings a default of its own. ``retry_count: n`` and ``max_retries: n`` become
``max_attempts: n + 1``. A bare ``<step>.success`` becomes ``steps.<step>.success``, with a warning, unless the tool is
known to return a field of that name. ``fallback`` may name a step, which then runs in no other case, or a tool;
``on_failure: skip | abort`` becomes ``on_error``; ``compensation`` becomes ``undo``, and a step that it names is nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from graphs.language.dialects.draft import Draft
from graphs.language.dialects.entry import Entry, Picked, Target, head, retry
from graphs.language.dialects.rewriting import Change, Inputs, rewritten_condition, rewritten_value
from nodes.expression import Reference
from state.services import Tools
from state.values import Json

_POLICIES: Final = {
    "skip": "skip",
    "continue": "skip",
    "skip_and_continue": "skip",
    "abort": "fail",
    "fail": "fail",
    "stop": "fail",
}


def translate(draft: Draft, top: Entry, tools: Tools | None = None) -> None:
    """Write the canonical form of a tool template into the draft."""
    target = Target(draft, "", draft.value)
    head(top, target)
    steps = top.entries("steps")
    called = _called(steps)
    inputs = Inputs(frozenset(called))
    nodes = target.below("nodes", f"{top.pointer}/steps")
    for step in steps:
        _step(step, nodes, called, inputs, tools)
    _take_back(nodes.value)
    _stand_in(nodes.value)
    inputs.declare(draft, top.pick("input", "inputs", "variables"))
    target.copy("parallel_groups", top.pick("parallel_groups"))
    target.copy("output", _rewritten(top.pick("output"), _change(top, called, inputs, tools)))
    top.report_rest("cogwork")


def _called(steps: list[Entry]) -> dict[str, str]:
    """The tool of each step by the step's name."""
    called: dict[str, str] = {}
    for step in steps:
        name, tool = step.text("step_id", "id"), step.text("tool_name", "tool")
        if name is None:
            step.refuse("missing_key", "The step lacks `step_id`", step.pointer)
        elif name.value in called:
            step.refuse("duplicate_key", f"Two steps are named {name.value!r}", name.pointer, "Rename one of the two.")
        else:
            called[name.value] = tool.value if tool else ""
    return called


def _step(step: Entry, nodes: Target, called: Mapping[str, str], inputs: Inputs, tools: Tools | None) -> None:
    name = step.text("step_id", "id")
    if name is None:
        return
    node, change = nodes.below(name.value, step.pointer), _change(step, called, inputs, tools)
    node.put("type", "tool", step.pointer)
    node.copy("tool", step.text("tool_name", "tool"))
    node.copy("description", step.pick("description", "name"))
    node.copy("args", _rewritten(step.pick("parameters", "args", "arguments"), change))
    node.copy("depends_on", step.pick("depends_on"))
    if condition := step.pick("condition", "when"):
        node.put("when", rewritten_condition(condition.value, change, condition.pointer), condition.pointer)
    _retries(step, node)
    node.copy("timeout", step.pick("timeout_seconds", "timeout"))
    _failure(step, node, change)
    node.copy("metadata", step.pick("metadata"))
    step.report_rest()


def _retries(step: Entry, node: Target) -> None:
    count, policy = step.pick("retry_count", "max_retries"), step.entry("retry", "retry_config", "retry_policy")
    retry(policy, node)
    if count is None or count.value == 0:
        return
    if policy is not None and policy.pick("max_retries", "max_attempts") is not None:
        step.warn("dialect_ignored", "The retry policy counts already; `retry_count` is left out", count.pointer)
        return
    counted = Entry(step.draft, {"max_retries": count.value}, step.pointer)
    known = dict(node.value.get("retry", {}))
    retry(counted, node)
    node.value["retry"] = {**known, **node.value["retry"]}
    node.draft.origin[f"{node.pointer}/retry/max_attempts"] = count.pointer


def _failure(step: Entry, node: Target, change: Change) -> None:
    policy = step.text("on_failure", "on_error", "error_strategy")
    if policy is not None:
        node.put("on_error", _POLICIES.get(policy.value.lower(), policy.value), policy.pointer)
    if fallback := step.pick("fallback", "fallback_step"):
        listed = fallback.value if isinstance(fallback.value, list) else [fallback.value]
        node.put("fallback", [_fallback(item, change, fallback.pointer) for item in listed], fallback.pointer)
    if undo := step.pick("compensation", "compensate", "undo", "compensating_action"):
        node.put("undo", _fallback(undo.value, _of_itself(change), undo.pointer), undo.pointer)


def _of_itself(change: Change) -> Change:
    """``output`` stays what it is in an undo: the result of the step that is taken back."""
    return lambda reference, text, pointer: None if reference.root == "output" else change(reference, text, pointer)


def _take_back(nodes: dict[str, Json]) -> None:
    """An undo that names a step calls that step's tool, and the step runs in no other case; another name is a tool's."""
    named: set[str] = set()
    for node in nodes.values():
        undo = node.get("undo")
        name = undo.pop("node", None) if isinstance(undo, dict) else None
        if isinstance(name, str):
            named |= {name} & nodes.keys()
            other = nodes.get(name, {"tool": name})
            node["undo"] = {**{key: other[key] for key in ("tool", "args", "retry", "timeout") if key in other}, **undo}
    for name in named:
        del nodes[name]
        _forget(nodes, name)


def _stand_in(nodes: dict[str, Json]) -> None:
    """A step that serves as a fallback waits for no failure and nobody waits for it: it runs inside the step that it serves."""
    for name, node in nodes.items():
        for fallback in node.get("fallback", ()):
            served = fallback.get("node") if isinstance(fallback, dict) else None
            if isinstance(served, str) and served in nodes and served != name:
                _forget(nodes, served)
                _forget({served: nodes[served]}, name)


def _forget(nodes: dict[str, Json], name: str) -> None:
    """Take a name out of what the steps wait for."""
    for node in nodes.values():
        waits = node.get("depends_on")
        if waits == name:
            del node["depends_on"]
        elif isinstance(waits, list) and name in waits:
            node["depends_on"] = [other for other in waits if other != name]


def _fallback(raw: Json, change: Change, pointer: str) -> Json:
    """A fallback or compensation: a step's name, or a tool with its parameters."""
    if isinstance(raw, str):
        return {"node": raw}
    if not isinstance(raw, Mapping):
        return raw
    renamed = {"tool_name": "tool", "parameters": "args", "step_id": "node", "agent_id": "agent"}
    return {renamed.get(key, key): rewritten_value(value, change, pointer) for key, value in raw.items()}


def _rewritten(found: Picked | None, change: Change) -> Picked | None:
    return Picked(rewritten_value(found.value, change, found.pointer), found.pointer) if found else None


def _change(at: Entry, called: Mapping[str, str], inputs: Inputs, tools: Tools | None) -> Change:
    def change(reference: Reference, text: str, pointer: str) -> str | None:
        if reference.root in called and reference.path == ("success",):
            if not _returns_success(called[reference.root], tools):
                message = f"`{text}` is read as the step's own success, `steps.{text}`"
                at.warn("dialect_success", message, pointer, "Write `steps.` before it to say so.")
                return f"steps.{text}"
        return inputs.note(reference, text, pointer)

    return change


def _returns_success(tool: str, tools: Tools | None) -> bool:
    found = tools.find(tool) if tools else None
    return found is not None and "success" in found.output_schema.get("properties", {})
