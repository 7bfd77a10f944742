"""What is wrong with a trigger by itself: a cron line that never fires, an unknown time zone, a signature that proves nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Final
from zoneinfo import ZoneInfo

from graphs.language.cron import CronError, read_cron
from graphs.language.triggers import (
    FileTrigger,
    PostgresTrigger,
    Schedule,
    Starting,
    WebhookTrigger,
    read_instant,
    zone,
    zones,
)
from state.services import SECRET

_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")


@dataclass(frozen=True, slots=True)
class Wrong:
    """One fault of a trigger: the field, what is wrong, and what to do."""

    field: str
    message: str
    hint: str


def wrong_with(trigger: Schedule | Starting) -> list[Wrong]:
    """Every fault of the trigger's own fields; what it says of its input is another matter."""
    match trigger:
        case Schedule():
            return list(_schedule(trigger))
        case WebhookTrigger():
            return list(_webhook(trigger))
        case FileTrigger():
            return list(_file(trigger))
        case PostgresTrigger() if trigger.database is not None and not SECRET.fullmatch(trigger.database):
            return [_reference("database")]
        case _:
            return []


def _schedule(schedule: Schedule) -> Iterator[Wrong]:
    if (schedule.cron is None) == (schedule.every is None):
        field = "cron" if schedule.cron is not None else ""
        yield Wrong(field, "A schedule has either cron or every", "give one of them: cron: '0 2 * * *' or every: 1h")
    if schedule.cron is not None:
        try:
            read_cron(schedule.cron)
        except CronError as err:
            yield Wrong("cron", str(err), err.hint)
    if schedule.every is not None and schedule.every < 1:
        yield Wrong("every", "A schedule fires at most once per second", "give every at least 1s")
    found = zone(schedule.timezone)
    if found is None:
        close = get_close_matches(schedule.timezone[:64], zones(), 1)
        hint = f"did you mean {close[0]!r}?" if close else "name it as Europe/Berlin or UTC"
        yield Wrong("timezone", f"There is no time zone {schedule.timezone[:60]!r}", hint)
    yield from _bounds(schedule, found or ZoneInfo("UTC"))


def _bounds(schedule: Schedule, found: ZoneInfo) -> Iterator[Wrong]:
    read: dict[str, datetime] = {}
    for field, text in (("start", schedule.start), ("end", schedule.end)):
        if text is not None:
            try:
                read[field] = read_instant(text, found)
            except ValueError:
                hint = "write 2026-11-01T08:00, or with an offset 2026-11-01T08:00+01:00"
                yield Wrong(field, f"{text[:60]!r} is no instant", hint)
    if len(read) == 2 and read["end"] < read["start"]:
        yield Wrong("end", "The end is before the start, so nothing ever fires", "exchange them, or leave one out")


def _webhook(webhook: WebhookTrigger) -> Iterator[Wrong]:
    if not SECRET.fullmatch(webhook.secret):
        yield _reference("secret")
    for field in ("header", "timestamp_header", "delivery_header"):
        name = getattr(webhook, field)
        if name is not None and not _HEADER.fullmatch(name):
            yield Wrong(field, f"{name[:60]!r} is no name of a header", "write it as X-Signature-256")
    stamped = "{timestamp}" in webhook.signed
    rest = webhook.signed.replace("{timestamp}", "").replace("{body}", "", 1)
    if "{body}" not in webhook.signed or webhook.signed.count("{timestamp}") > 1 or "{" in rest or "}" in rest:
        yield Wrong("signed", "What is signed must hold the body once", "write '{body}' or '{timestamp}.{body}'")
    elif webhook.timestamp_header is not None and not stamped:
        hint = "write signed: '{timestamp}.{body}', or what the sender says"
        yield Wrong("signed", "A timestamp that is not signed proves nothing", hint)
    elif stamped and webhook.timestamp_header is None:
        yield Wrong("signed", "The timestamp that is signed has no header", "give timestamp_header")


def _file(file: FileTrigger) -> Iterator[Wrong]:
    path = PurePosixPath(file.path)
    if not file.path or path.is_absolute() or ".." in path.parts or "\0" in file.path or not path.parts:
        yield Wrong("path", f"{file.path[:60]!r} does not stay under a root", "write it as inbox/*.csv, without ..")
    elif any("**" in part and part != "**" for part in path.parts):
        yield Wrong("path", f"{file.path[:60]!r} is no pattern", "** stands alone between slashes: inbox/**/*.csv")


def _reference(field: str) -> Wrong:
    return Wrong(
        field,
        f"{field} is no reference to a secret",
        f"write {field}: secret://name, and give its value in the settings",
    )
