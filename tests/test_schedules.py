"""Schedules as people and workers meet them, on both databases."""

from __future__ import annotations

import asyncio
import gc
import random
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cogwork.errors import EngineError
from cogwork.records.database import Records, opened
from cogwork.records.tables.schedules import FIRINGS, SCHEDULES
from cogwork.schedules.clockwork import Clockwork
from cogwork.schedules.firings import firing_id, firings, shift_of
from cogwork.schedules.from_spec import sync
from cogwork.schedules.rows import Firing, firing_by_id
from cogwork.schedules.starting import Starting
from cogwork.schedules.store import Schedules
from graphs.language.load import load
from graphs.language.triggers import Schedule
from tests.clusters import schema
from tests.starters import Clock, Died, FakeEngine

NOON = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def another(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Records]]:
    """Opens the records once more, as another process does."""
    if request.param == "sqlite":
        yield lambda: opened(tmp_path / "records.db", synchronous="NORMAL")
        return
    with schema() as url:
        yield lambda: opened("", url)


@pytest.fixture
def records(another: Callable[[], Records]) -> Iterator[Records]:
    with another() as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def engine(clock: Clock) -> FakeEngine:
    return FakeEngine(clock)


@pytest.fixture
def schedules(records: Records, engine: FakeEngine, clock: Clock) -> Schedules:
    return Schedules(records, engine, now=clock)


@pytest.fixture
def clockwork(records: Records, engine: FakeEngine, clock: Clock) -> Clockwork:
    return Clockwork(records, engine, now=clock)


async def outcomes(schedules: Schedules, name: str = "s") -> list[tuple[str, str]]:
    return [(f"{each.due_at:%H:%M:%S}", each.outcome) for each in reversed((await schedules.firings(name)).items)]


def rows_of(records: Records) -> int:
    return int(records.read(lambda c: c.execute(sa.select(sa.func.count()).select_from(FIRINGS)).scalar()) or 0)


# -- firing --------------------------------------------------------------------------------------------------------


@pytest.mark.req("R5", "M10")
async def test_a_schedule_starts_its_workflow_when_it_is_due_and_only_then(
    schedules: Schedules, clockwork: Clockwork, engine: FakeEngine, clock: Clock
) -> None:
    made = await schedules.create(
        "s",
        "report",
        {"cron": "*/5 * * * *"},
        version="prod",
        input={"due": "{{ event.due_at }}"},
        options={"priority": 3},
    )
    await clockwork.tick()
    assert engine.started == {}
    assert await clockwork.next_wake() == NOON + timedelta(minutes=5)
    clock.ahead(minutes=5)
    assert await clockwork.tick() == 1 and await clockwork.tick() == 0
    (key,) = engine.started
    assert key == f"fire-{made.id}-20261103T120500Z"
    started = engine.started[key]
    assert (started["workflow"], started["version"], started["options"]) == ("report", "prod", {"priority": 3})
    assert (started["input"], started["origin"]) == ({"due": "2026-11-03T12:05:00Z"}, f"schedule:{made.id}")
    (firing,) = (await schedules.firings("s")).items
    assert (firing.outcome, firing.execution_id, firing.attempt) == ("fired", f"exec-{key}", 1)


async def test_what_is_missing_or_wrong_is_told_with_what_to_do(schedules: Schedules) -> None:
    await schedules.create("nightly", "report", {"cron": "@daily"})
    with pytest.raises(EngineError, match="did you mean nightly") as caught:
        await schedules.get("nigthly")
    assert caught.value.code == "schedule_not_found"
    with pytest.raises(EngineError, match="already") as caught:
        await schedules.create("nightly", "report", {"cron": "@daily"})
    assert caught.value.code == "conflict"
    for definition in (
        {"cron": "0 0 30 2 *"},
        {"every": 0},
        {"every": -5},
        {"evry": 5},
        {"every": 5, "timezone": "X/Y"},
    ):
        with pytest.raises(EngineError) as caught:
            await schedules.create("other", "report", definition)
        assert caught.value.code == "invalid_input"
    with pytest.raises(EngineError, match="sees only event"):
        await schedules.create("other", "report", {"every": 5}, input={"x": "{{ input.y }}"})
    with pytest.raises(EngineError, match="there are workflow"):
        await schedules.update("nightly", name="other")
    for name in ("", " ", "x" * 300, "a\nb"):
        with pytest.raises(EngineError, match="printable"):
            await schedules.create(name, "report", {"every": 5})


