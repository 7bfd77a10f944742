"""Executions as the command line shows them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from cogwork.cli import exits, render

if TYPE_CHECKING:
    from cogwork.executions.record import Execution


def told(execution: Execution) -> None:
    """Say how an execution stands, and what to do next."""
    from cogwork.cli.reasons import brief_status

    mark = f"{render.MARKS.get(execution.status, '·')} {brief_status(execution.status, execution.reason)}"
    render.say((mark, render.STYLES.get(execution.status, "")), f"  {execution.id}")
    if execution.status == "pending":
        render.note(("a worker runs it: cogwork worker; follow it with: cogwork follow ", "dim"), execution.id)
    if execution.error:
        render.note((str(execution.error.get("message")), "red"))
    for question in execution.questions:
        render.say(f"? {question.get('at')}  {question.get('ask')}")
    if execution.status == "paused":
        render.note(("go on with it: cogwork resume ", "dim"), execution.id)


def row(each: Execution) -> list[str | tuple[str, str]]:
    """An execution in a list."""
    from cogwork.cli.inspect import clock, took
    from cogwork.cli.reasons import brief_status

    mark = f"{render.MARKS.get(each.status, '·')} {brief_status(each.status, each.reason)}"
    begun = each.started_at.isoformat() if each.started_at else ""
    ended = each.ended_at.isoformat() if each.ended_at else ""
    return [
        each.id,
        (mark, render.STYLES.get(each.status, "")),
        clock(each.created_at.isoformat()),
        took(begun, ended) if begun else "",
        str(each.version or ""),
        (each.origin, "dim"),
    ]


def told_event(each: Any, *, json: bool) -> None:
    """One event of an execution's history."""
    if json:
        render.write_json(each.to_dict(), indent=None)
        return
    event = each.event
    at = datetime.fromisoformat(event.at).astimezone().strftime("%H:%M:%S")
    more = event.data.get("error") or {}
    said = more.get("message") or event.data.get("cause") or event.data.get("text") or ""
    render.say((f"{each.seq:>5} {at} ", "dim"), f"{event.kind:<14} ", (event.step, "cyan"), f"  {said}"[:160])


def code(execution: Execution) -> int:
    """The exit code that says how an execution stands."""
    codes = {"failed": exits.FAILED, "cancelled": exits.CANCELLED, "paused": exits.RESTS}
    return codes.get(execution.status, exits.DONE)
