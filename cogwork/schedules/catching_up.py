"""What is done about the firings of a schedule that are due: which fire, which were missed and are not made up for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cogwork.schedules.firings import firings, last_firings
from graphs.language.triggers import Schedule, seconds

AT_ONCE: Final = 1000
"""Firings that are on time together, at most; an interval of a second and a long grace could name more."""
_TICK: Final = timedelta(microseconds=1)
SHOWN: Final = 100
"""Missed firings that are recorded one by one; earlier ones share a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The firings in a stretch of time: those that fire, those that were missed, and the stretch of further missed ones."""

    fire: tuple[datetime, ...] = ()
    missed: tuple[datetime, ...] = ()
    earlier: tuple[datetime, datetime] | None = None


def due(definition: Schedule, after: datetime, now: datetime, shift: timedelta = timedelta(0)) -> Due:
    """What of the firings in (after, now] fires; ``earlier`` tells of the first and the last of those that are not listed."""
    most = AT_ONCE + definition.max_catch_up
    found = last_firings(definition, after, now, most, shift=shift)
    if not found:
        return Due()
    on_time = [at for at in found if now - at <= seconds(definition.grace)]
    late = found[: len(found) - len(on_time)]
    made_up = _made_up(definition, [at for at in late if now - at <= seconds(definition.within)], bool(on_time))
    missed = [at for at in late if at not in made_up][-SHOWN:]
    fire = [*made_up, *on_time]
    return Due(
        fire=tuple(fire), missed=tuple(missed), earlier=_earlier(definition, after, [*missed, *fire][0] - _TICK, shift)
    )


def _earlier(
    definition: Schedule, after: datetime, until: datetime, shift: timedelta
) -> tuple[datetime, datetime] | None:
    first = firings(definition, after, until, shift=shift, most=1)
    return (first[0], last_firings(definition, after, until, 1, shift=shift)[0]) if first else None


def _made_up(definition: Schedule, late: list[datetime], fires_anyway: bool) -> list[datetime]:
    match definition.catch_up:
        case "none":
            return []
        case "latest":
            return [] if fires_anyway else late[-1:]
        case "all":
            return late[-definition.max_catch_up :]