async def test_schedules_are_listed_in_pages_and_found_by_workflow(schedules: Schedules, clock: Clock) -> None:
    for number in range(5):
        clock.ahead(seconds=1)
        await schedules.create(f"s{number}", "even" if number % 2 == 0 else "odd", {"every": 60})
    page = await schedules.list(limit=2)
    assert [each.name for each in page.items] == ["s4", "s3"]
    page = await schedules.list(limit=2, cursor=page.cursor)
    assert [each.name for each in page.items] == ["s2", "s1"]
    assert [each.name for each in (await schedules.list(workflow="odd")).items] == ["s3", "s1"]
    with pytest.raises(EngineError, match="other filters"):
        await schedules.list(workflow="odd", cursor=page.cursor)


async def test_a_disabled_schedule_rests_and_an_enabled_one_begins_with_now(
    schedules: Schedules, clockwork: Clockwork, engine: FakeEngine, clock: Clock
) -> None:
    await schedules.create("s", "report", {"every": 3600, "catch_up": "all"})
    await schedules.disable("s")
    assert await schedules.upcoming("s") == ()
    clock.ahead(hours=5, minutes=30)
    await clockwork.tick()
    assert engine.started == {} and await clockwork.next_wake() is None
    await schedules.enable("s")
    assert [f"{each:%H:%M}" for each in await schedules.upcoming("s", 3)] == ["18:00", "19:00", "20:00"]
    clock.ahead(minutes=30)
    await clockwork.tick()
    assert await outcomes(schedules) == [("18:00:00", "fired")]
    await schedules.delete("s")
    clock.ahead(hours=1)
    await clockwork.tick()
    assert len(engine.started) == 1


async def test_a_changed_schedule_fires_by_the_old_definition_up_to_the_change(
    schedules: Schedules, clockwork: Clockwork, engine: FakeEngine, clock: Clock
) -> None:
    await schedules.create("s", "report", {"cron": "@hourly"})
    clock.ahead(hours=1, seconds=10)
    await schedules.update("s", definition={"every": 600}, input={"n": 1})
    clock.ahead(minutes=20)
    await clockwork.tick()
    assert await outcomes(schedules) == [("13:00:00", "fired"), ("13:10:00", "skipped_catch_up"), ("13:20:00", "fired")]
    assert [each["input"] for each in engine.started.values()] == [{}, {"n": 1}]


async def test_run_now_fires_at_once_beside_what_is_open(
    schedules: Schedules, clockwork: Clockwork, engine: FakeEngine
) -> None:
    engine.lasts = timedelta(hours=1)
    await schedules.create("s", "report", {"every": 3600, "overlap": "skip"})
    one, two = await schedules.run_now("s"), await schedules.run_now("s")
    assert one.outcome == two.outcome == "fired" and one.id != two.id
    assert len(engine.started) == 2
    recorded = await Schedules(schedules._records, now=engine.now).run_now("s")
    assert recorded.outcome == "planned"
    await clockwork.tick()
    assert len(engine.started) == 3


