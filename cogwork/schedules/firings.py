"""When a schedule fires: a pure function of its definition and time, daylight-saving changes included.

A cron line that names times of the day fires once per day and time: a time that the clock leaves out fires at the first instant
after the gap, one that the clock shows twice at the first of the two. A cron line whose minutes or hours begin with ``*`` is a
rhythm: it fires in each minute in which the clock shows what it names, in both passes of a repeated hour. An interval does not
know of clocks.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from cogwork.errors import EngineError
from cogwork.records.columns import EPOCH
from graphs.language.cron import Cron, read_cron
from graphs.language.trigger_faults import wrong_with
from graphs.language.triggers import Schedule, read_instant, seconds

MOST: Final = 10_000
"""Firings that one call of ``firings`` lists."""
_SECOND: Final = timedelta(seconds=1)
_LOOKED_AT: Final = tuple(timedelta(hours=hours) for hours in (0, 1, 2, 3, 6, 12, 24))
_SPAN: Final = timedelta(minutes=10)


def checked(definition: Schedule) -> Schedule:
    """The definition itself.

    Raises:
        EngineError: ``invalid_input``; what is wrong with it, and what to do.
    """
    if wrong := wrong_with(definition):
        told = "; ".join(f"{each.message} ({each.hint})" for each in wrong)
        raise EngineError("invalid_input", f"The schedule cannot be used: {told}", fields=[w.field for w in wrong])
    return definition


def firings(
    definition: Schedule, after: datetime, until: datetime, *, shift: timedelta = timedelta(0), most: int = MOST
) -> list[datetime]:
    """The instants in UTC, later than ``after`` and no later than ``until``, at which it fires; at most the first ``most``.

    ``shift`` is the schedule's own part of the jitter (``shift_of``).

    Raises:
        EngineError: ``invalid_input``; the definition cannot be used.
    """
    return list(islice(_between(checked(definition), after, until, shift), most))


def next_firing(definition: Schedule, after: datetime, *, shift: timedelta = timedelta(0)) -> datetime | None:
    """The first firing later than ``after``; None where none will be."""
    return next(_between(checked(definition), after, None, shift), None)


def last_firings(
    definition: Schedule, after: datetime, until: datetime, most: int, *, shift: timedelta = timedelta(0)
) -> list[datetime]:
    """As ``firings``, but of more than ``most`` the last ones: found without listing those before."""
    span = _SPAN if definition.every is None else seconds(definition.every) * (most + 1)
    checked(definition)
    while True:
        low = max(after, until - span)
        found = deque(_between(definition, low, until, shift), maxlen=most)
        if len(found) == most or low <= after:
            return list(found)
        span *= 4


def shift_of(schedule_id: str, definition: Schedule) -> timedelta:
    """How much later than its definition says a schedule fires: always the same, from 0 up to its jitter."""
    if definition.jitter is None:
        return timedelta(0)
    drawn = int.from_bytes(hashlib.sha256(schedule_id.encode()).digest()[:8])
    return drawn % max(1, int(definition.jitter)) * _SECOND


def firing_id(schedule_id: str, due: datetime, shift: timedelta = timedelta(0)) -> str:
    """The id of the firing that is due then: of the schedule and the instant that its definition names."""
    at = (due - shift).astimezone(UTC)
    fraction = f".{at.microsecond:06}" if at.microsecond else ""
    return f"fire-{schedule_id}-{at:%Y%m%dT%H%M%S}{fraction}Z"


def _between(definition: Schedule, after: datetime, until: datetime | None, shift: timedelta) -> Iterator[datetime]:
    timezone = ZoneInfo(definition.timezone)
    start = read_instant(definition.start, timezone) if definition.start is not None else None
    end = read_instant(definition.end, timezone) if definition.end is not None else None
    low = after.astimezone(UTC) - shift
    if start is not None:
        low = max(low, start - timedelta(microseconds=1))
    for found in _unshifted(definition, start or EPOCH, low, timezone):
        if (end is not None and found > end) or (until is not None and found + shift > until):
            return
        yield found + shift


def _unshifted(definition: Schedule, anchor: datetime, after: datetime, timezone: ZoneInfo) -> Iterator[datetime]:
    if definition.every is not None:
        step = seconds(definition.every)
        following = anchor + ((after - anchor) // step + 1) * step
        while True:
            yield following
            following += step
    assert definition.cron is not None
    yield from _of_cron(read_cron(definition.cron), after, timezone)


def _of_cron(cron: Cron, after: datetime, timezone: ZoneInfo) -> Iterator[datetime]:
    """The instants of the walls in order: where the clock goes back, later walls come before earlier ones."""
    waiting: list[datetime] = []
    last = after
    for wall in cron.walls(_earliest_wall(after, timezone)):
        first, second = (_instant(wall, fold, timezone) for fold in (0, 1))
        for found in _meant(cron, wall, first, second, timezone):
            heapq.heappush(waiting, found)
        # No later wall stands for an earlier instant than this one does.
        while waiting and waiting[0] <= min(first, second):
            if (found := heapq.heappop(waiting)) > last:
                last = found
                yield found
    for found in sorted(waiting):
        if found > last:
            last = found
            yield found


def _earliest_wall(after: datetime, timezone: ZoneInfo) -> datetime:
    """The earliest that the clock will show after that instant, should it go back soon."""
    offsets = [(after + ahead).astimezone(timezone).utcoffset() or timedelta(0) for ahead in _LOOKED_AT]
    return (after + min(offsets)).replace(tzinfo=None)


def _instant(wall: datetime, fold: int, timezone: ZoneInfo) -> datetime:
    return wall.replace(tzinfo=timezone, fold=fold).astimezone(UTC)


def _meant(cron: Cron, wall: datetime, first: datetime, second: datetime, timezone: ZoneInfo) -> tuple[datetime, ...]:
    if first == second:
        return (first,)
    if first < second:
        return (first,) if cron.at_times else (first, second)
    return (_gap_end(second, first, timezone),) if cron.at_times else ()


def _gap_end(before: datetime, behind: datetime, timezone: ZoneInfo) -> datetime:
    """The first instant after the change of the clock that lies between the two."""
    old = before.astimezone(timezone).utcoffset()
    while behind - before > _SECOND:
        middle = (before + (behind - before) / 2).replace(microsecond=0)
        if middle.astimezone(timezone).utcoffset() == old:
            before = middle
        else:
            behind = middle
    return behind
