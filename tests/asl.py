"""Amazon States Language, as far as cogwork can say it: a state machine as a spec of ours.

Every state becomes a step ``<name>`` whose value is the state's output. What cannot be said raises ``NotSaid``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any


class NotSaid(Exception):
    """The machine uses something that has no counterpart; the message says what."""


@dataclass(frozen=True)
class Scope:
    """Where a state stands: its siblings, the expression of the scope's input, and of the context object's item."""

    states: dict[str, Any]
    first: str
    given: str
    item: str = ""


def spec_of(machine: dict[str, Any]) -> dict[str, Any]:
    """The spec of a machine whose input is ``input.given``."""
    scope = Scope(machine["States"], machine["StartAt"], "input.given")
    return {"input": {"given": {}}, "nodes": _nodes(scope), "output": _ends(scope)}


def _nodes(scope: Scope) -> dict[str, Any]:
    sources: dict[str, list[str]] = {}
    _flow(scope, scope.first, (), sources)
    nodes: dict[str, Any] = {}
    for name in sources:
        given = _either([_value(source, scope) for source in sources[name]]) if sources[name] else scope.given
        nodes.update(_state(name, scope, given))
    return nodes


def _flow(scope: Scope, name: str, trail: tuple[str, ...], sources: dict[str, list[str]]) -> None:
    """Note for each reachable state the states whose output it is given."""
    if name in trail:
        raise NotSaid("a jump back")
    state, known = scope.states[name], name in sources
    found = sources.setdefault(name, [])
    if trail and trail[-1] not in found:
        found.append(trail[-1])
    if not known:
        for target in _targets(state):
            _flow(scope, target, (*trail, name), sources)


def _targets(state: dict[str, Any]) -> list[str]:
    chosen = [choice["Next"] for choice in state.get("Choices", ())] + [
        state[k] for k in ("Default", "Next") if k in state
    ]
    return list(dict.fromkeys([*chosen, *(c["Next"] for c in state.get("Catch", ()))]))


def _value(source: str, scope: Scope) -> str:
    """The expression of what a state hands on: a choice hands on what it was given, a caught error its record."""
    state = scope.states[source]
    return f"{source}__given" if state["Type"] == "Choice" else source


def _either(values: list[str]) -> str:
    return values[0] if len(values) == 1 else " | default: ".join([*values, "null"])


def _state(name: str, scope: Scope, given: str) -> dict[str, Any]:
    state, kind = scope.states[name], scope.states[name]["Type"]
    if "Retry" in state:
        raise NotSaid("Retry")
    if "QueryLanguage" in state or "States." in json.dumps(state.get("Parameters", {})):
        raise NotSaid("JSONata or intrinsic functions")
    if "Catch" in state:
        raise NotSaid("Catch: the error of a loop as the input of the next state")
    given = _path(state.get("InputPath", "$"), given)
    match kind:
        case "Succeed":
            return {name: {"type": "transform", "set": f"{{{{ {given} }}}}"}}
        case "Fail":
            said = {"error": state.get("Error", ""), "cause": state.get("Cause", "")}
            return {name: {"type": "tool", "tool": "asl.fail", "args": {**said, "given": f"{{{{ {given} }}}}"}}}
        case "Pass":
            value = _filled(state["Parameters"], given, scope) if "Parameters" in state else state.get("Result")
            value = f"{{{{ {given} }}}}" if value is None else value
            return {name: {"type": "transform", "set": _result(state, value, given)}}
        case "Choice":
            cases = [{"if": _test(choice, given), "then": choice["Next"]} for choice in state["Choices"]]
            otherwise = {"else": state["Default"]} if "Default" in state else {}
            kept = {"type": "transform", "set": f"{{{{ {given} }}}}"}
            return {
                f"{name}__given": kept,
                name: {"type": "condition", "cases": cases, **otherwise, "depends_on": [f"{name}__given"]},
            }
        case "Map":
            return _map(name, state, scope, given)
    raise NotSaid(f"the type {kind}")


def _map(name: str, state: dict[str, Any], scope: Scope, given: str) -> dict[str, Any]:
    body = state.get("ItemProcessor") or state["Iterator"]
    most = state.get("MaxConcurrency", 0) or 40
    selector = state.get("ItemSelector") or state.get("Parameters")
    inner = Scope(body["States"], body["StartAt"], f"{name}_item", "item")
    chosen = _filled(selector, given, Scope({}, "", given, "item")) if selector else "{{ item }}"
    nodes = {f"{name}_item": {"type": "transform", "set": chosen}, **_nodes(inner)}
    loop = {
        "for_each": _path(state.get("ItemsPath", "$"), given),
        "max_parallel": most,
        "nodes": nodes,
        "output": _ends(inner),
    }
    if state.get("ResultPath", "$") == "$":
        return {name: loop}
    done = {
        "type": "transform",
        "set": _result(state, f"{{{{ {name}__loop }}}}", given),
        "depends_on": [f"{name}__loop"],
    }
    return {f"{name}__loop": loop, name: done}


def _ends(scope: Scope) -> str:
    """The output of whichever last state ran."""
    ends = [name for name, state in scope.states.items() if state.get("End") or state["Type"] == "Succeed"]
    return f"{{{{ {' | default: '.join([*ends, 'null'])} }}}}"


def _result(state: dict[str, Any], value: Any, given: str) -> Any:
    path = state.get("ResultPath", "$")
    if path == "$":
        return value
    if path is None:
        return f"{{{{ {given} }}}}"
    if not re.fullmatch(r"\$\.\w+", path):
        raise NotSaid(f"the result path {path}")
    return {path[2:]: value}


def _filled(template: Any, given: str, scope: Scope) -> Any:
    if isinstance(template, dict):
        return {
            k.removesuffix(".$"): _dynamic(v, given, scope) if k.endswith(".$") else _filled(v, given, scope)
            for k, v in template.items()
        }
    return template


def _dynamic(path: str, given: str, scope: Scope) -> str:
    return f"{{{{ {scope.item if path == '$$.Map.Item.Value' else _path(path, given)} }}}}"


def _path(path: str, given: str) -> str:
    if not re.fullmatch(r"\$(\.\w+)*", path):
        raise NotSaid(f"the path {path}")
    return given + path[1:]


_COMPARED = {"Equals": "==", "GreaterThanEquals": ">=", "LessThanEquals": "<=", "GreaterThan": ">", "LessThan": "<"}
_KINDS = {"Numeric": "number", "String": "string", "Boolean": "boolean"}


def _test(rule: dict[str, Any], given: str) -> str:
    for word, joined in (("And", " and "), ("Or", " or ")):
        if word in rule:
            return "(" + joined.join(_test(inner, given) for inner in rule[word]) + ")"
    if "Not" in rule:
        return f"not {_test(rule['Not'], given)}"
    value = _path(rule["Variable"], given)
    for word, literal in rule.items():
        if word == "IsPresent":
            return "true" if literal else "false"
        if word == "IsNumeric":
            return f"(type({value}) == 'number') == {json.dumps(literal)}"
        if found := re.fullmatch(r"(Numeric|String|Boolean)(\w+)", word):
            return f"(type({value}) == '{_KINDS[found[1]]}' and {value} {_COMPARED[found[2]]} {json.dumps(literal)})"
    raise NotSaid(f"the comparison {sorted(rule)}")