# -- what was missed, and what overlaps ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "fired"), [("none", ["16:00"]), ("latest", ["16:00"]), ("all", ["13:00", "14:00", "15:00", "16:00"])]
)
async def test_after_a_rest_the_policy_says_what_is_made_up_for(
    policy: str, fired: list[str], schedules: Schedules, clockwork: Clockwork, clock: Clock
) -> None:
    await schedules.create("s", "report", {"cron": "@hourly", "catch_up": policy})
    clock.ahead(hours=4, seconds=5)
    await clockwork.tick()
    told = await outcomes(schedules)
    assert [at[:5] for at, outcome in told if outcome == "fired"] == fired
    assert len(told) == 4 and {outcome for _, outcome in told} <= {"fired", "skipped_catch_up"}


async def test_an_overlap_is_allowed_skipped_queued_or_ends_the_one_before(
    schedules: Schedules, clockwork: Clockwork, engine: FakeEngine, clock: Clock
) -> None:
    engine.lasts = timedelta(seconds=150)
    for policy in ("allow", "skip", "queue", "cancel_previous"):
        await schedules.create(policy, "report", {"every": 60, "overlap": policy, "end": "2026-11-03T12:04"})
    for _ in range(300):
        clock.ahead(seconds=5)
        await clockwork.tick()
    fired = {}
    for policy in ("allow", "skip", "queue", "cancel_previous"):
        origin = f"schedule:{(await schedules.get(policy)).id}"
        fired[policy] = [e for e in engine.started.values() if e["origin"] == origin]
    assert {policy: len(each) for policy, each in fired.items()} == {
        "allow": 4,
        "skip": 2,
        "queue": 4,
        "cancel_previous": 4,
    }
    starts = [each["at"] for each in fired["queue"]]
    assert all(later - earlier >= engine.lasts for earlier, later in pairwise(starts))
    assert [each["cancelled"] for each in fired["cancel_previous"]] == [True, True, True, False]
    assert [outcome for _, outcome in await outcomes(schedules, "skip")] == [
        *("fired", "skipped_overlap", "skipped_overlap", "fired")
    ]


# -- what fails ----------------------------------------------------------------------------------------------------


async def test_a_start_that_is_refused_is_a_failed_firing_with_the_reason(
    schedules: Schedules, clockwork: Clockwork, engine: FakeEngine, clock: Clock
) -> None:
    engine.refuses = lambda key: EngineError("invalid_input", "`n` is required")
    await schedules.create("s", "report", {"every": 60})
    clock.ahead(seconds=60)
    await clockwork.tick()
    (firing,) = (await schedules.firings("s")).items
    assert (firing.outcome, firing.detail, firing.attempt) == ("failed", "invalid_input: `n` is required", 1)


async def test_a_start_that_fails_is_tried_again_and_given_up_in_the_end(
    schedules: Schedules, clockwork: Clockwork, engine: FakeEngine, clock: Clock
) -> None:
    engine.refuses = lambda key: EngineError("database_error", "away") if len(engine.calls) < 3 else None
    await schedules.create("s", "report", {"every": 3600})
    clock.ahead(hours=1)
    for _ in range(6):
        await clockwork.tick()
        clock.ahead(seconds=5)
    assert await outcomes(schedules) == [("13:00:00", "fired")] and len(engine.calls) == 3
    await schedules.delete("s")
    engine.refuses = lambda key: RuntimeError("broken")
    await schedules.create("t", "report", {"every": 3600})
    clock.ahead(hours=1)
    for _ in range(12):
        await clockwork.tick()
        clock.at = max(clock(), await clockwork.next_wake() or clock())
    last = (await schedules.firings("t")).items[0]
    assert (last.outcome, last.detail, last.attempt) == ("failed", "RuntimeError: broken", 6)


async def test_a_schedule_that_is_stored_damaged_fails_alone(
    records: Records, schedules: Schedules, clockwork: Clockwork, engine: FakeEngine, clock: Clock
) -> None:
    for name in ("damaged", "sound"):
        await schedules.create(name, "report", {"every": 60})
    broken = sa.update(SCHEDULES).where(SCHEDULES.c.name == "damaged").values(definition={"cron": "0 0 30 2 *"})
    records.write(lambda connection: connection.execute(broken).rowcount)
    clock.ahead(seconds=60)
    await clockwork.tick()
    assert await outcomes(schedules, "sound") == [("12:01:00", "fired")]
    (told,) = (await schedules.firings("damaged")).items
    assert told.outcome == "failed" and "never fires" in told.detail


