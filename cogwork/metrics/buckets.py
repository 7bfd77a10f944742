"""Hours and days of a time zone, as stretches between instants, and the expression by which a database sorts rows into them."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import sqlalchemy as sa

from cogwork.errors import EngineError
from cogwork.metrics.ranges import TimeRange
from cogwork.records.columns import EPOCH, instant, micros

By: TypeAlias = Literal["hour", "day"]
WIDTHS: Final = {"hour": 3_600_000_000, "day": 86_400_000_000}
MOST: Final = 5_000
"""Buckets of one answer."""
_STRETCH: Final = 1_000_000
"""Hours are told apart by the stretch of constant offset they belong to: the one that a change of the clock repeats is two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """An hour or day from ``start`` up to but not including ``end``, both in its zone; ``key`` is what the database calls it."""

    key: int
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A part of a range in which the zone's clock keeps its distance from UTC; all in microseconds."""

    start: int
    end: int
    offset: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """The hours or days of a range in a time zone; those at its edges are cut to it."""

    range: TimeRange
    by: By
    zone: tzinfo

    def buckets(self) -> list[Bucket]:
        """All of them in order, also those in which nothing happened."""
        found: dict[int, Bucket] = {}
        for index, stretch in enumerate(self._stretches()):
            for number in range(self._number(stretch.start, stretch), self._number(stretch.end - 1, stretch) + 1):
                key = self._key(index, number)
                start = max(stretch.start, number * self._width - stretch.offset)
                end = min(stretch.end, (number + 1) * self._width - stretch.offset)
                first = found[key].start if key in found else self._local(start)
                found[key] = Bucket(key=key, start=first, end=self._local(end))
        return list(found.values())

    def key(self, at: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """The key of the bucket that a column of instants falls into."""
        moment = sa.type_coerce(at, sa.BigInteger)
        keys = [
            (stretch.end, ((moment + stretch.offset) // self._width) + self._key(index, 0))
            for index, stretch in enumerate(self._stretches())
        ]
        *earlier, (_, last) = keys
        return sa.case(*((moment < end, key) for end, key in earlier), else_=last) if earlier else last

    @property
    def _width(self) -> int:
        return WIDTHS[self.by]

    def _number(self, at: int, stretch: _Stretch) -> int:
        return (at + stretch.offset) // self._width

    def _key(self, stretch: int, number: int) -> int:
        return (stretch * _STRETCH if self.by == "hour" else 0) + number

    def _local(self, at: int) -> datetime:
        return instant(at).astimezone(self.zone)

    def _stretches(self) -> list[_Stretch]:
        edges = [self.range.start, *_changes(self.range, self.zone), self.range.end]
        return [
            _Stretch(micros(start), micros(end), _offset(start, self.zone) // timedelta(microseconds=1))
            for start, end in itertools.pairwise(edges)
        ]


def calendar(range: TimeRange, by: str, zone: tzinfo) -> Calendar:
    """The hours or days of the range.

    Raises:
        EngineError: ``invalid_input``; there are too many, or it is another unit.
    """
    if by not in get_args(By):
        raise EngineError(
            "invalid_input", f"by is {by!r}: it must be hour or day", field="by", suggestions=["hour", "day"]
        )
    count = (range.end - range.start) / timedelta(microseconds=WIDTHS[by])
    if count > MOST or range.start < EPOCH + timedelta(days=1):
        hint = "ask by day" if by == "hour" and count / 24 <= MOST else "ask for a shorter range"
        message = f"The range holds {count:,.0f} {by}s, and at most {MOST:,} since 1970 are told one by one: {hint}"
        raise EngineError("invalid_input", message, field="time_range")
    return Calendar(range, "hour" if by == "hour" else "day", zone)


def time_zone(name: str | tzinfo) -> tzinfo:
    """The time zone of that IANA name; reads a file.

    Raises:
        EngineError: ``invalid_input``, with the nearest names.
    """
    if isinstance(name, tzinfo):
        return name
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as err:
        close = difflib.get_close_matches(name, available_timezones(), 3, 0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else "give an IANA name, such as Europe/Berlin"
        message = f"There is no time zone {name[:100]!r}: {hint}"
        raise EngineError("invalid_input", message, field="timezone", suggestions=list(close)) from err


def _offset(at: datetime, zone: tzinfo) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta(0)


def _changes(range: TimeRange, zone: tzinfo) -> Iterator[datetime]:
    """The instants within the range at which the zone's clock changes, to the second."""
    at, step = range.start, timedelta(hours=12)
    while at < range.end:
        following = min(at + step, range.end)
        if _offset(at, zone) != _offset(following, zone):
            change = _change(at, following, zone)
            if change < range.end:
                yield change
        at = following


def _change(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    old, second = _offset(before, zone), timedelta(seconds=1)
    low, high = before.replace(microsecond=0), after.replace(microsecond=0) + second
    while high - low > second:
        middle = low + ((high - low) // 2) // second * second
        low, high = (middle, high) if _offset(middle, zone) == old else (low, middle)
    return high
