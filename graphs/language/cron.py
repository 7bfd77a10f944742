"""Cron lines: which there are, and the minutes of a wall clock that they name; time zones come later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from cronsim import CronSim, CronSimError

SHORT: Final[Mapping[str, str]] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
LONGEST: Final = 256
_FROM: Final = datetime(2000, 1, 1)
_RANGES: Final[Mapping[str, str]] = {
    "minute": "minutes are 0 to 59",
    "hour": "hours are 0 to 23",
    "day-of-month": "days of the month are 1 to 31, L for the last and LW for the last weekday, in months that have them",
    "month": "months are 1 to 12 or JAN to DEC",
    "day-of-week": "days of the week are 0 to 7 or SUN to SAT, with 5L for the last Friday and 1#2 for the second Monday",
}


class CronError(ValueError):
    """A line that is no cron line; ``hint`` says what to write."""

    def __init__(self, message: str, hint: str) -> None:
        self.hint = hint
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """A cron line that names at least one minute of the next fifty years.

    ``at_times`` tells that it names times of the day rather than a rhythm: neither its minutes nor its hours begin with ``*``.
    """

    line: str
    at_times: bool

    def walls(self, after: datetime) -> Iterator[datetime]:
        """The minutes of a wall clock that it names, later than the naive ``after``, in order."""
        sim = CronSim(self.line, after)
        while (found := next(sim, None)) is not None:
            yield found


@lru_cache(maxsize=1024)
def read_cron(line: str) -> Cron:
    """The cron line of five fields, or of a word such as ``@daily``.

    Raises:
        CronError: it is none, or names no day that there is.
    """
    text = " ".join(line.split()) if len(line) <= LONGEST else ""
    if text.startswith("@"):
        text = SHORT.get(text.lower(), "")
    fields = text.split(" ")
    if len(fields) != 5:
        what = f"{line[:60]!r} is no cron line of five fields"
        raise CronError(what, f"write minute hour day month weekday, or one of {', '.join(SHORT)}")
    try:
        CronSim(text, _FROM)
    except (CronSimError, ValueError) as err:
        wrong = str(err).removeprefix("Bad ")
        if wrong == "day-of-month" and _reads(fields, day="1"):
            raise _never(line) from err
        raise CronError(f"The {wrong} of {line[:60]!r} is wrong", _RANGES.get(wrong, "see crontab(5)")) from err
    cron = Cron(line=text, at_times=not fields[0].startswith("*") and not fields[1].startswith("*"))
    if next(cron.walls(_FROM), None) is None:
        raise _never(line)
    return cron


def _reads(fields: list[str], *, day: str) -> bool:
    """Whether only the day stands in the way: it is none of the months named, and would be one of another month."""
    try:
        CronSim(" ".join([*fields[:2], day, *fields[3:]]), _FROM)
        CronSim(" ".join([*fields[:3], "*", fields[4]]), _FROM)
    except (CronSimError, ValueError):
        return False
    return True


def _never(line: str) -> CronError:
    return CronError(f"{line[:60]!r} never fires: no year has such a day", "name a day that the month has")
