"""What is too old at an instant, by the settings of retention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cogwork.sections import Retention


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The instants before which something is taken away; None where it stays for ever."""

    at: datetime
    executions: Mapping[str, datetime] = field(default_factory=dict)
    """By status, for the end of executions; statuses that are not here stay."""
    checkpoints: datetime | None = None
    events: datetime | None = None
    payloads: datetime
    sessions: datetime | None = None
    firings: datetime | None = None


def plan(retention: Retention, now: datetime) -> Plan:
    """What the settings mean now."""

    def before(seconds: float | None) -> datetime | None:
        return None if seconds is None else now - timedelta(seconds=seconds)

    statuses = {
        "completed": before(retention.completed),
        "failed": before(retention.failed),
        "cancelled": before(retention.cancelled),
    }
    return Plan(
        at=now,
        executions={status: instant for status, instant in statuses.items() if instant is not None},
        checkpoints=before(retention.checkpoints),
        events=before(retention.events),
        payloads=now - timedelta(seconds=retention.payloads),
        sessions=before(retention.sessions),
        firings=before(retention.firings),
    )
