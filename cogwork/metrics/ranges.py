"""The time that figures are of: ``last_7_days``, ``today``, or two instants."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final, TypeAlias

from cogwork.errors import EngineError
from state.values import Json

UNITS: Final = {"minutes": timedelta(minutes=1), "hours": timedelta(hours=1), "days": timedelta(days=1)}
LONGEST: Final = timedelta(days=3660)
_NAMED: Final = re.compile(r"last_([0-9]{1,9})_(minute|hour|day)s?")
_EXAMPLES: Final = ("last_30_minutes", "last_24_hours", "last_7_days", "last_30_days", "today")
_TICK: Final = timedelta(microseconds=1)

Moment: TypeAlias = str | date | datetime
"""ISO 8601, or a date or instant; one without a time zone is taken as UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRange:
    """From ``start``, up to but not including ``end``; both aware. ``note`` says what had to be assumed."""

    start: datetime
    end: datetime
    name: str = ""
    note: str = ""

    @classmethod
    def of(
        cls, given: TimeRange | str | Sequence[Moment], now: datetime, zone: tzinfo = UTC, what: str = "time_range"
    ) -> TimeRange:
        """The range that ``given`` means at the moment ``now``: ``last_N_minutes``, ``last_N_hours``, ``last_N_days``,
        ``today`` in ``zone``, ``START/END``, or a pair of instants. Named ones end with ``now`` and include it.

        Raises:
            EngineError: ``invalid_input``.
        """
        if isinstance(given, TimeRange):
            return given
        if isinstance(given, str) and "/" not in given:
            return _named(given.strip(), now, zone, what)
        pair = given.split("/") if isinstance(given, str) else given
        if not isinstance(pair, Sequence) or len(pair) != 2:
            raise _refused(given, what, "give a name such as last_7_days, or two instants")
        return _between(pair[0], pair[1], what)

    def to_dict(self) -> dict[str, Json]:
        """As plain JSON: ``from``, ``to``, and ``name`` and ``note`` where there are any."""
        told: dict[str, Json] = {"from": self.start.isoformat(), "to": self.end.isoformat()}
        return told | {key: text for key, text in (("name", self.name), ("note", self.note)) if text}


def _named(name: str, now: datetime, zone: tzinfo, what: str) -> TimeRange:
    end = now + _TICK
    if name == "today":
        midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        return TimeRange(start=midnight.astimezone(UTC), end=end, name=name)
    found = _NAMED.fullmatch(name)
    if found is None:
        raise _refused(name, what, _suggestion(name))
    number, unit = int(found[1]), UNITS[f"{found[2]}s"]
    if not timedelta(0) < number * unit <= LONGEST:
        raise _refused(name, what, f"it must be at least one of its unit, and at most {LONGEST.days} days")
    return TimeRange(start=now - number * unit, end=end, name=name)


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name, _EXAMPLES, 1, 0.6)
    usual = "there are last_N_minutes, last_N_hours, last_N_days, today, and two instants START/END"
    return f"did you mean {close[0]}? {usual}" if close else usual


def _between(first: Moment, last: Moment, what: str) -> TimeRange:
    (start, plain_start), (end, plain_end) = _moment(first, what), _moment(last, what)
    if start >= end:
        raise _refused(f"{start.isoformat()}/{end.isoformat()}", what, "its start must be before its end")
    naive = plain_start or plain_end
    return TimeRange(start=start, end=end, note="instants without a time zone are taken as UTC" if naive else "")


def _moment(given: Moment, what: str) -> tuple[datetime, bool]:
    """The instant in UTC, and whether it came without a time zone."""
    try:
        read = datetime.fromisoformat(given.strip()) if isinstance(given, str) else given
        if isinstance(read, date) and not isinstance(read, datetime):
            read = datetime(read.year, read.month, read.day)
        if not isinstance(read, datetime):
            raise TypeError
        naive = read.tzinfo is None
        return (read.replace(tzinfo=UTC) if naive else read.astimezone(UTC)), naive
    except (TypeError, ValueError, OverflowError) as err:
        hint = "write instants as ISO 8601: 2026-11-01T08:00:00+01:00, or 2026-11-01"
        raise _refused(given, what, hint) from err


def _refused(given: object, what: str, hint: str) -> EngineError:
    return EngineError(
        "invalid_input",
        f"{what} is {str(given)[:100]!r}: {hint}",
        field=what,
        value=str(given)[:100],
        suggestions=list(_EXAMPLES),
    )
