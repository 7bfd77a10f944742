"""The edges of a graph definition: read, followed, and searched for ways back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from graphs.language.dialects.entry import Entry
from state.values import Json

_ENDS: Final = frozenset({"__end__", "END", "end"})
_STARTS: Final = frozenset({"__start__", "START", "start"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A way from one node to the next; ``source`` is empty where it leads from the start."""

    source: str
    target: str
    condition: Json
    pointer: str


def read_edges(top: Entry, given: Mapping[str, Entry]) -> list[Edge]:
    """The edges between nodes; an end that is no node is reported, edges to the end are dropped."""
    found: list[Edge] = []
    for entry in top.entries("edges"):
        source, target = entry.text("from", "source"), entry.text("to", "target")
        condition = entry.pick("condition", "when", "label")
        entry.report_rest("id", "type", "metadata")
        if source is None or target is None:
            missing = "from" if source is None else "to"
            entry.refuse("missing_key", f"The edge lacks `{missing}`", entry.pointer)
            continue
        start = "" if source.value in _STARTS and source.value not in given else source.value
        if target.value in _ENDS and target.value not in given:
            continue
        for name, at in ((start, source.pointer), (target.value, target.pointer)):
            if name and name not in given:
                close = get_close_matches(name[:64], list(given), n=1)
                hint = f"Did you mean {close[0]!r}?" if close else f"Nodes: {', '.join(given)}."
                entry.refuse("dialect_unknown_node", f"The edge names {name!r}, which is no node", at, hint)
                break
        else:
            condition_value = condition.value if condition else None
            found.append(Edge(source=start, target=target.value, condition=condition_value, pointer=entry.pointer))
    return found


def expression_text(entry: Entry) -> str | None:
    """The expression in a condition node's configuration."""
    configuration = entry.pick("configuration", "config")
    value = configuration.value if configuration else None
    if not isinstance(value, Mapping):
        return None
    found = next((value[key] for key in ("expression", "condition", "if") if isinstance(value.get(key), str)), None)
    return str(found) if found is not None else None


def reachable(starts: Iterable[str], edges: Iterable[Edge]) -> set[str]:
    """The nodes that can be reached from these, themselves included."""
    ahead: dict[str, list[str]] = {}
    for edge in edges:
        ahead.setdefault(edge.source, []).append(edge.target)
    seen: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(ahead.get(name, ()))
    return seen


def report_cycles(top: Entry, edges: Iterable[Edge], order: Iterable[str]) -> None:
    """Report each edge that closes a way back to a node that lies before it."""
    ahead: dict[str, list[Edge]] = {}
    for edge in edges:
        ahead.setdefault(edge.source, []).append(edge)
    done: set[str] = set()
    for start in order:
        path: dict[str, int] = {start: 0}
        while path and start not in done:
            name = next(reversed(path))
            onward = ahead.get(name, [])
            if name in done or path[name] == len(onward):
                done.add(name)
                del path[name]
                continue
            edge = onward[path[name]]
            path[name] += 1
            if edge.target in path:
                _report_cycle(top, edge)
            elif edge.target not in done:
                path[edge.target] = 0


def _report_cycle(top: Entry, edge: Edge) -> None:
    message = f"The edge from `{edge.source}` leads back to `{edge.target}`"
    hint = (
        f"Loops are structured: put the nodes from `{edge.target}` to `{edge.source}` under `nodes:` of one step with "
        "`repeat: {until: …, max_iterations: …}`, and let `until` say what the edge's condition said."
    )
    top.refuse("dialect_cycle", message, edge.pointer, hint)