@pytest.mark.parametrize("where", ["before", "behind"])
@pytest.mark.parametrize("overlap", ["allow", "skip", "queue", "cancel_previous"])
async def test_a_worker_that_dies_at_a_start_is_followed_by_one_that_starts_it_once(
    where: str, overlap: str, records: Records, schedules: Schedules, engine: FakeEngine, clock: Clock
) -> None:
    engine.lasts = timedelta(hours=1)
    await schedules.create("s", "report", {"every": 3600, "overlap": overlap})
    clock.ahead(hours=1)
    engine.dies = lambda at: at == where
    with pytest.raises(Died):
        await Clockwork(records, engine, now=clock).tick()
    engine.dies = lambda at: False
    clock.ahead(seconds=61)
    await Clockwork(records, engine, now=clock).tick()
    assert await outcomes(schedules) == [("13:00:00", "fired")]
    ((_, started),) = engine.started.items()
    assert not started["cancelled"]


async def test_several_workers_that_take_over_from_a_dead_one_repeat_its_start_once(
    records: Records, schedules: Schedules, engine: FakeEngine, clock: Clock
) -> None:
    await schedules.create("s", "report", {"every": 3600})
    clock.ahead(hours=1)
    engine.dies = lambda at: at == "behind"
    with pytest.raises(Died):
        await Clockwork(records, engine, now=clock).tick()
    engine.dies = lambda at: False
    clock.ahead(seconds=61)
    await asyncio.gather(*(Clockwork(records, engine, now=clock).tick() for _ in range(4)))
    assert len(engine.calls) == 2 and len(engine.started) == 1


async def test_of_two_that_have_read_the_same_firing_one_takes_it(
    records: Records, schedules: Schedules, engine: FakeEngine, clock: Clock
) -> None:
    await schedules.create("s", "report", {"every": 3600})
    fire = (await Schedules(records, now=clock).run_now("s")).id
    row = records.read(lambda connection: firing_by_id(connection, fire))
    assert row is not None
    engine.refuses = lambda key: EngineError("database_error", "away")
    one, two = (Starting(records, engine, clock) for _ in range(2))
    # Both between their reading and their taking: no door from outside brings that about at will.
    assert [await one._take(row), await two._take(row)] == [True, False]
    assert len(engine.calls) == 1


@pytest.mark.parametrize("overlap", ["skip", "queue", "cancel_previous"])
async def test_a_firing_that_is_tried_again_is_not_overtaken_where_order_matters(
    overlap: str, schedules: Schedules, clockwork: Clockwork, engine: FakeEngine, clock: Clock
) -> None:
    engine.refuses = lambda key: EngineError("database_error", "away") if len(engine.calls) < 4 else None
    await schedules.create("s", "report", {"every": 10, "overlap": overlap, "end": "2026-11-03T12:01"})
    for _ in range(60):
        clock.ahead(seconds=2)
        await clockwork.tick()
    assert list(engine.started) == sorted(engine.started) and len(engine.started) == 6
    assert len(set(engine.calls[:4])) == 1


@pytest.mark.parametrize("workers", [2, 4])
async def test_workers_that_tick_at_once_start_each_firing_once(
    workers: int, records: Records, schedules: Schedules, engine: FakeEngine, clock: Clock
) -> None:
    for number in range(20):
        await schedules.create(f"s{number}", "report", {"every": 60 + number % 3, "overlap": "skip"})
    several = [Clockwork(records, engine, now=clock) for _ in range(workers)]
    for _ in range(10):
        clock.ahead(seconds=30)
        await asyncio.gather(*(each.tick() for each in several))
    assert len(engine.calls) == len(set(engine.calls)) > 80
    for number in range(20):
        told = await schedules.firings(f"s{number}")
        expected = firings(Schedule(every=60 + number % 3), NOON, clock())
        assert [each.due_at for each in reversed(told.items)] == expected
        assert {each.outcome for each in told} == {"fired"}


