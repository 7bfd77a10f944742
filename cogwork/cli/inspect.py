"""The commands that look at runs: ``status``, ``list``, ``show`` and ``why``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cogwork.cli import context, elsewhere, render
from cogwork.cli.exits import MISSING, Refusal
from cogwork.cli.reasons import aftermath, brief_cause, brief_error, brief_status, brief_usage, money, remarks

if TYPE_CHECKING:
    from cogwork.store.runs import RunSummary
    from state.values import Json

StepName = Annotated[str | None, typer.Argument(metavar="[STEP]", help="Path of a step.", show_default=False)]


def status(name: context.RunName, json: context.Json = False) -> None:
    """What a run is doing, or what it waits for."""
    if (remote := elsewhere.remote_execution(name)) is not None:
        elsewhere.status(remote, json=json)
    summary = _found(name)
    if json:
        render.write_json(summary.to_dict())
        return
    render.say(_mark(summary), f"  {summary.thread}", (f"  {summary.workflow}, run {summary.run}", "dim"))
    if origin := _origin(summary):
        render.say((origin, "dim"))
    render.say(
        ("began ", "dim"),
        clock(summary.started),
        *((("  ended ", "dim"), clock(summary.ended)) if summary.ended else ()),
    )
    counts: dict[str, int] = {}
    for record in _own_records(summary).values():
        counts[str(record.get("status"))] = counts.get(str(record.get("status")), 0) + 1
    render.say(("steps ", "dim"), ", ".join(f"{count} {name}" for name, count in counts.items()) or "none begun")
    _next(summary)


def _mark(summary: RunSummary) -> tuple[str, str]:
    """What a run is, with its mark and style."""
    said = brief_status(summary.status, summary.reason)
    return f"{render.MARKS[summary.status]} {said}", render.STYLES[summary.status]


def _origin(summary: RunSummary) -> str:
    """Which run a fork comes from."""
    about = summary.values.get("run", {})
    where = f" at {about['forked_at']}" if about.get("forked_at") else ""
    return f"forked from run {about['forked_from']}{where}" if about.get("forked_from") else ""


def _next(summary: RunSummary) -> None:
    if summary.error:
        where = f"  at {summary.error['node']}" if summary.error.get("node") else ""
        render.say((brief_error(summary.error), "red"), (where, "dim"))
    for line in aftermath(summary.values.get("run", {})):
        render.say(line)
    if summary.status in ("paused", "unfinished"):
        from cogwork.cli.asking import show_way_on

        show_way_on(summary)


def list_(
    status: Annotated[str | None, typer.Option(help="Only runs of this status.", show_default=False)] = None,
    workflow: Annotated[str | None, typer.Option(help="Only runs of this workflow.", show_default=False)] = None,
    limit: context.Limit = 20,
    json: context.Json = False,
) -> None:
    """The runs that are kept, the latest first."""
    from cogwork.store.runs import RUN_STATUSES

    if status is not None and status not in RUN_STATUSES:
        raise Refusal(f"There is no status {status!r}", f"there are {', '.join(RUN_STATUSES)}")
    with context.kept_runs(context.opened()) as runs:
        fitting = (r for r in runs if (not status or r.status == status) and (not workflow or r.workflow == workflow))
        found = [run for run, _ in zip(fitting, range(limit), strict=False)]
    if json:
        render.write_json([run.to_dict() for run in found])
    elif not found:
        render.note(("no runs", "dim"))
    else:
        render.columns([_row(run) for run in found], ("RUN", "STATUS", "BEGAN", "TOOK", "ABOUT"))


def _row(run: RunSummary) -> list[str | tuple[str, str]]:
    about = "; ".join(str(question.get("ask")) for question in run.questions) or (
        brief_error(run.error) if run.error else ""
    )
    return [run.thread, _mark(run), clock(run.started), took(run.started, run.ended), (about, "dim")]


def show(name: context.RunName, step: StepName = None, json: context.Json = False) -> None:
    """A run's steps with their states, times and result; or one step's record and value."""
    summary = _found(name)
    values = summary.values
    if step is not None:
        path = _step(summary, step)
        _show_step(path, values, json=json)
    elif json:
        kept = {key: values.get(key) for key in ("input", "run", "nodes", "results", "path", "output")}
        render.write_json({**summary.to_dict(), "usage": summary.usage, **kept})
    else:
        _show_run(summary)


def _show_run(summary: RunSummary) -> None:
    from cogwork.cli.pictures import show_picture

    render.say(_mark(summary), f"  {summary.thread}", (f"  run {summary.run}", "dim"))
    if origin := _origin(summary):
        render.say((origin, "dim"))
    show_picture(summary)
    rows = [row for title, records in staged(_marked(summary.values)) for row in _rows(title, records)]
    if rows:
        render.say()
        render.columns(rows, ("STEP", "STATE", "BEGAN", "TOOK", "TOKENS", "COST", "ABOUT"))
    _show_usage(summary)
    if summary.values.get("input"):
        render.say()
        render.value(summary.values["input"], title="Input")
    if summary.values.get("output") is not None:
        render.say()
        render.value(summary.values["output"], title="Output")
    render.say()
    _next(summary)


def _show_usage(summary: RunSummary) -> None:
    """What the run has used as a whole, and by model where it asked several."""
    used = summary.usage
    if not used:
        return
    render.say()
    render.say("used ", (brief_usage(used), "bold"))
    models = used["models"]
    for name, part in models.items() if len(models) > 1 else ():
        calls = f"{part['calls']} call{'s' if part['calls'] != 1 else ''}"
        render.say((f"  {name or 'an unnamed model'}  {brief_usage(part)}, {calls}", "dim"))


STAGES: Final = {"on_failure": "On failure", "undo": "Undo", "finally": "Finally"}
"""What follows a workflow's own steps, by the first name of their paths, in the order in which it runs."""


