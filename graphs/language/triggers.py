"""What starts a workflow by itself: schedules and events, as a spec or the engine declares them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeAlias
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Discriminator, Field, Tag

from nodes.base import Condition, Duration, Part
from state.values import Json

CatchUp: TypeAlias = Literal["none", "latest", "all"]
Overlap: TypeAlias = Literal["allow", "skip", "queue", "cancel_previous"]
Ending: TypeAlias = Literal["completed", "failed", "cancelled"]
_ENDINGS: Final[list[Ending]] = ["completed", "failed", "cancelled"]
_BOTH: Final[list[Literal["created", "changed"]]] = ["created", "changed"]


class Schedule(Part):
    """When a workflow is started: at the minutes of a cron line in a time zone, or every so often."""

    cron: str | None = Field(
        None, description="Minute hour day month weekday, or @daily, @hourly, …; in the time zone."
    )
    every: Duration | None = Field(None, description="At least 1s; counted from start, or else from 1970 in UTC.")
    start: str | None = Field(
        None, description="Nothing fires before: 2026-11-01T08:00, in the time zone or with its own."
    )
    end: str | None = Field(None, description="Nothing fires after.")
    timezone: str = Field("UTC", description="Such as Europe/Berlin.")
    jitter: Duration | None = Field(
        None, description="Fire later by a part of this, always the same one for a schedule."
    )
    catch_up: CatchUp = Field("none", description="Which of the firings that were missed are made up for.")
    max_catch_up: int = Field(100, ge=1, le=1000, description="With all: at most so many, the latest.")
    within: Duration = Field(86_400.0, description="What was missed longer ago is never made up for.")
    grace: Duration = Field(60.0, description="A firing that is late by no more than this was not missed.")
    overlap: Overlap = Field("allow", description="What happens while an execution of the schedule is still open.")


class Starting(Part):
    """What every trigger says of the execution that it starts."""

    description: str = ""
    input: dict[str, Json] | None = Field(
        None, description="The workflow's input, with expressions over event; without it, what the event carries."
    )
    options: dict[str, Json] = Field(
        default_factory=dict, description="Options of the execution, such as its priority."
    )


class Listening(Starting):
    """What every trigger says of the events that it takes."""

    when: Condition | None = Field(
        None, description="An expression over event; events for which it is false start nothing."
    )


class ScheduleTrigger(Schedule, Starting):
    """Start at given times."""

    type: Literal["schedule"] = "schedule"


class WebhookTrigger(Listening):
    """Start when a signed HTTP request comes in."""

    type: Literal["webhook"] = "webhook"
    secret: str = Field(description="What the sender signs with: secret://name.")
    header: str = Field("X-Signature-256", description="The header that holds the signature.")
    prefix: str = Field("", description="What stands before the signature in the header, such as sha256=.")
    encoding: Literal["hex", "base64"] = "hex"
    signed: str = Field("{body}", description="What is signed; with a timestamp, such as {timestamp}.{body}.")
    timestamp_header: str | None = Field(None, description="The header with the seconds since 1970 of the sending.")
    tolerance: Duration = Field(300.0, description="How far that may be from now.")
    delivery_header: str | None = Field(None, description="The header that tells deliveries apart; else the body does.")
    max_bytes: int = Field(1_048_576, ge=1, le=16_777_216, description="The largest body.")


class FileTrigger(Listening):
    """Start when a file appears or changes under a root."""

    type: Literal["file"] = "file"
    path: str = Field(description="A pattern under the roots, such as inbox/*.csv or inbox/**/*.csv.")
    on: list[Literal["created", "changed"]] = Field(default_factory=lambda: list(_BOTH), min_length=1)
    settled: Duration = Field(2.0, description="A file counts once it has not changed for so long.")
    every: Duration = Field(5.0, description="How often it is looked for.")
    existing: bool = Field(False, description="Whether files that are there at first count too.")


class PostgresTrigger(Listening):
    """Start when PostgreSQL notifies a channel."""

    type: Literal["postgres"] = "postgres"
    channel: str = Field(min_length=1, max_length=63, description="The channel of NOTIFY.")
    database: str | None = Field(
        None, description="secret://name of the database's address; else that of the settings."
    )


class WorkflowTrigger(Listening):
    """Start when an execution of another workflow ends."""

    type: Literal["workflow"] = "workflow"
    of: str = Field(min_length=1, description="The workflow whose executions are watched.")
    on: list[Ending] = Field(default_factory=lambda: list(_ENDINGS), min_length=1, description="How they ended.")
    every: Duration = Field(2.0, description="How often it is looked for.")


TRIGGERS: Final[Mapping[str, type[Starting]]] = {
    "schedule": ScheduleTrigger,
    "webhook": WebhookTrigger,
    "file": FileTrigger,
    "postgres": PostgresTrigger,
    "workflow": WorkflowTrigger,
}
TRIGGER_TYPES: Final = tuple(TRIGGERS)


def trigger_class(raw: Any) -> type[Starting] | None:
    """The class that a raw trigger is meant to be; None where its ``type`` tells nothing."""
    if isinstance(raw, Starting):
        return type(raw)
    kind = raw.get("type") if isinstance(raw, Mapping) else None
    return TRIGGERS.get(kind) if isinstance(kind, str) else None


def _tag(raw: Any) -> str:
    chosen = trigger_class(raw)
    return chosen.__name__ if chosen else "unknown"


EventTrigger: TypeAlias = WebhookTrigger | FileTrigger | PostgresTrigger | WorkflowTrigger
AnyTrigger: TypeAlias = Annotated[
    Annotated[ScheduleTrigger, Tag("ScheduleTrigger")]
    | Annotated[WebhookTrigger, Tag("WebhookTrigger")]
    | Annotated[FileTrigger, Tag("FileTrigger")]
    | Annotated[PostgresTrigger, Tag("PostgresTrigger")]
    | Annotated[WorkflowTrigger, Tag("WorkflowTrigger")],
    Discriminator(_tag),
]


def zone(name: str) -> ZoneInfo | None:
    """The time zone of that name; None where there is none."""
    return ZoneInfo(name) if name == "UTC" or name in zones() else None


@cache
def zones() -> frozenset[str]:
    """The names of all time zones; finding them reads a tree of folders."""
    return frozenset(available_timezones())


def read_instant(text: str, timezone: ZoneInfo) -> datetime:
    """The instant of an ISO 8601 text, to the second, in UTC; without an offset it is of that time zone.

    Raises:
        ValueError: it is none.
    """
    read = datetime.fromisoformat(text)
    aware = read if read.tzinfo is not None else read.replace(tzinfo=timezone)
    try:
        made = aware.astimezone(UTC).replace(microsecond=0)
    except OverflowError as err:
        raise ValueError("out of range") from err
    if not 1970 <= made.year <= 9000:
        raise ValueError("out of range")
    return made


def seconds(duration: float) -> timedelta:
    """A duration of a trigger, to the microsecond."""
    return timedelta(microseconds=round(duration * 1_000_000))
