"""When schedules fire: held against a clock that is looked at every minute, over years and changes of the clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogwork.errors import EngineError
from cogwork.schedules.catching_up import SHOWN, due
from cogwork.schedules.firings import firing_id, firings, last_firings, next_firing, shift_of
from graphs.language.triggers import Schedule

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC")
MORE = ("America/Santiago", "Africa/Cairo", "Antarctica/Troll", "Pacific/Apia", "Africa/Casablanca", "America/St_Johns")
MINUTE = timedelta(minutes=1)
YEAR = datetime(2025, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def shown(found: list[datetime], zone: str) -> list[str]:
    return [each.astimezone(ZoneInfo(zone)).strftime("%d %H:%M%z") for each in found]


def every_minute(field: str, low: int, high: int) -> set[int]:
    """A cron field, read naively."""
    named: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin, end = (low, high) if span == "*" else (int(first), int(last or (high if step else first)))
        named |= set(range(begin, end + 1, int(step or 1)))
    return named


def walk(zone: str, after: datetime, until: datetime) -> Iterator[tuple[datetime, list[datetime], datetime]]:
    """Every minute with what the clock shows, and what of it, gaps included, it has not shown before."""
    timezone = ZoneInfo(zone)
    now = (after - timedelta(hours=30)).replace(second=0, microsecond=0)
    high = before = now.astimezone(timezone).replace(tzinfo=None)
    while (now := now + MINUTE) <= until:
        wall = now.astimezone(timezone).replace(tzinfo=None)
        new = [wall - k * MINUTE for k in reversed(range((wall - before) // MINUTE))] if wall > before else [wall]
        new = [each for each in new if each > high]
        high, before = max(high, wall), wall
        if now > after:
            yield now, new, wall


def by_looking(line: str, walked: Iterable[tuple[datetime, list[datetime], datetime]]) -> list[datetime]:
    """What the rule says, by a walk over all minutes: no search, no arithmetic on clocks but the reading of one."""
    fields = line.split()
    minutes, hours, days, months, weekdays = (
        every_minute(f, *r) for f, r in zip(fields, ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7)), strict=True)
    )
    both = fields[2].startswith("*") or fields[4].startswith("*")
    at_times = not fields[0].startswith("*") and not fields[1].startswith("*")

    def named(wall: datetime) -> bool:
        if wall.minute not in minutes or wall.hour not in hours or wall.month not in months:
            return False
        weekday = wall.isoweekday()
        day, of_week = wall.day in days, weekday in weekdays or weekday % 7 in weekdays
        return (day and of_week) if both else (day or of_week)

    return [now for now, new, wall in walked if any(map(named, new if at_times else [wall]))]


@cache
def year_of(zone: str) -> list[tuple[datetime, list[datetime], datetime]]:
    return list(walk(zone, YEAR, YEAR + timedelta(days=365)))


MINUTES = st.sampled_from(("*", "*/15", "*/7", "0", "30", "5,45", "10-20", "*/30", "0/20", "15"))
HOURS = st.sampled_from(("*", "*/2", "*/3", "0", "2", "1-3", "0,2", "2/5", "23", "3"))
DAYS = st.sampled_from(("*", "1", "*/2", "25-31", "29", "1,15"))
MONTHS = st.sampled_from(("*", "3", "10-11", "*/3", "4,9"))
WEEKDAYS = st.sampled_from(("*", "0", "7", "1-5", "*/2", "6,0"))
LINES = st.tuples(MINUTES, HOURS, DAYS, MONTHS, WEEKDAYS).map(" ".join)


@pytest.mark.req("R5", "M10")
@settings(max_examples=40, deadline=None)
@given(LINES, st.sampled_from((*ZONES, *MORE)), st.integers(0, 364 * 1440), st.integers(1, 30))
def test_a_cron_line_fires_when_a_clock_that_is_looked_at_each_minute_says_so(
    line: str, zone: str, minute: int, days: int
) -> None:
    after = YEAR + minute * MINUTE
    until = after + timedelta(days=days)
    assert firings(Schedule(cron=line, timezone=zone), after, until, most=60_000) == by_looking(
        line, walk(zone, after, until)
    )


CHANGES = {
    "Europe/Berlin": ("2025-03-30T01:00Z", "2025-10-26T01:00Z"),
    "America/New_York": ("2025-03-09T07:00Z", "2025-11-02T06:00Z"),
    "Australia/Lord_Howe": ("2025-10-04T15:30Z", "2025-04-05T15:00Z"),
    "America/Santiago": ("2025-09-07T04:00Z", "2025-04-06T03:00Z"),
    "Africa/Cairo": ("2025-04-24T22:00Z", "2025-10-30T21:00Z"),
    "Antarctica/Troll": ("2025-03-30T01:00Z", "2025-10-26T01:00Z"),
}


@settings(max_examples=150, deadline=None)
@given(LINES, st.sampled_from(sorted(CHANGES)), st.sampled_from((0, 1)), st.integers(-360, 360), st.integers(1, 720))
def test_around_a_change_of_the_clock_no_firing_is_missed_or_doubled(
    line: str, zone: str, which: int, minutes: int, length: int
) -> None:
    fields = line.split()
    line = " ".join([*fields[:2], "*", "*", fields[4]])
    after = at(CHANGES[zone][which]) + minutes * MINUTE
    until = after + length * MINUTE
    assert firings(Schedule(cron=line, timezone=zone), after, until) == by_looking(line, walk(zone, after, until))


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize("line", ["*/20 * * * *", "5,45 * * * *", "30 0-4 * * *"])
def test_wherever_in_a_change_of_the_clock_one_begins_the_same_firings_follow(line: str, zone: str) -> None:
    for change in CHANGES[zone]:
        for minutes in range(-150, 151, 10):
            after = at(change) + minutes * MINUTE
            until = after + timedelta(hours=4)
            assert firings(Schedule(cron=line, timezone=zone), after, until) == by_looking(
                line, walk(zone, after, until)
            )


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("line", ["30 2 * * *", "*/20 * * * *", "0 */2 * * *", "15 1-3 * * *", "0 0 * * 0"])
def test_over_a_whole_year_a_line_fires_as_the_clock_shows(line: str, zone: str) -> None:
    found = firings(Schedule(cron=line, timezone=zone), YEAR, YEAR + timedelta(days=365), most=60_000)
    assert found == by_looking(line, year_of(zone))
    if line == "30 2 * * *":
        days = [each.astimezone(ZoneInfo(zone)).date() for each in found]
        assert len(days) == len(set(days)) and all(b - a == timedelta(days=1) for a, b in pairwise(days))


@pytest.mark.parametrize("zone", ZONES)
def test_a_year_in_pieces_has_the_firings_of_the_year_at_once(zone: str) -> None:
    schedule = Schedule(cron="*/25 1-3 * * *", timezone=zone)
    whole = firings(schedule, YEAR, YEAR + timedelta(days=365))
    pieces, now = [], YEAR
    while now < YEAR + timedelta(days=365):
        then = min(now + timedelta(minutes=1237), YEAR + timedelta(days=365))
        pieces += firings(schedule, now, then)
        now = then
    assert pieces == whole


def test_a_time_that_the_clock_leaves_out_fires_after_the_gap_and_one_shown_twice_fires_first() -> None:
    daily = Schedule(cron="30 2 * * *", timezone="Europe/Berlin")
    spring = firings(daily, at("2026-03-28T00:00Z"), at("2026-03-31T00:00Z"))
    assert shown(spring, "Europe/Berlin") == ["28 02:30+0100", "29 03:00+0200", "30 02:30+0200"]
    autumn = firings(daily, at("2026-10-24T00:00Z"), at("2026-10-27T00:00Z"))
    assert shown(autumn, "Europe/Berlin") == ["24 02:30+0200", "25 02:30+0200", "26 02:30+0100"]


def test_a_rhythm_follows_the_clock_through_a_gap_and_through_both_passes() -> None:
    half = Schedule(cron="*/30 2 * * *", timezone="Europe/Berlin")
    assert firings(half, at("2026-03-29T00:00Z"), at("2026-03-29T12:00Z")) == []
    both = firings(half, at("2026-10-25T00:00Z") - MINUTE, at("2026-10-25T12:00Z"))
    assert shown(both, "Europe/Berlin") == ["25 02:00+0200", "25 02:30+0200", "25 02:00+0100", "25 02:30+0100"]


def test_several_times_within_one_gap_fire_once() -> None:
    found = firings(
        Schedule(cron="0,30 2,3 * * *", timezone="Europe/Berlin"), at("2026-03-29T00:00Z"), at("2026-03-29T02:00Z")
    )
    assert shown(found, "Europe/Berlin") == ["29 03:00+0200", "29 03:30+0200"]


def test_half_an_hour_of_lord_howe_is_no_obstacle_to_full_hours() -> None:
    hours = Schedule(cron="0 */3 * * *", timezone="Australia/Lord_Howe")
    found = firings(hours, at("2025-10-04T14:00Z"), at("2025-10-04T20:00Z"))
    assert shown(found, "Australia/Lord_Howe") == ["05 03:00+1100", "05 06:00+1100"]


def test_an_interval_is_counted_from_its_start_and_ends_with_its_end() -> None:
    given = Schedule(every=5400, start="2026-11-01T08:00+01:00", end="2026-11-01T12:00+01:00")
    found = firings(given, at("2026-10-01T00:00Z"), at("2026-12-01T00:00Z"))
    assert [f"{each:%H:%M}" for each in found] == ["07:00", "08:30", "10:00"]
    free = firings(Schedule(every=3600), at("2026-11-01T08:59:59Z"), at("2026-11-01T10:00Z"))
    assert [f"{each:%H:%M}" for each in free] == ["09:00", "10:00"]


def test_what_has_just_fired_does_not_fire_again_and_the_last_instant_counts() -> None:
    given = Schedule(cron="0 9 * * *")
    nine = at("2026-11-01T09:00Z")
    assert firings(given, nine - timedelta(microseconds=1), nine) == [nine]
    assert firings(given, nine, nine + timedelta(hours=23)) == []


@pytest.mark.parametrize("word", ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"])
def test_the_words_of_cron_are_understood(word: str) -> None:
    found = next_firing(Schedule(cron=word), at("2026-11-03T10:30Z"))
    assert found is not None and found.minute == 0


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"cron": "0 0 30 2 *"}, "never fires"),
        ({"cron": "0 0 31 4,6,9,11 *"}, "never fires"),
        ({"cron": "61 * * * *"}, "minutes are 0 to 59"),
        ({"cron": "* * * *"}, "five fields"),
        ({"cron": "0 * * * * *"}, "five fields"),
        ({"cron": "@reboot"}, "@daily"),
        ({"cron": "* " * 500}, "five fields"),
        ({"cron": "9" * 200 + " * * * *"}, "minutes are 0 to 59"),
        ({"every": 0.5}, "at least 1s"),
        ({}, "either cron or every"),
        ({"every": 60, "cron": "@daily"}, "either cron or every"),
        ({"every": 60, "timezone": "Europe/Berln"}, "did you mean 'Europe/Berlin'"),
        ({"every": 60, "timezone": "../../etc/passwd"}, "no time zone"),
        ({"every": 60, "start": "soon"}, "no instant"),
        ({"every": 60, "start": "2026-11-02T00:00", "end": "2026-11-01T00:00"}, "exchange them"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_with_what_to_do(fields: dict[str, object], says: str) -> None:
    with pytest.raises(EngineError, match=says) as caught:
        firings(Schedule.model_validate(fields), YEAR, YEAR + timedelta(days=1))
    assert caught.value.code == "invalid_input"


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789*/,-#LWSUNMOFEBä²@ ", max_size=40))
def test_no_text_at_all_breaks_the_reader_of_cron_lines(line: str) -> None:
    try:
        next_firing(Schedule(cron=line), YEAR)
    except EngineError as err:
        assert err.code == "invalid_input"


@settings(max_examples=60, deadline=None)
@given(LINES, st.sampled_from(ZONES), st.integers(1, 50), st.integers(0, 200_000))
def test_the_last_firings_are_the_end_of_all(line: str, zone: str, most: int, minutes: int) -> None:
    schedule, until = Schedule(cron=line, timezone=zone), YEAR + timedelta(days=30)
    after = until - min(minutes, 40_000) * MINUTE
    assert last_firings(schedule, after, until, most) == firings(schedule, after, until, most=60_000)[-most:]


def test_jitter_moves_a_schedule_by_the_same_part_each_time_and_leaves_the_ids_alone() -> None:
    schedule = Schedule(cron="@hourly", jitter=600)
    shift = shift_of("sch-a", schedule)
    assert timedelta(0) <= shift < timedelta(minutes=10) and shift == shift_of("sch-a", schedule)
    assert len({shift_of(f"sch-{n}", schedule) for n in range(50)}) > 30
    found = firings(schedule, YEAR, YEAR + timedelta(hours=3), shift=shift)
    plain = firings(schedule, YEAR - MINUTE * 10, YEAR + timedelta(hours=3))
    assert [each - shift for each in found] == [each for each in plain if each + shift > YEAR][: len(found)]
    assert firing_id("sch-a", found[0], shift) == firing_id("sch-a", found[0] - shift)
    assert firing_id("sch-a", at("2026-03-29T01:00Z")) == "fire-sch-a-20260329T010000Z"


# -- catching up ---------------------------------------------------------------------------------------------------


def hours(*ago: int) -> tuple[datetime, ...]:
    return tuple(YEAR - timedelta(hours=each) for each in ago)


def test_what_was_missed_is_skipped_made_up_once_or_made_up_for_all() -> None:
    after, now = YEAR - timedelta(hours=3, minutes=30), YEAR + timedelta(minutes=30)
    none, latest, every = (
        due(Schedule(cron="@hourly", catch_up=policy), after, now) for policy in ("none", "latest", "all")
    )
    assert (none.fire, none.missed) == ((), hours(3, 2, 1, 0))
    assert (latest.fire, latest.missed) == (hours(0), hours(3, 2, 1))
    assert (every.fire, every.missed) == (hours(3, 2, 1, 0), ())
    assert none.earlier is latest.earlier is every.earlier is None


def test_a_firing_that_is_late_by_a_moment_was_not_missed_and_stands_for_those_before() -> None:
    after = YEAR - timedelta(hours=2, minutes=30)
    found = due(Schedule(cron="@hourly", catch_up="latest"), after, YEAR + timedelta(seconds=59))
    assert (found.fire, found.missed) == (hours(0), hours(2, 1))
    assert due(Schedule(cron="@hourly"), after, YEAR + timedelta(seconds=59)).fire == hours(0)


def test_catching_up_is_bounded_in_number_and_in_time() -> None:
    after, now = YEAR - timedelta(hours=100, minutes=30), YEAR + timedelta(minutes=30)
    few = due(Schedule(cron="@hourly", catch_up="all", max_catch_up=2, within=360_000), after, now)
    assert few.fire == hours(1, 0)
    recent = due(Schedule(cron="@hourly", catch_up="all", within=3 * 3600), after, now)
    assert recent.fire == hours(2, 1, 0)
    assert len(recent.missed) + len(recent.fire) == 101


def test_a_year_of_missed_seconds_is_told_in_one_row_and_found_at_once() -> None:
    found = due(Schedule(every=1, grace=1), YEAR - timedelta(days=365), YEAR)
    assert len(found.missed) == SHOWN and found.fire == (YEAR - timedelta(seconds=1), YEAR)
    assert found.earlier is not None
    assert found.earlier[0] == YEAR - timedelta(days=365) + timedelta(seconds=1)
    assert found.earlier[1] == found.missed[0] - timedelta(seconds=1)


@settings(max_examples=80, deadline=None)
@given(LINES, st.sampled_from(("none", "latest", "all")), st.integers(0, 60_000), st.integers(1, 40))
def test_every_firing_is_fired_missed_or_counted_among_the_earlier_ones(
    line: str, policy: str, minutes: int, most: int
) -> None:
    schedule = Schedule(cron=line, timezone="Europe/Berlin", catch_up=policy, max_catch_up=most)  # type: ignore[arg-type]
    after = YEAR - minutes * MINUTE
    whole = firings(schedule, after, YEAR, most=100_000)
    found = due(schedule, after, YEAR)
    told = [*found.missed, *found.fire]
    assert told == whole[len(whole) - len(told) :]
    left = whole[: len(whole) - len(told)]
    assert found.earlier == ((left[0], left[-1]) if left else None)