async def test_workers_of_several_processes_start_each_firing_once(
    another: Callable[[], Records], engine: FakeEngine, clock: Clock
) -> None:
    with another() as one, another() as two:
        for number in range(30):
            await Schedules(one, engine, now=clock).create(f"s{number}", "report", {"every": 60, "overlap": "skip"})
        for _ in range(4):
            clock.ahead(seconds=60)
            await asyncio.gather(*(Clockwork(each, engine, now=clock).tick() for each in (one, two)))
        assert len(engine.calls) == len(set(engine.calls)) == 120
        assert rows_of(one) == 120


# -- in specs ------------------------------------------------------------------------------------------------------


def spec(triggers: str, version: str = "1") -> Any:
    return load(
        f"cogwork: v1\nname: report\nversion: '{version}'\nnodes: {{a: {{type: transform, set: 1}}}}\n{triggers}"
    ).spec


async def test_the_schedules_of_the_published_version_are_the_ones_that_fire(
    records: Records, schedules: Schedules, clockwork: Clockwork, engine: FakeEngine, clock: Clock
) -> None:
    first = spec("triggers: {hourly: {type: schedule, every: 1h}, often: {type: schedule, every: 10m}}")
    second = spec("triggers: {hourly: {type: schedule, every: 1h}, daily: {type: schedule, cron: '@daily'}}", "2")
    await sync(records, "report", first.triggers, version="1", now=clock)
    await schedules.create("mine", "report", {"every": 1800})
    before = await schedules.get("report/hourly")
    clock.ahead(minutes=15)
    await sync(records, "report", second.triggers, version="2", now=clock)
    assert {each.name: each.source for each in await schedules.list()} == {
        "report/hourly": "spec",
        "report/daily": "spec",
        "mine": "engine",
    }
    kept = await schedules.get("report/hourly")
    assert (kept.id, kept.after, kept.next_at, kept.version) == (before.id, before.after, before.next_at, "2")
    clock.ahead(minutes=45)
    await clockwork.tick()
    assert [each["version"] for each in engine.started.values() if each["origin"] == f"schedule:{kept.id}"] == ["2"]
    await sync(records, "report", {}, now=clock)
    assert [each.name for each in await schedules.list()] == ["mine"]
    await sync(records, "report", first.triggers, version="1", now=clock)
    assert (await schedules.get("report/often")).next_at == clock() + timedelta(minutes=10)


# -- a day and a year ----------------------------------------------------------------------------------------------

TRAFFIC: dict[str, dict[str, Any]] = {
    "minutes": {"cron": "* * * * *"},
    "rhythm": {"cron": "*/7 * * * *", "timezone": "Australia/Lord_Howe", "jitter": 90},
    "nightly": {"cron": "30 2 * * *", "timezone": "Europe/Berlin"},
    "interval": {"every": 97, "overlap": "skip"},
    "queued": {"every": 600, "overlap": "queue"},
    "hours": {"cron": "0 * * * *", "timezone": "America/New_York", "overlap": "cancel_previous"},
}


