"""The dialect of agent files: agents with models and instructions, and workflows that are lists of agents.

One file may hold several workflows; each is loaded by itself, with the agents that its steps name. A step becomes an llm
node named like its agent (or its own ``id``), numbered from the second on. Steps run one after the other: each depends
on the one before. ``${user_input}`` is ``input.user_input``, ``${x.output}`` the value of the step ``x``. Without
``input``, the first step is given the user's input and every other one what the step before gave. ``output: {to: user}``
makes a step's value the workflow's output.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from graphs.language.dialects.draft import Draft, under
from graphs.language.dialects.entry import Entry, Picked, Target, as_entry, head, retry
from graphs.language.dialects.rewriting import Change, Inputs, rewritten_condition, rewritten_value, value_of
from nodes.expression import Reference
from state.values import Json

_OUTPUT_LINK: Final = re.compile(r"\s*(\??)\.\s*output\b|\s*\[\s*(['\"])output\2\s*\]")
_MODEL_AGNOSTIC: Final = frozenset({"", "generic", "custom", "agent"})


def workflows(top: Entry) -> dict[str, Picked]:
    """The workflows of a file by name; a file that is one workflow itself is the only one."""
    found = top.pick("workflows")
    if found is None:
        name = top.text("name", "id")
        return {name.value if name else "workflow": Picked(top.value, top.pointer)}
    if isinstance(found.value, Mapping):
        return {name: Picked(raw, under(found.pointer, name)) for name, raw in found.value.items()}
    named: dict[str, Picked] = {}
    for entry in top.entries("workflows"):
        if name := entry.text("id", "name"):
            named[name.value] = Picked(entry.value, entry.pointer)
        else:
            entry.refuse("missing_key", "The workflow lacks `id`", entry.pointer)
    return named


def translate(draft: Draft, top: Entry, name: str, found: Picked) -> None:
    """Write the canonical form of one workflow of an agent file into the draft."""
    raw = {"steps": found.value} if isinstance(found.value, list) else found.value
    flow = as_entry(draft, Picked(raw, found.pointer))
    if flow is None:
        return
    whole = found.value is top.value
    target = Target(draft, "", draft.value)
    draft.origin[""] = found.pointer
    head(flow, target, fallback_name=name)
    steps = flow.entries("steps")
    used = {agent.value for step in steps if (agent := step.text("agent", "agent_id"))}
    _agents(flow if whole else top, target, used)
    inputs = Inputs(frozenset())
    nodes = target.below("nodes", found.pointer if isinstance(found.value, list) else under(found.pointer, "steps"))
    shown = _steps(steps, nodes, inputs)
    inputs.declare(draft, flow.pick("input", "inputs"))
    if shown:
        value: Json = f"{{{{ {value_of(shown[0])} }}}}"
        several = {one: f"{{{{ {value_of(one)} }}}}" for one in shown}
        target.put("output", value if len(shown) == 1 else several, nodes.pointer)
        draft.origin["/output"] = found.pointer
    flow.report_rest("cogwork")
    if not whole:
        top.report_rest("version", "name")


def _agents(top: Entry, target: Target, used: set[str]) -> None:
    found = top.pick("agents")
    if found is None:
        return
    agents = target.below("agents", found.pointer)
    for name, entry in _named_agents(top, found):
        if name not in used:
            continue
        agent = agents.below(name, entry.pointer)
        model, kind = entry.text("model"), entry.text("agent_type", "type")
        if model is not None:
            agent.put("model", _model(model.value, kind.value if kind else ""), model.pointer)
        agent.copy("instructions", entry.text("system_prompt", "instructions", "prompt"))
        agent.copy("description", entry.text("description"))
        agent.copy("tools", entry.pick("tools"))
        agent.copy("capabilities", entry.pick("capabilities"))
        entry.report_rest("id", "name")


def _named_agents(top: Entry, found: Picked) -> list[tuple[str, Entry]]:
    """The agents of a list of ``{id: …}`` or ``{name: description}``, or of a mapping by name."""
    raw = found.value
    listed: list[tuple[str | None, Json, str]] = []
    if isinstance(raw, Mapping):
        listed = [(name, inner, under(found.pointer, name)) for name, inner in raw.items()]
    elif isinstance(raw, list):
        for index, inner in enumerate(raw):
            at = under(found.pointer, index)
            if isinstance(inner, Mapping) and len(inner) == 1 and "id" not in inner:
                name, value = next(iter(inner.items()))
                listed.append((name, value, under(at, name)))
            else:
                listed.append((None, inner, at))
    agents: list[tuple[str, Entry]] = []
    for given, value, at in listed:
        entry = as_entry(top.draft, Picked({"description": value} if isinstance(value, str) else value, at))
        known = given or (entry.text("id", "name") if entry else None)
        if entry is not None and known:
            agents.append((known if isinstance(known, str) else str(known.value), entry))
    return agents


def _model(model: str, kind: str) -> str:
    """``provider:model``; the type of an agent names its provider."""
    return model if ":" in model or kind.lower() in _MODEL_AGNOSTIC else f"{kind.lower()}:{model}"


def _steps(steps: list[Entry], nodes: Target, inputs: Inputs) -> list[str]:
    """Write the steps as nodes; the names of those that answer the user."""
    latest: dict[str, str] = {}
    shown: list[str] = []
    before: str | None = None
    for step in steps:
        agent, own = step.text("agent", "agent_id"), step.text("id")
        if agent is None:
            step.refuse("missing_key", "The step lacks `agent`", step.pointer)
            continue
        name = _numbered(own.value if own else agent.value, nodes.value)
        node = nodes.below(name, step.pointer)
        node.put("type", "llm", step.pointer)
        node.put("agent", agent.value, agent.pointer)
        change = _change(latest, inputs)
        _ask(step, node, before, change, inputs)
        _policies(step, node, before, change)
        if _answers_user(step):
            shown.append(name)
        step.report_rest()
        latest[agent.value] = latest[name] = before = name
    return shown


def _ask(step: Entry, node: Target, before: str | None, change: Change, inputs: Inputs) -> None:
    """What the agent is asked, as inline text: the step's input, or the user's, or what the step before gave."""
    found = step.pick("input")
    if found is None and before is None:
        inputs.read("user_input", guarded=False, pointer=step.pointer)
        node.put("prompt", "{{ input.user_input }}", step.pointer)
    elif found is None and before is not None:
        node.put("prompt", f"{{{{ {value_of(before)} }}}}", step.pointer)
    elif found is not None and isinstance(found.value, str) and not re.fullmatch(r"[\w./-]*", found.value):
        node.put("prompt", rewritten_value(found.value, change, found.pointer), found.pointer)
    elif found is not None:
        node.put("with", {"request": rewritten_value(found.value, change, found.pointer)}, found.pointer)
        node.put("prompt", "{{ request }}", found.pointer)


def _policies(step: Entry, node: Target, before: str | None, change: Change) -> None:
    node.copy("tools", step.pick("tools"))
    node.copy("description", step.pick("description", "name"))
    if condition := step.pick("condition", "when"):
        node.put("when", rewritten_condition(condition.value, change, condition.pointer), condition.pointer)
    depends = step.pick("depends_on")
    if depends is not None:
        node.copy("depends_on", depends)
    elif before is not None:
        node.put("depends_on", [before], step.pointer)
    retry(step.entry("retry", "retry_policy"), node)
    node.copy("timeout", step.pick("timeout", "timeout_seconds"))


def _answers_user(step: Entry) -> bool:
    output = step.pick("output")
    if output is None:
        return False
    to = output.value.get("to") if isinstance(output.value, Mapping) else output.value
    if to == "user":
        return True
    message = "Only `output: {to: user}` has a meaning here; the steps after this one see its value anyway"
    step.warn("dialect_ignored", message, output.pointer)
    return False


def _change(latest: Mapping[str, str], inputs: Inputs) -> Change:
    known = dict(latest)

    def change(reference: Reference, text: str, pointer: str) -> str | None:
        root = reference.root
        if root in known:
            rest = text[len(root) :]
            if found := _OUTPUT_LINK.match(rest):
                rest = (found[1] or "") + rest[found.end() :]
            return value_of(known[root]) + ("" if rest == "?" else rest)
        return inputs.note(reference, text, pointer)

    return change


def _numbered(name: str, taken: Mapping[str, Json]) -> str:
    number, chosen = 1, name
    while chosen in taken:
        number += 1
        chosen = f"{name}_{number}"
    return chosen
