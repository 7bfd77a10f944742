"""Results of tools that a caller hands in with a new run: checked before anything runs, then those of their steps."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graphs.analysis.plan import Plan, PlannedStep
from graphs.runtime.frames import Record
from nodes.calls import checked_result
from nodes.tool import ToolNode
from state.errors import Fault, InputRefused
from state.services import Services
from state.values import Json, UnfitValue, normalise

KEY: Final = "tool_results"
"""Where results stand in the caller's context, or in the ``configurable`` of its config."""
_SAID: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedIn:
    """What ``tool_results`` holds, by name, and how steps have ended already, by path: ``{result}`` or ``{error}``."""

    results: dict[str, Json] = field(default_factory=dict)
    steps: dict[str, Record] = field(default_factory=dict)

    def record(self) -> Record:
        """The entries of the run's record that keep them."""
        return {name: kept for name, kept in (("tool_results", self.results), ("given", self.steps)) if kept}


def handed_in(plan: Plan, services: Services, context: Any, configurable: Mapping[str, Any]) -> HandedIn:
    """What the caller hands in: ``{name: result}``, or a list of ``{toolName, success, result, error}``.

    A name is that of a tool step outside loops, or of a tool: its one step takes it. Where the workflow reads
    ``tool_results``, any name may stand there.

    Raises:
        InputRefused: says each place that does not fit.
    """
    given = context.get(KEY) if isinstance(context, Mapping) else None
    given = configurable.get(KEY) if given is None else given
    if given is None:
        return HandedIn()
    try:
        plain = services.secrets.redact(normalise(given))
    except UnfitValue as err:
        raise InputRefused(plan.spec.name, [f"{KEY}: {err}"]) from err
    found, faults = HandedIn(), list[str]()
    for place, name, end in _entries(plain, faults):
        try:
            _take(found, plan, services, name, end)
        except Fault as fault:
            faults.append(f"{KEY}/{place}: {fault.message}")
    if faults:
        raise InputRefused(plan.spec.name, faults)
    return found


def _entries(plain: Json, faults: list[str]) -> Iterator[tuple[str, str, Record]]:
    """Place, name and end of each result; what is no result is added to ``faults``."""
    if isinstance(plain, dict):
        yield from ((name, name, {"result": result}) for name, result in plain.items())
        return
    if not isinstance(plain, list):
        faults.append(f"{KEY}: must be an object of results by name, or a list of {{toolName, success, result, error}}")
        return
    seen: set[str] = set()
    for index, entry in enumerate(plain):
        name = entry.get("toolName") if isinstance(entry, dict) else None
        why = _wrong(entry, name, seen)
        if why or not isinstance(name, str):
            faults.append(f"{KEY}/{index}: {why}")
            continue
        seen.add(name)
        failed = not entry.get("success", entry.get("error") is None)
        yield str(index), name, {"error": _failure(name, entry)} if failed else {"result": entry.get("result")}


def _wrong(entry: Json, name: Json, seen: set[str]) -> str:
    """Why an entry of the list is no result; empty where it is one."""
    if not isinstance(name, str) or not name:
        return "must be an object with a toolName"
    if not isinstance(entry.get("success", True), bool):
        return "success must be true or false"
    if entry.get("success") and entry.get("error") is not None:
        return "it says success and holds an error: one of them is wrong"
    return f"{name} is handed in twice" if name in seen else ""


def _failure(name: str, entry: Record) -> Record:
    """The failure of a call that was made before the run, as data."""
    error = entry.get("error")
    said = error.get("message") if isinstance(error, dict) else error
    fault = Fault("tool_error", str(said or f"{name} failed, and does not say why")[:_SAID], origin="tool")
    fault.details = {"handed_in": True, **({"error": error} if isinstance(error, dict) else {})}
    return fault.record(node=name)


def _take(found: HandedIn, plan: Plan, services: Services, name: str, end: Record) -> None:
    """Add one result to what was found.

    Raises:
        Fault: the name means nothing here, or the result is not what it promises.
    """
    step = _step(plan, services, name)
    node = step.step if step is not None else None
    tool = services.tools.find(node.tool if isinstance(node, ToolNode) else name)
    if "result" in end:
        if tool is not None:
            limit = services.result_limits.of(tool.name)
            _small(end["result"], limit)
            output = node.output if isinstance(node, ToolNode) else None
            end = {"result": checked_result(tool, end["result"], output, services.secrets)}
        found.results[name] = end["result"]
    if step is not None:
        found.steps[step.id] = end


def _small(result: Json, limit: int) -> None:
    try:
        normalise(result, max_bytes=limit)
    except UnfitValue as err:
        raise Fault("invalid_output", str(err)) from err


def _step(plan: Plan, services: Services, name: str) -> PlannedStep | None:
    """The step that takes the result; None where it is only read.

    Raises:
        Fault: neither a step nor a tool that is meant here.
    """
    own = plan.steps.get(name)
    if own is not None and isinstance(own.step, ToolNode):
        if _repeated(plan, own):
            raise Fault("invalid_input", f"{name!r} runs in a loop, once for each of its rounds")
        return own
    users = [step for step in plan.steps.values() if isinstance(step.step, ToolNode) and step.step.tool == name]
    if len(users) == 1 and not _repeated(plan, users[0]):
        return users[0]
    if _read_here(plan):
        return None
    if users:
        raise Fault("invalid_input", f"{name} is called by {_listed(users)}: hand it in under the name of a step")
    if own is not None:
        raise Fault("invalid_input", f"the step {name!r} calls no tool")
    if services.tools.find(name) is None:
        raise Fault("invalid_input", f"there is no step and no tool {name!r} here{_near(plan, name)}")
    return None


def _repeated(plan: Plan, step: PlannedStep) -> bool:
    scope = plan.scopes[step.scope]
    while scope.parent is not None:
        if scope.kind not in ("workflow", "use", "stage"):
            return True
        scope = plan.scopes[scope.parent]
    return False


def _read_here(plan: Plan) -> bool:
    """Whether an expression of the workflow reads ``tool_results``."""
    steps = (
        lookups for step in plan.steps.values() for lookups in (step.lookups, step.body_lookups, step.undo_lookups)
    )
    scopes = (scope.output_lookups for scope in plan.scopes.values())
    return any(lookup.kind == "tool_results" for lookups in (*steps, *scopes) for lookup in lookups)


def _listed(users: list[PlannedStep]) -> str:
    shown = ", ".join(repr(step.id) for step in users[:5])
    return f"{shown}{' …' if len(users) > 5 else ''}"


def _near(plan: Plan, name: str) -> str:
    known = {step.id: None for step in plan.steps.values() if isinstance(step.step, ToolNode)}
    known |= {step.step.tool: None for step in plan.steps.values() if isinstance(step.step, ToolNode)}
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(known) or 'no step that calls a tool'}"
