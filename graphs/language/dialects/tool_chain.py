"""The dialect of tool chains: a list of tool calls, and whether they are made one after the other, at once, or by condition.

A call becomes a tool node, named by its id or else by its tool. A call that fails does not end the chain: what follows from it
is up to the orchestration, and the workflow's output tells what succeeded, what failed and why, and what was not made.

sequential   each call waits for the one before and is not made once one has failed; ``previous`` is the value of the one before
parallel     all calls at once
conditional  like sequential, but a call with ``when`` is made whenever that holds, whatever became of those before;
             ``previous`` is null where the one before has no value
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal, TypeAlias, get_args

from graphs.language.dialects.draft import Draft
from graphs.language.dialects.entry import Entry, Picked, Target, head, retry
from graphs.language.dialects.rewriting import Change, Inputs, rewritten_condition, rewritten_value, value_of
from nodes.expression import Reference
from state.values import Json

Orchestration: TypeAlias = Literal["sequential", "parallel", "conditional"]
ORCHESTRATIONS: Final[tuple[str, ...]] = get_args(Orchestration)
TALLY: Final = "chain_result"
"""The step that sums the calls up; no call may bear its name."""
EARLIER: Final = "previous_results"
"""The input that holds the results that a request brings along."""
_UNFIT: Final = re.compile(r"\W+")


def translate(draft: Draft, top: Entry) -> None:
    """Write the canonical form of a tool chain into the draft."""
    target = Target(draft, "", draft.value)
    head(top, target, fallback_name="chain")
    kind = _orchestration(top)
    calls = top.entries("chain", "calls")
    names = _names(calls)
    inputs = Inputs(frozenset(names))
    _brought(top, inputs)
    nodes = target.below("nodes", f"{top.pointer}/chain")
    for index, call in enumerate(calls):
        if names[index]:
            _call(call, nodes.below(names[index], call.pointer), kind, names[:index], inputs)
    if not calls:
        top.refuse("missing_key", "A chain needs at least one call", top.pointer, "List them under `chain:`.")
        return
    tools = {name: node.get("tool", "") for name, node in nodes.value.items()}
    nodes.put(TALLY, _tally(tools, kind), top.pointer)
    target.put("output", _output(list(tools), kind), top.pointer)
    inputs.declare(draft, top.pick("input", "inputs"))
    top.report_rest("cogwork")


def _orchestration(top: Entry) -> str:
    found = top.text("orchestration")
    if found is None:
        return "sequential"
    if found.value not in ORCHESTRATIONS:
        told = f"{found.value!r:.60} is no way to orchestrate a chain"
        top.refuse("bad_value", told, found.pointer, f"Write one of {', '.join(ORCHESTRATIONS)}.")
    return str(found.value)


def _names(calls: list[Entry]) -> list[str]:
    """A name for each call: its id, else one made from its tool; empty where it has neither."""
    given = [call.text("id", "step_id", "stepId") for call in calls]
    taken = {found.value for found in given if found is not None} | {TALLY}
    names: list[str] = []
    for call, found in zip(calls, given, strict=True):
        tool = call.text("tool", "tool_name", "toolName", "name")
        if found is not None:
            if found.value in names or found.value == TALLY:
                call.refuse("duplicate_key", f"Two calls are named {found.value!r}", found.pointer, "Rename one.")
            names.append(found.value)
        elif tool is None:
            call.refuse("missing_key", "The call lacks `tool`", call.pointer)
            names.append("")
        else:
            base = _UNFIT.sub("_", tool.value).strip("_") or "call"
            base = base if not base[0].isdigit() else f"call_{base}"
            free = (name for n in range(1, len(calls) + 2) if (name := base if n == 1 else f"{base}_{n}") not in taken)
            names.append(next(free))
            taken.add(names[-1])
    return names


def _brought(top: Entry, inputs: Inputs) -> None:
    """What the request says of where it comes from: earlier results become an input, the ids metadata."""
    context = top.entry("context")
    if context is None:
        return
    earlier = context.pick("previousStepResults", "previous_step_results", EARLIER)
    if earlier is not None:
        inputs.declared[EARLIER] = {"type": "object", "default": earlier.value}
    context.pick("sessionContext", "session_context")  # given to the run, not written into its workflow
    run, step = context.text("workflowExecutionId", "workflow_execution_id"), context.text("stepId", "step_id")
    whose = {name: found.value for name, found in (("run", run), ("step", step)) if found is not None}
    if whose:
        known = top.draft.value.get("metadata")
        top.draft.value["metadata"] = {**(known if isinstance(known, dict) else {}), "requested_by": whose}
    context.report_rest()


def _call(call: Entry, node: Target, kind: str, before: list[str], inputs: Inputs) -> None:
    change = _change(call, kind, before, inputs)
    node.put("type", "tool", call.pointer)
    node.copy("tool", call.text("tool", "tool_name", "toolName", "name"))
    node.copy("description", call.pick("description"))
    args = call.pick("args", "parameters", "arguments")
    node.copy("args", Picked(rewritten_value(args.value, change, args.pointer), args.pointer) if args else None)
    if before and kind != "parallel":
        node.put("depends_on", [before[-1]], call.pointer)
    if kind == "conditional" and before:
        node.put("join", "always", call.pointer)
    _when(call, node, kind, before, change)
    for options in (call, call.entry("execution_options", "executionOptions", "options")):
        if options is None:
            continue
        node.copy("timeout", options.pick("timeout_seconds", "timeout"))
        retry(options.entry("retry", "retry_policy", "retryPolicy"), node)
        if options is not call:
            options.report_rest()
    node.put("on_error", "skip", call.pointer)
    call.report_rest()


def _when(call: Entry, node: Target, kind: str, before: list[str], change: Change) -> None:
    found = call.pick("when", "condition")
    if kind != "conditional":
        if found is not None:
            hint = "Write `orchestration: conditional`, or take it away."
            call.refuse("unknown_key", f"A call of a {kind} chain has no condition", found.pointer, hint)
    elif found is not None:
        node.put("when", rewritten_condition(found.value, change, found.pointer), found.pointer)
    elif before:
        node.put("when", " and ".join(f"steps['{name}'].error == null" for name in before), call.pointer)


def _change(call: Entry, kind: str, before: list[str], inputs: Inputs) -> Change:
    """References as the workflow needs them: ``previous`` is the call before, and a free name is a field of the input."""

    def change(reference: Reference, text: str, pointer: str) -> str | None:
        if reference.root != "previous":
            return inputs.note(reference, text, pointer)
        if kind == "parallel" or not before:
            why = "all calls of a parallel chain are made at once" if before else "no call is made before the first one"
            call.refuse("unknown_reference", f"There is no `previous` here: {why}", pointer)
            return None
        value, rest = value_of(before[-1]), text.removeprefix("previous")
        if kind == "sequential":
            return value + rest
        guarded = f"({value} | default: null)"
        return guarded + (f"?{rest}" if rest.startswith((".", "[")) else rest).replace("?[", "?.[", 1)

    return change


def _tally(tools: dict[str, Json], kind: str) -> dict[str, Json]:
    """The step that sums up what became of every call."""
    lists: dict[str, Callable[[str, Json], str]] = {
        "successful": lambda name, tool: _if(f"{_of(name)}.success", f"[{_text(name)}]"),
        "failed": lambda name, tool: _if(f"{_of(name)}.error != null", f"[{_failure(name, tool)}]"),
        "not_made": lambda name, tool: _if(
            f"not {_of(name)}.success and {_of(name)}.error == null",
            f"[{{'id': {_text(name)}, 'tool': {_text(tool)}, 'reason': {_of(name)}.cause?.reason, 'by': {_of(name)}.cause?.by}}]",
        ),
    }
    made = {key: [f"{{{{ {build(name, tool)} }}}}" for name, tool in tools.items()] for key, build in lists.items()}
    return {
        "type": "transform",
        "depends_on": list(tools),
        "join": "always",
        "set": {**made, "attempts": {name: f"{{{{ {_of(name)}.attempts }}}}" for name in tools}},
    }


def _failure(name: str, tool: Json) -> str:
    fields = ("class", "message", "origin", "recoverable", "retry_after", "details")
    told = ", ".join(f"'{field}': {_of(name)}.error?.{field}" for field in fields)
    return f"{{'id': {_text(name)}, 'tool': {_text(tool)}, {told}}}"


def _output(names: list[str], kind: str) -> dict[str, Json]:
    """The workflow's output: the results of all calls as one."""
    lists = {key: f"{{{{ flatten({TALLY}.{key}) }}}}" for key in ("successful", "failed")}
    count = {key: f"size(flatten({TALLY}.{key}))" for key in lists}
    status = f"{count['failed']} == 0 ? 'complete' : {count['successful']} == 0 ? 'failed' : 'partial'"
    values = {name: f"{{{{ {value_of(name)} | default: null }}}}" for name in names}
    last = ", ".join(value_of(name) for name in reversed(names))
    return {
        "status": f"{{{{ {status} }}}}",
        "output": dict(values) if kind == "parallel" else f"{{{{ coalesce({last}) }}}}",
        **lists,
        "results": values,
        "metadata": {
            "run": "{{ run.id }}",
            "started_at": "{{ run.started_at }}",
            "orchestration": kind,
            "attempts": f"{{{{ {TALLY}.attempts }}}}",
            "not_made": f"{{{{ flatten({TALLY}.not_made) }}}}",
        },
    }


def _if(condition: str, then: str) -> str:
    return f"{condition} ? {then} : []"


def _of(name: str) -> str:
    return f"steps['{name}']"


def _text(value: Json) -> str:
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
