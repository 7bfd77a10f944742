"""What an instance's expressions see: the values behind each root name that they use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from graphs.analysis.plan import Lookup
from graphs.runtime.frames import Frame, Record
from graphs.runtime.run import Run
from nodes.agent import CONVERSATION
from nodes.base import Compiled
from nodes.expression import ExpressionError
from state.errors import Fault
from state.values import Json

_LOOP = {"item": "for_each", "index": "for_each", "previous": "repeat", "iteration": "repeat", CONVERSATION: "agent"}


def names(run: Run, frame: Frame, lookups: Iterable[Lookup], about: Mapping[str, Json]) -> dict[str, Json]:
    """Root name to value, seen from ``frame``; a step that has no value is left out.

    ``about`` is the run's own record: ``id``, ``attempt``, ``started_at``, ``context`` …
    """
    values: dict[str, Json] = {}
    for lookup in lookups:
        kind = lookup.kind
        if kind == "node":
            path = _path(run, frame, lookup.target)
            if path in run.results:
                values[lookup.root] = run.results[path]
        elif kind == "meta":
            path = _path(run, frame, lookup.target)
            values.setdefault("steps", {})[lookup.root] = metadata(run, path)
        elif kind == "loop":
            values[lookup.root] = _loop_value(frame, lookup.root)
        else:
            values[lookup.root] = _scope_value(frame, kind, about)
    return values


def metadata(run: Run, path: str) -> Record:
    """What ``steps.<node>`` offers of one instance."""
    record = run.records.get(path, {})
    status = record.get("status", "pending")
    about: Record = {
        "status": status,
        "success": status == "done",
        "cause": record.get("cause"),
        "error": record.get("error"),
        "attempts": record.get("attempts", 0),
        "fallback": record.get("fallback"),
    }
    if "errors" in record:
        about["errors"] = record["errors"]
    if path in run.results:
        about["output"] = run.results[path]
    return about


def _path(run: Run, frame: Frame, target: str) -> str:
    return run.home(frame, target).prefix + run.plan.steps[target].name


def _loop_value(frame: Frame, name: str) -> Json:
    return next(f.locals[name] for f in frame.outward() if f.scope.kind == _LOOP[name])


def _scope_value(frame: Frame, kind: str, about: Mapping[str, Json]) -> Json:
    owner = next(f for f in frame.outward() if f.scope.kind in ("workflow", "use"))
    if kind == "input":
        return owner.input
    if kind == "vars":
        return dict(owner.scope.vars)
    if kind == "run":
        return {**{name: about.get(name) for name in ("id", "attempt", "started_at")}, **_how_it_stands(frame, about)}
    return about.get(kind) or {}


def _how_it_stands(frame: Frame, about: Mapping[str, Json]) -> Record:
    """Status and error as the steps see them: in what follows a workflow's steps, of that workflow."""
    stage = next((f for f in frame.outward() if f.scope.kind == "stage"), None)
    if stage is None or stage.parent is None:
        return {"status": about.get("status"), "error": about.get("error")}
    error = stage.parent.error
    if error is None:
        return {"status": "completed", "error": None}
    return {"status": "cancelled" if error.get("class") == "cancelled" else "failed", "error": error}


def body_value(run: Run, frame: Frame, about: Mapping[str, Json]) -> Json:
    """What a scope yields: its ``output``, else the value of its last node, else those of its last nodes by name.

    Raises:
        Fault: ``invalid_input`` where an expression fails.
    """
    scope = frame.scope
    header = frame.header.planned if frame.header is not None else None
    if header is not None and scope.kind in ("for_each", "repeat"):
        if "/output" in header.fields:
            return evaluated(header.fields["/output"], names(run, frame, header.body_lookups, about), "output")
    elif scope.output is not None:
        return evaluated(scope.output, names(run, frame, scope.output_lookups, about), "output")
    return _last_values(run, frame)


def _last_values(run: Run, frame: Frame) -> Json:
    leaves = [run.plan.steps[leaf] for leaf in frame.scope.leaves if run.plan.steps[leaf].kind != "condition"]
    values = {leaf.name: run.results[path] for leaf in leaves if (path := frame.prefix + leaf.name) in run.results}
    return values.get(leaves[0].name) if len(leaves) == 1 else values


def evaluated(field: Compiled, values: Mapping[str, Json], where: str) -> Json:
    """A compiled field's value.

    Raises:
        Fault: ``invalid_input``.
    """
    try:
        return field.evaluate(values)
    except ExpressionError as err:
        raise Fault("invalid_input", f"{where}: {err}") from err