@pytest.mark.req("R5", "M10")
async def test_over_a_day_of_restarts_no_firing_is_missed_or_doubled_and_rows_stay_flat(
    records: Records, clock: Clock
) -> None:
    """Workers die at starts and between them, twenty times an hour; the day has a change of the clock in it."""
    chance = random.Random(7)
    clock.at = begin = datetime(2026, 10, 24, 22, 0, tzinfo=UTC)
    engine = FakeEngine(clock, timedelta(seconds=45))
    schedules = Schedules(records, engine, now=clock)
    for name, definition in TRAFFIC.items():
        await schedules.create(name, "report", {**definition, "catch_up": "all", "within": "1d"})
    engine.dies = lambda where: chance.random() < 0.05
    sizes, deaths = [], 0
    clockwork = Clockwork(records, engine, now=clock, keep=timedelta(hours=2))
    end = begin + timedelta(hours=24 if records.dialect == "sqlite" else 4)
    while clock() < end + timedelta(hours=1):
        wake = await clockwork.next_wake() or end
        late = timedelta(seconds=chance.choice((0, 0, 1, 20, 400)))
        clock.at = max(wake + late, clock() + timedelta(seconds=1))
        if clock() >= end:
            engine.dies = lambda where: False
        try:
            await clockwork.tick()
        except Died:
            deaths += 1
            clockwork = Clockwork(records, engine, now=clock, keep=timedelta(hours=2))
        sizes.append(rows_of(records))
    assert deaths > 15 and len(engine.calls) > len(engine.started)
    half = len(sizes) // 2
    assert max(sizes[half:]) <= 1.3 * max(sizes[half // 2 : half])
    for name, given in TRAFFIC.items():
        schedule = await schedules.get(name)
        shift = shift_of(schedule.id, schedule.definition)
        wanted = {firing_id(schedule.id, at, shift) for at in firings(schedule.definition, begin, clock(), shift=shift)}
        started = {key for key in engine.started if key.startswith(f"fire-{schedule.id}-")}
        assert started <= wanted, name
        if given.get("overlap") != "skip":
            assert {key for key in wanted - started if key[-16:] < f"{end:%Y%m%dT%H%M%SZ}"} == set(), name


async def test_ticking_on_and_on_takes_no_more_memory(tmp_path: Path, clock: Clock) -> None:
    with opened(tmp_path / "records.db", synchronous="NORMAL") as records:
        engine = FakeEngine(clock)
        await Schedules(records, engine, now=clock).create("s", "report", {"every": 60})
        clockwork = Clockwork(records, engine, now=clock, keep=timedelta(minutes=30))

        async def ticked(times: int) -> int:
            for _ in range(times):
                clock.ahead(seconds=60)
                await clockwork.tick()
                engine.started.clear()
                engine.calls.clear()
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            await ticked(30)
            before = await ticked(30)
            assert await ticked(90) - before < 100_000
        finally:
            tracemalloc.stop()
        assert rows_of(records) < 60


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
async def test_over_a_year_a_nightly_schedule_fires_once_a_night_whenever_workers_are_restarted(
    zone: str, tmp_path: Path
) -> None:
    chance = random.Random(zone)
    clock = Clock(datetime(2026, 1, 1, tzinfo=UTC))
    begin, end = clock(), datetime(2027, 1, 1, tzinfo=UTC)
    with opened(tmp_path / "records.db", synchronous="NORMAL") as records:
        engine = FakeEngine(clock)
        definition = {"cron": "30 1,2 * * *", "timezone": zone, "catch_up": "all", "within": "7d"}
        await Schedules(records, engine, now=clock).create("s", "report", definition)
        while clock() < end:
            clockwork = Clockwork(records, engine, now=clock)
            clock.ahead(hours=chance.choice((1, 5, 11, 26, 60)))
            await clockwork.tick()
        found = firings(Schedule.model_validate(definition), begin, clock(), most=60_000)
        assert sorted(key[-16:] for key in engine.started) == [f"{at:%Y%m%dT%H%M%SZ}" for at in found]
        assert len(engine.calls) == len(found)
        assert rows_of(records) < 80


def test_a_firing_is_data() -> None:
    made = Firing(id="f", source_id="s", due_at=NOON, fired_at=NOON, outcome="fired")
    with pytest.raises(AttributeError):
        made.id = "g"  # type: ignore[misc]
