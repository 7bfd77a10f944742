"""The dialect of graph definitions: nodes with type and configuration, edges between them, entry, exits, a state schema.

An edge becomes ``depends_on``. An edge out of a condition node becomes a case; one without a condition becomes its
``else``. A conditional edge out of any other node goes through a condition node ``<source>_route`` with ``match: all``.
A name that texts read and that is no node is a field of the state: of the node whose output schema declares it (the
last of several, through ``coalesce``), else of the input, with its schema from the state schema. Exit points become the
output. What the entry point cannot reach never ran there and is left out with a warning. Edges that lead back are
refused: loops are structured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from graphs.language.dialects.draft import Draft, under
from graphs.language.dialects.entry import Entry, Picked, Target, as_entry, head, names_of
from graphs.language.dialects.graph_edges import Edge, expression_text, reachable, read_edges, report_cycles
from graphs.language.dialects.graph_node import configure, schema_fields
from graphs.language.dialects.rewriting import Change, Inputs, rewritten_condition, value_of
from graphs.language.source import brief
from nodes.expression import Reference
from state.values import Json

_STATE: Final = frozenset({"state", "data"})
_OTHERWISE: Final = frozenset({"else", "default", "otherwise"})


def translate(draft: Draft, top: Entry) -> None:
    """Write the canonical form of a graph definition into the draft."""
    target = Target(draft, "", draft.value)
    head(top, target, fallback_name="graph")
    given = _nodes(top)
    edges = read_edges(top, given)
    entry = top.text("entry_point", "entryPoint")
    live = _live(top, given, edges, entry)
    report_cycles(top, edges, live)
    state = top.pick("state_schema", "stateSchema")
    inputs = Inputs(frozenset(live))
    fields = _Fields(inputs, _producers({name: given[name] for name in given if name in live}))
    nodes = target.below("nodes", under(top.pointer, "nodes"))
    for name in live:
        configure(given[name], nodes.below(name, given[name].pointer), fields.change())
    _connect([e for e in edges if e.source in live and e.target in live], given, nodes, fields)
    for name in live:
        given[name].report_rest("id", "metadata", "position")
    _declare(draft, inputs, state)
    _exits(top, target, live)
    top.report_rest("cogwork")


class _Fields:
    """What a free name means: a field that a node produces, else a field of the input."""

    def __init__(self, inputs: Inputs, producers: Mapping[str, list[str]]) -> None:
        self.inputs, self.producers = inputs, producers

    def change(self) -> Change:
        """How references are changed."""

        def change(reference: Reference, text: str, pointer: str) -> str | None:
            name, rest = reference.root, text[len(reference.root) :]
            if name in self.inputs.steps or name == "input":
                return self.inputs.note(reference, text, pointer)
            if name in _STATE and rest.startswith(".") and isinstance(reference.path[0], str):
                name = reference.path[0]
                rest = rest[1 + len(name) :]
            elif name in _STATE:
                return None
            return self._read(name, rest, reference, pointer)

        return change

    def _read(self, name: str, rest: str, reference: Reference, pointer: str) -> str | None:
        makers = self.producers.get(name, [])
        if len(makers) == 1:
            return f"{value_of(makers[0])}.{name}{rest}"
        if makers:
            last_first = ", ".join(f"steps['{maker}']?.output?.{name}" for maker in reversed(makers))
            return f"coalesce({last_first}){rest}"
        if name == reference.root:
            return self.inputs.note(reference, f"{name}{rest}", pointer)
        self.inputs.read(name, guarded=reference.guarded, pointer=pointer)
        return f"input.{name}{rest}"


def _nodes(top: Entry) -> dict[str, Entry]:
    found = top.pick("nodes")
    value = found.value if found else {}
    at = found.pointer if found else top.pointer
    if isinstance(value, list):
        picked = [Picked(item, under(at, index)) for index, item in enumerate(value)]
        entries = [entry for item in picked if (entry := as_entry(top.draft, item)) is not None]
        named = {(name.value if (name := entry.text("id", "name")) else ""): entry for entry in entries}
        return {name: entry for name, entry in named.items() if name}
    if not isinstance(value, Mapping):
        top.refuse("wrong_type", "`nodes` must be a mapping", at)
        return {}
    entries_by_name = {name: as_entry(top.draft, Picked(raw, under(at, name))) for name, raw in value.items()}
    return {name: entry for name, entry in entries_by_name.items() if entry is not None}


def _live(top: Entry, given: Mapping[str, Entry], edges: list[Edge], entry: Picked | None) -> list[str]:
    """The nodes that the entry point reaches, in the document's order."""
    starts = [entry.value] if entry else [e.target for e in edges if not e.source]
    for start in starts:
        if start not in given:
            pointer = entry.pointer if entry else top.pointer
            top.refuse("dialect_unknown_node", f"The entry point {start!r} is no node", pointer)
            return list(given)
    if not starts:
        return list(given)
    live = reachable(starts, edges)
    for name in given:
        if name not in live:
            message = f"The entry point does not reach `{name}`; it is left out"
            top.warn("dialect_ignored", message, given[name].pointer, "Add an edge that leads to it, or remove it.")
    return [name for name in given if name in live]


