"""The dialect of agent steps: each step asks an agent, with mappings for what goes in and what comes out.

A step becomes an llm node with ``agent:``; its input mapping is ``with``, and an inline prompt presents it. Where an
output mapping renames anything, the step becomes two nodes: the llm node ``<id>_agent``, whose structured output has
the fields that the mapping reads, and the transform ``<id>``, which holds the mapped output. So the step's name means
the mapped output everywhere, and no reference downstream needs to change. A mapping that keeps every name needs no
second node. ``${output.x}`` is the agent's own result in an output mapping; elsewhere it is the output of the single
step that this one depends on. The input is what the ``${input.x}`` of all steps read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from graphs.language.dialects.draft import Draft, under
from graphs.language.dialects.entry import Entry, Picked, Target, head, names_of, retry
from graphs.language.dialects.rewriting import Change, Inputs, rewritten_condition, rewritten_value, value_of
from nodes.expression import Reference
from state.values import Json


def translate(draft: Draft, top: Entry) -> None:
    """Write the canonical form of agent steps into the draft."""
    target = Target(draft, "", draft.value)
    head(top, target)
    target.copy("agents", top.pick("agents"))
    steps = top.entries("steps")
    names = [name.value for step in steps if (name := step.text("id", "step_id")) is not None]
    inputs = Inputs(frozenset(names))
    nodes = target.below("nodes", f"{top.pointer}/steps")
    for step in steps:
        _step(step, nodes, inputs)
    inputs.declare(draft, top.pick("input", "inputs"))
    target.copy("output", top.pick("output"))
    top.report_rest("cogwork")


def _step(step: Entry, nodes: Target, inputs: Inputs) -> None:
    name = step.text("id", "step_id")
    if name is None:
        step.refuse("missing_key", "The step lacks `id`", step.pointer)
        return
    if name.value in nodes.value:
        step.refuse("duplicate_key", f"Two steps are named {name.value!r}", name.pointer, "Rename one of the two.")
        return
    mapping = step.pick("output_mapping")
    asked = f"{name.value}_agent" if mapping and _renames(mapping.value) else name.value
    while asked != name.value and asked in inputs.steps:
        asked += "_"
    node = nodes.below(asked, step.pointer)
    _agent(step, node, inputs)
    if mapping is not None and isinstance(mapping.value, Mapping):
        if fields := _fields(mapping.value):
            node.put("output", fields, mapping.pointer)
        if asked != name.value:
            view = nodes.below(name.value, step.pointer)
            view.put("type", "transform", step.pointer)
            view.put("set", rewritten_value(mapping.value, _result_of(asked, inputs), mapping.pointer), mapping.pointer)
    elif mapping is not None:
        step.refuse("wrong_type", "`output_mapping` must be a mapping", mapping.pointer)
    step.report_rest()


def _agent(step: Entry, node: Target, inputs: Inputs) -> None:
    depends = step.pick("depends_on")
    change = _in_step(step, names_of(depends), inputs)
    node.put("type", "llm", step.pointer)
    node.copy("agent", step.text("agent_id", "agent"))
    title = step.text("name", "title")
    node.copy("description", step.pick("description") or title)
    given = _given(step, names_of(depends), inputs)
    values = {
        _variable(key): rewritten_value(value, change, under(given.pointer, key)) for key, value in given.value.items()
    }
    node.put("with", values, given.pointer)
    node.put("prompt", _prompt(title.value if title else "", list(values)), given.pointer)
    node.copy("depends_on", depends)
    if condition := step.pick("condition", "when"):
        node.put("when", rewritten_condition(condition.value, change, condition.pointer), condition.pointer)
    retry(step.entry("retry_policy", "retry"), node)
    node.copy("timeout", step.pick("timeout", "timeout_seconds"))
    if fallback := step.entry("fallback"):
        agent = fallback.text("agent_id", "agent")
        node.put("fallback", [{"agent": agent.value}] if agent else [], fallback.pointer)
        fallback.report_rest()
    node.copy("metadata", step.pick("metadata"))


def _given(step: Entry, parents: list[str], inputs: Inputs) -> Picked:
    """The input mapping; without one, what the steps before gave, and without any, the whole input."""
    found = step.pick("input_mapping")
    if found is None:
        values = {name: f"{{{{ {value_of(name)} }}}}" for name in parents}
        return Picked(values or {"request": "{{ input }}"}, step.pointer)
    if isinstance(found.value, Mapping):
        return found
    step.refuse("wrong_type", "`input_mapping` must be a mapping", found.pointer)
    return Picked({}, found.pointer)


def _prompt(title: str, names: list[str]) -> str:
    """A prompt that presents the variables; never a single word, which would name a file."""
    parts = [f"# {name}\n{{{{ {name} }}}}\n" for name in names]
    return "\n".join([f"Your part: {title or 'answer with what is asked of you'}.\n", *parts])


def _variable(key: str) -> str:
    name = re.sub(r"\W", "_", key)
    return f"_{name}" if name[:1].isdigit() else name


def _in_step(step: Entry, parents: list[str], inputs: Inputs) -> Change:
    def change(reference: Reference, text: str, pointer: str) -> str | None:
        if reference.root != "output":
            _note_input(reference, inputs, pointer)
            return None
        if len(parents) == 1:
            return value_of(parents[0]) + text[len("output") :]
        hint = "Write `${steps.<step>.output.<field>}`."
        message = f"`{text}` is the output of the step before, and there is not exactly one"
        step.refuse("dialect_output", message, pointer, hint)
        return None

    return change


def _result_of(asked: str, inputs: Inputs) -> Change:
    def change(reference: Reference, text: str, pointer: str) -> str | None:
        if reference.root == "output":
            return value_of(asked) + text[len("output") :]
        _note_input(reference, inputs, pointer)
        return None

    return change


def _note_input(reference: Reference, inputs: Inputs, pointer: str) -> None:
    """Note an input that is read; other roots are left as they are, for the checks to judge."""
    if reference.root == "input":
        inputs.note(reference, "", pointer)


def _renames(mapping: Json) -> bool:
    """Whether the mapped output differs from the agent's own."""
    if not isinstance(mapping, Mapping):
        return False
    return not all(_raw_field(value) == (name,) for name, value in mapping.items())


def _raw_field(value: Json) -> tuple[str | int | None, ...] | None:
    """The path of a text that is one reference to the agent's result and nothing else."""
    found = _references(value)
    whole = isinstance(value, str) and bool(re.fullmatch(r"\s*(\$\{|\{\{)\s*output[\w.\s]*\}\}?\s*", value))
    return found[0].path if whole and len(found) == 1 and found[0].root == "output" else None


def _fields(mapping: Mapping[str, Json]) -> dict[str, Json]:
    """The agent's structured output: the fields that the mapping reads; none where it reads the whole result."""
    fields: dict[str, Json] = {}
    for name, value in mapping.items():
        for reference in _references(value):
            if reference.root != "output":
                continue
            if not reference.path or not isinstance(reference.path[0], str):
                return {}
            fields.setdefault(reference.path[0], {"description": f"Becomes {under('', name)[1:]}."})
    return fields


def _references(value: Json) -> list[Reference]:
    found: list[Reference] = []

    def keep(reference: Reference, text: str, pointer: str) -> None:
        found.append(reference)

    rewritten_value(value, keep, "")
    return found