def staged(nodes: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, dict[str, Mapping[str, Any]]]]:
    """The records of the workflow's own steps, then those of each stage that followed under its title."""
    groups: dict[str, dict[str, Mapping[str, Any]]] = {"": {}, **{name: {} for name in STAGES}}
    for path, record in nodes.items():
        head = path.partition(".")[0].partition("[")[0]
        groups[head if head in STAGES else ""][path] = record
    return [(STAGES.get(name, ""), records) for name, records in groups.items() if records]


def _marked(values: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The records, with a mark on those that were undone or should have been."""
    undo = values.get("run", {}).get("undo") or {}
    marks = {str(each.get("step")): "NOT undone" for each in undo.get("not_done") or ()}
    marks |= {str(path): "undone" for path in undo.get("done") or ()}
    nodes = values.get("nodes", {}).items()
    return {path: {**record, "taken_back": marks[path]} if path in marks else record for path, record in nodes}


def _rows(title: str, records: Mapping[str, Mapping[str, Any]]) -> list[list[str | tuple[str, str]]]:
    """The rows of one group; the holder of a stage is its title."""
    rows = [_record_row(path, record) for path, record in records.items() if not title or path not in STAGES]
    return [[(title, "bold"), *[""] * 6], *rows] if title else rows


def _record_row(path: str, record: Mapping[str, Any]) -> list[str | tuple[str, str]]:
    state = str(record.get("status"))
    used = record.get("usage") or {}
    spent = [str(used.get("total_tokens") or ""), money(used["cost_usd"]) if "cost_usd" in used else ""]
    about = ""
    if state == "skipped":
        about = brief_cause(record.get("cause"), record.get("error"))
    elif record.get("error"):
        about = brief_error(record["error"])
    elif state == "waiting":
        about = str((record.get("question") or {}).get("ask", ""))
    said = [*remarks(record), *([about] if about else [])]
    started, ended = str(record.get("started_at") or ""), str(record.get("ended_at") or "")
    shown = (f"{render.MARKS.get(state, ' ')} {state}", render.STYLES.get(state, ""))
    return [path, shown, clock(started, date=False), took(started, ended), *spent, ("; ".join(said), "dim")]


def _show_step(path: str, values: Mapping[str, Any], *, json: bool) -> None:
    record, missing = values.get("nodes", {}).get(path), object()
    value = values.get("results", {}).get(path, missing)
    if json:
        render.write_json({"step": path, "record": record, "value": None if value is missing else value})
        return
    render.columns(
        [_record_row(path, record or {"status": "pending"})],
        ("STEP", "STATE", "BEGAN", "TOOK", "TOKENS", "COST", "ABOUT"),
    )
    if record:
        render.say()
        render.value({key: part for key, part in record.items() if key != "status"}, title="Record")
    if value is not missing:
        render.say()
        render.value(value, title="Value")


def why(
    name: context.RunName,
    step: Annotated[str | None, typer.Argument(metavar="[STEP]", help="Path of a step.", show_default=False)] = None,
    json: context.Json = False,
) -> None:
    """Why a step was skipped, failed, is blocked, waits, was undone or ran: with the values that decided, back to the
    root cause. Without a step: why the run is where it is.
    """
    from dataclasses import asdict

    from cogwork.cli.recorded import calls_of
    from cogwork.cli.runs import kept_graph
    from cogwork.cli.why import Case

    app = context.opened()
    with context.kept_runs(app) as runs:
        summary = runs.find(name)
        calls = context.calls_of(runs.saver, summary)
    path = _step(summary, step) if step is not None else None
    plan = kept_graph(app, summary, None).plan
    case = Case(plan, summary.values, summary=summary, calls=calls, services=app.services)
    lines = case.explanation(path) if path is not None else case.of_run()
    if json:
        record = summary.values.get("nodes", {}).get(path)
        made = [asdict(call) for call in (calls_of(path, calls) if path is not None else calls.values())]
        render.write_json({"step": path, "record": record, "calls": made, "why": lines})
        return
    render.say((lines[0], "bold"))
    for line in lines[1:]:
        render.say(("  " + line, ""))


def _found(name: str) -> RunSummary:
    with context.kept_runs(context.opened()) as runs:
        return runs.find(name)


def _step(summary: RunSummary, name: str) -> str:
    """The path that ``name`` means in the run.

    Raises:
        Refusal: the run has no such step.
    """
    from cogwork.cli.deciding import step_id
    from cogwork.cli.runs import kept_graph

    known = summary.values.get("nodes", {})
    if name in known:
        return name
    try:
        steps: Any = kept_graph(context.opened(), summary, None).plan.steps
    except Refusal:
        steps = {}
    if step_id(name) in steps and "[" not in name:
        inside = [path for path in known if step_id(path) == name]
        return inside[0] if inside else name
    close = difflib.get_close_matches(name, [*known, *steps], 1)
    hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join([*steps][:12] or known)}"
    raise Refusal(f"Run {summary.thread} has no step {name!r}", hint, MISSING)


def _own_records(summary: RunSummary) -> dict[str, Mapping[str, Json]]:
    nodes: dict[str, Mapping[str, Json]] = summary.values.get("nodes", {})
    own = {path: record for path, record in nodes.items() if "." not in path and "[" not in path}
    return {path: record for path, record in own.items() if path not in STAGES}


def clock(stamp: str, *, date: bool = True) -> str:
    """A time stamp in local time, to the second."""
    try:
        local = datetime.fromisoformat(stamp).astimezone()
    except ValueError:
        return ""
    return local.strftime("%Y-%m-%d %H:%M:%S" if date else "%H:%M:%S")


def took(started: str, ended: str) -> str:
    """The time between two stamps."""
    try:
        seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
    except ValueError:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
