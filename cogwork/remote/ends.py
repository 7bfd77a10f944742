"""The last event of a stretch that was worked on elsewhere: an end, a rest, a refusal, or a doubt that a person is asked about."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cogwork.remote.answers import RemoteStatus
from cogwork.remote.instance import Refused
from cogwork.remote.rows import Remote
from graphs.keeping import SHUTDOWN
from state.durable import Request
from state.errors import Fault, FaultClass
from state.events import Event, EventKind
from state.values import Json

DECISIONS: Final = ("wait", "elsewhere", "give_up")


def ended(row: Remote, status: RemoteStatus, output: Json, asked: Request | None) -> Event:
    """The end that the execution has come to; one that was cancelled for want of time has failed."""
    used: dict[str, Json] = {"usage": status.usage} if status.usage else {}
    if status.status == "completed":
        return event(row, "run.completed", output=output, **used)
    error: dict[str, Json] = status.error or fault("internal", f"It {status.status} there, and nobody says why")
    if status.status == "cancelled" and asked is not None and asked.fault == "timeout":
        return event(row, "run.failed", error=fault("timeout", asked.reason or "its time is up"), **used)
    return event(row, "run.failed" if status.status == "failed" else "run.cancelled", error=error, **used)


def resting(row: Remote, status: RemoteStatus) -> Event:
    """The rest that the execution has come to, with what it asks."""
    used: dict[str, Json] = {"usage": status.usage} if status.usage else {}
    questions: list[Json] = [question.told() for question in status.questions]
    return event(row, "run.paused", reason=status.reason or "requested", questions=questions, **used)


def handed_on(row: Remote) -> Event:
    """Whoever mirrors the execution stops, and another one goes on."""
    return event(row, "run.paused", reason=SHUTDOWN, questions=[])


def unbegun(row: Remote, asked: Request) -> Event:
    """What was asked of the execution before any instance had begun it."""
    if asked.kind == "pause":
        return (
            handed_on(row) if asked.reason == SHUTDOWN else event(row, "run.paused", reason="requested", questions=[])
        )
    return given_up(row, asked, f"no instance had begun it: {asked.reason or 'it was cancelled'}")


def given_up(row: Remote, asked: Request, message: str, **details: Json) -> Event:
    """The end of an execution that somebody has asked to end, without its instance."""
    timed_out = asked.fault == "timeout"
    error = fault("timeout" if timed_out else "cancelled", message, **details)
    return event(row, "run.failed" if timed_out else "run.cancelled", error=error)


def nowhere(row: Remote, troubles: Mapping[str, Refused | Fault]) -> Event:
    """No instance has taken it; nothing has begun."""
    told = "; ".join(f"{name}: {_said(trouble)}" for name, trouble in troubles.items()) or "there is none that may"
    refusals = [trouble for trouble in troubles.values() if isinstance(trouble, Refused)]
    known: dict[int, FaultClass] = {
        401: "permission_denied",
        403: "permission_denied",
        404: "invalid_input",
        422: "invalid_input",
    }
    fault_class: FaultClass = "unavailable"
    if len(refusals) == len(troubles) and refusals:
        fault_class = known.get(refusals[0].status, "refused")
    return event(row, "run.failed", error=fault(fault_class, f"No instance has begun it: {told}", begun=False))


def forgotten(row: Remote, why: Refused) -> Event:
    """Its instance does not know the execution any more."""
    message = f"The instance {row.instance} has no execution {row.remote_id} any more: {why.message}"
    return event(row, "run.failed", error=fault("internal", message, instance=row.instance, execution_id=row.remote_id))


def in_doubt(row: Remote, trouble: Exception, seconds: float) -> Event:
    """Nobody knows how it stands, and it is not begun again by itself: a person decides, or its instance comes back."""
    writes = (
        "it may change something, so it is not begun again by itself" if row.writes else "it begins again on request"
    )
    begun = f"has execution {row.remote_id}" if row.state == "begun" else "may have begun it"
    question: dict[str, Json] = {
        "at": place(row),
        "kind": "in_doubt",
        "ask": f"The instance {row.instance} {begun}, and has not answered for {seconds:g} s; {writes}. What now?",
        "show": {"instance": row.instance, "execution_id": row.remote_id or None, "trouble": str(trouble)[:1_000]},
        "form": {
            "type": "object",
            "properties": {
                "decision": {
                    "enum": [*DECISIONS],
                    "description": "wait for it; begin again on another instance; or give up. It goes on by itself once the "
                    "instance answers.",
                }
            },
            "required": ["decision"],
            "additionalProperties": False,
        },
    }
    return event(row, "run.paused", reason="in_doubt", questions=[question])


def abandoned(row: Remote) -> Event:
    """A person has given up an execution of which nobody knows how it stands."""
    message = f"It was given up while nobody knew how it stands on the instance {row.instance}"
    return event(
        row, "run.failed", error=fault("unavailable", message, instance=row.instance, execution_id=row.remote_id)
    )


def place(row: Remote) -> str:
    """Where a doubt about the row asks: an answer to it means this instance, and no later one."""
    return f"instance:{row.instance}:{row.moves}"


def event(row: Remote, kind: EventKind, **data: Json) -> Event:
    """An event of the execution's run."""
    return Event(kind=kind, run=row.key, at=datetime.now(UTC).isoformat(), data=data)


def fault(fault_class: FaultClass, message: str, **details: Json) -> dict[str, Any]:
    """An error as it is recorded."""
    return Fault(fault_class, message, origin="workflow", details=details or None).record(node="")


def _said(trouble: Refused | Fault) -> str:
    if isinstance(trouble, Fault):
        return trouble.message
    return f"{trouble.status} {trouble.code}".strip() + f", {trouble.message}"