def _producers(given: Mapping[str, Entry]) -> dict[str, list[str]]:
    """The nodes whose output schema declares a field, by field."""
    found: dict[str, list[str]] = {}
    for name, entry in given.items():
        schema = entry.pick("output_schema", "outputSchema")
        for field in schema_fields(schema.value if schema else None):
            found.setdefault(field, []).append(name)
    return found


def _connect(edges: Iterable[Edge], given: Mapping[str, Entry], nodes: Target, fields: _Fields) -> None:
    for edge in edges:
        is_condition = nodes.value[edge.source].get("type") == "condition"
        if is_condition:
            _add_case(nodes.value[edge.source], edge, given[edge.source], fields)
        elif edge.condition is None:
            nodes.value[edge.target].setdefault("depends_on", []).append(edge.source)
        else:
            name = f"{edge.source}_route"
            if name not in nodes.value:
                route = nodes.below(name, edge.pointer)
                route.value.update({"type": "condition", "cases": [], "match": "all", "depends_on": [edge.source]})
            condition = rewritten_condition(edge.condition, fields.change(), under(edge.pointer, "condition"))
            nodes.value[name]["cases"].append({"if": condition, "then": edge.target})


def _add_case(node: dict[str, Json], edge: Edge, entry: Entry, fields: _Fields) -> None:
    """One more way out of a condition node; ``true`` and ``false`` on an edge speak of the node's own expression."""
    own = expression_text(entry)
    word = str(edge.condition).strip().lower() if edge.condition is not None else ""
    condition = own if word in ("true", "yes") and own is not None else edge.condition
    otherwise = word in _OTHERWISE or (word in ("false", "no") and own is not None)
    if edge.condition is None and own is not None and not node.get("cases"):
        condition = own
    elif edge.condition is None or otherwise:
        known = node.get("else")
        node["else"] = edge.target if known is None else [*([known] if isinstance(known, str) else known), edge.target]
        return
    plain = rewritten_condition(condition, fields.change(), under(edge.pointer, "condition"))
    node.setdefault("cases", []).append({"if": plain, "then": edge.target})


def _declare(draft: Draft, inputs: Inputs, state: Picked | None) -> None:
    for name, schema in schema_fields(state.value if state else None).items():
        if name in inputs.needed and isinstance(schema, Mapping):
            inputs.declared[name] = {**({} if inputs.needed[name] else {"default": None}), **schema}
    inputs.declare(draft, None)
    for name in inputs.declared:
        if state is not None:
            draft.origin[under("/input/properties", name)] = under(state.pointer, "properties", name)


def _exits(top: Entry, target: Target, live: list[str]) -> None:
    exits = top.pick("exit_points", "exitPoints")
    names = names_of(exits)
    if exits is not None and isinstance(exits.value, list) and len(names) < len(exits.value):
        top.refuse("wrong_type", "`exitPoints` must be a list of names", exits.pointer)
    if exits is None or not names:
        return
    for name in names:
        if name not in live:
            message = f"The exit point {brief(name)} is no node that the entry point reaches"
            top.refuse("dialect_unknown_node", message, exits.pointer)
    value = {name: f"{{{{ {value_of(name)} | default: null }}}}" for name in names}
    target.put("output", f"{{{{ {value_of(names[0])} }}}}" if len(names) == 1 else value, exits.pointer)
