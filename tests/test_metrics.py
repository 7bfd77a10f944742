"""Metrics: what the rows of executions and steps come to, on both databases."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cogwork.errors import EngineError
from cogwork.metrics import Metrics, TimeRange
from cogwork.metrics.comparing import newcombe, wilson
from cogwork.metrics.figures import OF_EXECUTIONS, OF_STEPS
from cogwork.records import Records
from cogwork.records.database import opened
from cogwork.records.tables.agents import AGENTS
from cogwork.records.tables.library import WORKFLOWS
from tests.clusters import schema
from tests.ledger import NOW, Ledger, ago, fault

pytestmark = pytest.mark.req("E6")
HOLDERS = {"for_each", "repeat", "use", "stage", "undo", "agent", "frame"}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def records(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Records]:
    """The records in a database of either kind; each test puts its own rows in place of those of the one before."""
    if request.param == "sqlite":
        with opened(tmp_path_factory.mktemp("records") / "records.sqlite", synchronous="NORMAL") as made:
            yield made
    else:
        with schema() as url, opened(Path(), url) as made:
            yield made


@pytest.fixture
def metrics(records: Records) -> Metrics:
    """Metrics at noon of 20 November 2026."""
    return Metrics(records, now=lambda: NOW)


# -- the figures -----------------------------------------------------------------------------------------------------


async def test_a_workflow_has_counts_rates_and_durations_of_the_executions_created_in_the_range(
    records: Records, metrics: Metrics
) -> None:
    ledger = Ledger()
    for seconds in (1, 2, 3, 10):
        ledger.execution(seconds=seconds)
    ledger.execution("failed", seconds=4, error=fault())
    ledger.execution("failed", seconds=4, error=None, reason="timeout")
    ledger.execution("failed", seconds=None, error=None)
    ledger.execution("cancelled", seconds=2)
    ledger.execution("running")
    ledger.execution("pending", seconds=None)
    ledger.execution(created=ago(days=8))
    ledger.execution(workflow="other")
    ledger.write(records)
    report = await metrics.workflow("greet", "last_7_days")
    assert report["execution_count"] == 10
    assert report["status_counts"] == {"cancelled": 1, "completed": 4, "failed": 3, "pending": 1, "running": 1}
    assert report["success_rate"] == 4 / 8
    assert report["average_duration"] == pytest.approx(26 / 7)
    assert [report[f"p{p}_duration"] for p in (50, 90, 95, 99)] == [3, 10, 10, 10]
    assert report["error_count"] == 3
    assert report["errors_by_class"] == {"timeout": 2, "unknown": 1}
    assert report.subject == {"workflow": "greet"}


@pytest.mark.parametrize("n", [1, 2, 10, 33, 101])
async def test_percentiles_are_the_least_durations_that_so_many_percent_do_not_exceed(
    records: Records, metrics: Metrics, n: int
) -> None:
    ledger = Ledger()
    for seconds in range(n, 0, -1):
        ledger.execution(seconds=seconds)
        ledger.step(ledger.executions[-1]["id"], tool="t", seconds=seconds)
    ledger.write(records)
    expected = [math.ceil(n * percent / 100) for percent in (50, 90, 95, 99)]
    for report in (await metrics.workflow("greet"), await metrics.tool("t")):
        assert [report[f"p{percent}_duration"] for percent in (50, 90, 95, 99)] == expected


async def test_only_the_metrics_that_are_named_are_told(records: Records, metrics: Metrics) -> None:
    ledger = Ledger()
    ledger.execution()
    ledger.write(records)
    names = ["execution_count", "success_rate", "average_duration", "error_count"]
    report = await metrics.workflow("greet", "last_30_days", metrics=names)
    assert report.figures == {"execution_count": 1, "success_rate": 1.0, "average_duration": 1.0, "error_count": 0}
    assert set(report.to_dict()) == {"subject", "range", *names}


async def test_where_nothing_happened_counts_are_zero_and_rates_unknown(records: Records, metrics: Metrics) -> None:
    ledger = Ledger()
    ledger.execution(created=ago(days=300))
    ledger.write(records)
    report = await metrics.workflow("greet", "today")
    assert report["execution_count"] == 0 and report["status_counts"] == {} and report["errors_by_class"] == {}
    assert report["success_rate"] is None and report["average_duration"] is None and report["p99_duration"] is None
    assert report["cost_usd"] == 0 and report["waiting_seconds"] == 0
    assert [bucket["execution_count"] for bucket in report["throughput"]] == [0]


async def test_open_executions_are_counted_and_are_in_no_rate(records: Records, metrics: Metrics) -> None:
    ledger = Ledger()
    ledger.execution("running")
    ledger.execution("paused")
    ledger.write(records)
    report = await metrics.workflow("greet")
    assert (report["execution_count"], report["success_rate"], report["average_duration"]) == (2, None, None)


async def test_a_version_has_its_own_figures_and_an_id_of_the_library_means_the_workflow(
    records: Records, metrics: Metrics
) -> None:
    ledger = Ledger()
    ledger.execution(workflow_id="wf-1", version=1)
    ledger.execution("failed", workflow_id="wf-1", version=2, error=fault())
    ledger.execution(workflow_id="wf-0", version=1)
    ledger.write(records)
    row = {"id": "wf-1", "name": "greet", "status": "active", "latest": 2, "metadata": {}}
    times = {"created_at": NOW, "updated_at": NOW}
    records.write(lambda c: (c.execute(WORKFLOWS.delete()), c.execute(WORKFLOWS.insert().values(**row, **times))))
    assert (await metrics.workflow("wf-1"))["execution_count"] == 2
    assert (await metrics.workflow("greet"))["execution_count"] == 3
    report = await metrics.workflow("wf-1", version=2)
    assert (report["execution_count"], report["success_rate"]) == (1, 0.0)
    assert report.subject == {"workflow": "wf-1", "version": 2}
    records.write(lambda c: c.execute(WORKFLOWS.delete()))


async def test_steps_have_figures_by_node_agent_tool_and_model(records: Records, metrics: Metrics) -> None:
    ledger = Ledger()
    one = ledger.execution()
    ledger.step(one, "read", tool="text.read", seconds=2, attempts=3)
    ledger.step(one, "read[0]", tool="text.read", kind="frame", seconds=50)
    ledger.step(one, "say", kind="agent", agent="writer", seconds=9)
    usage = {"input_tokens": 10, "output_tokens": 5, "model": "m", "cost_usd": 0.25}
    ledger.step(one, "say[0].turn", kind="llm", agent="writer", **usage)
    ledger.step(one, "say[1].turn", kind="llm", agent="writer", status="failed", error_class="refused", **usage)
    ledger.step(one, "say[1].calls[0].call", kind="tool", agent="writer", tool="text.read")
    ledger.step(one, "late", status="skipped", seconds=None, tool="text.read")
    ledger.step(one, "lost", status="skipped", error_class="timeout", tool="text.read")
    ledger.write(records)
    tool = await metrics.tool("text.read")
    assert tool["execution_count"] == 3 and tool["success_rate"] == 2 / 3 and tool["retries"] == 2
    assert tool["status_counts"] == {"done": 2, "ignored": 1, "skipped": 1}
    assert tool["errors_by_class"] == {"timeout": 1} and tool["average_duration"] == pytest.approx(4 / 3)
    agent = await metrics.agent("writer", "last_7_days", ["execution_count", "success_rate", "error_count", "cost_usd"])
    assert agent.figures == {"execution_count": 2, "success_rate": 0.5, "error_count": 1, "cost_usd": 0.5}
    model = await metrics.model("m")
    assert (model["input_tokens"], model["output_tokens"], model["execution_count"]) == (20, 10, 2)
    node = await metrics.node("greet", "read")
    assert (node["execution_count"], node["p50_duration"]) == (1, 2)
    assert node.subject == {"workflow": "greet", "node": "read"}


async def test_an_agent_has_the_turns_under_its_id_and_under_its_name(records: Records, metrics: Metrics) -> None:
    ledger = Ledger()
    for agent in ("agent-writer", "Writer", "other"):
        ledger.step(ledger.execution(), kind="llm", agent=agent)
    ledger.write(records)
    row = {"id": "agent-writer", "name": "Writer", "status": "active", "record": {}}
    row |= {"created_at": NOW, "updated_at": NOW}
    records.write(lambda c: (c.execute(AGENTS.delete()), c.execute(AGENTS.insert().values(**row))))
    assert [(await metrics.agent(name))["execution_count"] for name in ("agent-writer", "Writer", "other")] == [2, 2, 1]
    records.write(lambda c: c.execute(AGENTS.delete()))


async def test_a_cost_that_nobody_knows_is_not_a_cost_of_nothing(records: Records, metrics: Metrics) -> None:
    ledger = Ledger()
    for workflow, costs in {"unknown": (0.0, 0.0), "some": (0.0, 0.5), "none": ()}.items():
        name = ledger.execution(workflow=workflow)
        for index, cost in enumerate(costs):
            ledger.step(name, f"s{index}", workflow=workflow, kind="llm", input_tokens=7, cost_usd=cost)
        ledger.step(name, "plain", workflow=workflow)
    ledger.write(records)
    told = [
        await metrics.workflow(name, metrics=["cost_usd", "unpriced_steps"]) for name in ("unknown", "some", "none")
    ]
    assert [(each["cost_usd"], each["unpriced_steps"]) for each in told] == [(None, 2), (0.5, 1), (0.0, 0)]


@pytest.mark.req("T8")
async def test_parallel_steps_save_the_time_that_they_share(records: Records, metrics: Metrics) -> None:
    ledger = Ledger()
    start = ago(hours=2)
    name = ledger.execution(created=start, seconds=20)
    ledger.step(name, "a", start=start, seconds=4)
    ledger.step(name, "b", start=start + timedelta(seconds=1), seconds=2)
    ledger.step(name, "c", start=start + timedelta(seconds=3), seconds=5)
    ledger.step(name, "person", kind="human", start=start, seconds=20)
    ledger.step(name, "loop", kind="for_each", start=start, seconds=20)
    ledger.step(name, "loop[0]", kind="for_each", start=start, seconds=20)
    ledger.step(name, "after a rest", start=start + timedelta(seconds=15), seconds=5)
    other = ledger.execution(created=start)
    ledger.step(other, "a", start=start, seconds=4)
    ledger.write(records)
    # 16 s of work in the first, which went on from 0 to 8 and from 15 to 20.
    assert (await metrics.workflow("greet"))["parallel_seconds_saved"] == pytest.approx(3.0)


async def test_waiting_for_people_is_the_time_from_a_pause_to_the_next_stretch_or_to_now(
    records: Records, metrics: Metrics
) -> None:
    ledger = Ledger()
    done, paused = ledger.execution(), ledger.execution("paused")
    ledger.segment(done, 1, ago(seconds=100), ago(seconds=90))
    ledger.segment(done, 2, ago(seconds=50), ago(seconds=40), "paused (interrupted)")
    ledger.segment(done, 3, ago(seconds=30), ago(seconds=29), "completed")
    ledger.segment(paused, 1, ago(seconds=20), ago(seconds=7))
    ledger.write(records)
    assert (await metrics.workflow("greet"))["waiting_seconds"] == pytest.approx(40 + 7)


async def test_an_overview_has_the_figures_of_all_and_of_each_workflow_the_busiest_first(
    records: Records, metrics: Metrics
) -> None:
    ledger = Ledger()
    ledger.execution(workflow="a", seconds=3)
    for _ in range(2):
        ledger.execution("failed", workflow="b", seconds=5, error=fault("refused"))
    ledger.write(records)
    report = await metrics.overview("last_24_hours")
    assert report["execution_count"] == 3 and report["errors_by_class"] == {"refused": 2}
    assert list(report.workflows) == ["b", "a"]
    assert report.workflows["b"]["success_rate"] == 0 and report.workflows["a"]["p95_duration"] == 3
    assert set((await metrics.overview(metrics=["error_count"])).workflows["b"]) == {"execution_count", "error_count"}


async def test_an_error_that_is_no_json_is_of_an_unknown_class(records: Records, metrics: Metrics) -> None:
    ledger = Ledger()
    ledger.execution("failed", error=fault())
    ledger.write(records)
    table = "UPDATE cogwork_executions SET error = '{damaged'"
    records.write(lambda c: c.exec_driver_sql(table))
    assert (await metrics.workflow("greet"))["errors_by_class"] == {"unknown": 1}


# -- over time -------------------------------------------------------------------------------------------------------


async def test_days_of_a_time_zone_have_23_or_25_hours_where_its_clock_changes(
    records: Records, metrics: Metrics
) -> None:
    ledger = Ledger()
    start = datetime(2026, 10, 24, tzinfo=ZoneInfo("Europe/Berlin"))
    for hour in range(73):
        ledger.execution(created=start.astimezone(UTC) + timedelta(hours=hour, minutes=30))
    ledger.write(records)
    whole = (start, datetime(2026, 10, 27, tzinfo=ZoneInfo("Europe/Berlin")))
    days = (await metrics.workflow("greet", whole, ["throughput"], timezone="Europe/Berlin"))["throughput"]
    assert [(day["from"], day["execution_count"]) for day in days] == [
        ("2026-10-24T00:00:00+02:00", 24),
        ("2026-10-25T00:00:00+02:00", 25),
        ("2026-10-26T00:00:00+01:00", 24),
    ]
    hours = (await metrics.workflow("greet", whole, ["throughput"], by="hour", timezone="Europe/Berlin"))["throughput"]
    assert len(hours) == 73 and {hour["execution_count"] for hour in hours} == {1}
    twice = [hour["from"] for hour in hours if "T02:" in hour["from"] and "10-25" in hour["from"]]
    assert twice == ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]


ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo")


@pytest.mark.parametrize("by", ["hour", "day"])
@pytest.mark.parametrize("zone", ZONES)
async def test_buckets_follow_each_other_and_hold_what_the_wall_clock_of_the_zone_says(
    records: Records, metrics: Metrics, zone: str, by: Any
) -> None:
    ledger, here = Ledger(), ZoneInfo(zone)
    changes = [
        datetime(2018, 11, 4, 3, tzinfo=UTC),
        datetime(2026, 3, 29, 1, tzinfo=UTC),
        datetime(2026, 4, 4, 15, tzinfo=UTC),
    ]
    for change in changes:
        rows = [change + timedelta(minutes=minutes) for minutes in range(-2880, 2880, 17)]
        ledger.executions.clear()
        for at in rows:
            ledger.execution(created=at)
        ledger.write(records)
        span = TimeRange(start=change - timedelta(days=2, minutes=7), end=change + timedelta(days=2, minutes=11))
        buckets = (await metrics.workflow("greet", span, ["throughput"], by=by, timezone=zone))["throughput"]
        assert buckets[0]["from"] == span.start.astimezone(here).isoformat()
        assert buckets[-1]["to"] == span.end.astimezone(here).isoformat()
        assert all(one["to"] == two["from"] for one, two in pairwise(buckets))
        edges = [datetime.fromisoformat(bucket["from"]) for bucket in buckets[1:]]
        assert all(edge.minute == 0 or zone == "Australia/Lord_Howe" for edge in edges)
        assert by == "hour" or all(edge.hour <= 1 for edge in edges)
        expected = Counter(sum(edge <= at for edge in edges) for at in rows)
        assert [bucket["execution_count"] for bucket in buckets] == [expected[i] for i in range(len(buckets))]


# -- the whole against brute force -----------------------------------------------------------------------------------

WORDS = ("a", "b")
times = st.integers(0, 3 * 86_400).map(lambda seconds: ago(days=3) + timedelta(seconds=seconds))
durations = st.one_of(st.none(), st.floats(0, 500, allow_nan=False).map(lambda value: round(value, 6)))
tokens = st.one_of(st.just(0), st.integers(0, 10**12))
executions = st.fixed_dictionaries(
    {
        "status": st.sampled_from(("pending", "running", "paused", "completed", "failed", "cancelled")),
        "workflow": st.sampled_from(WORDS),
        "created": times,
        "seconds": durations,
        "reason": st.sampled_from(("", "timeout")),
        "error": st.sampled_from((None, fault(), fault("refused", 'a "class": "x" \\ \n é'))),
    }
)
steps = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(("tool", "llm", "human", "for_each", "agent")),
        "status": st.sampled_from(("done", "failed", "skipped", "cancelled")),
        "agent": st.sampled_from((None, *WORDS)),
        "tool": st.sampled_from((None, *WORDS)),
        "model": st.sampled_from((None, *WORDS)),
        "node": st.sampled_from(WORDS),
        "start": st.integers(-3600, 3 * 86_400).map(lambda seconds: timedelta(seconds=seconds)),
        "seconds": durations,
        "attempts": st.integers(0, 5),
        "input_tokens": tokens,
        "output_tokens": tokens,
        "cost_usd": st.sampled_from((0.0, 0.001, 2.5)),
        "error_class": st.sampled_from((None, "timeout", "internal")),
    }
)
stretches = st.lists(
    st.tuples(times, durations, st.sampled_from(("paused", "paused (budget)", "paused (interrupted)", "completed"))),
    max_size=4,
)
worlds = st.lists(st.tuples(executions, st.lists(steps, max_size=6), stretches), max_size=12)


def world(rows: Sequence[Any]) -> Ledger:
    """The ledger of drawn rows."""
    ledger = Ledger()
    for execution, inside, rests in rows:
        name = ledger.execution(**execution)
        for index, step in enumerate(inside):
            path = f"s{index}{'[1]' if index == 5 else ''}"
            start = execution["created"] + step["start"]
            ledger.step(name, path, workflow=execution["workflow"], **{**step, "start": start})
        for index, (at, took, outcome) in enumerate(rests):
            ended = None if took is None else at + timedelta(seconds=took)
            ledger.segment(name, index, at, ended, outcome)
    return ledger


def figures(
    durations: Sequence[float],
    statuses: Sequence[str],
    errors: Sequence[str],
    work: Sequence[Mapping[str, Any]],
    of: str,
) -> dict[str, Any]:
    """The figures, computed one row after the other."""
    good = {"execution": "completed", "step": "done"}[of]
    ended = [status for status in statuses if status in ("completed", "failed", "cancelled", "done", "ignored")]
    ranked, n = sorted(durations), len(durations)
    unpriced = [row for row in work if row["input_tokens"] + row["output_tokens"] and not row["cost_usd"]]
    priced = [row["cost_usd"] for row in work if row["cost_usd"]]
    return {
        "execution_count": sum(status != "skipped" for status in statuses),
        "status_counts": dict(Counter(statuses)),
        "success_rate": statuses.count(good) / len(ended) if ended else None,
        "average_duration": sum(ranked) / n if n else None,
        "error_count": len(errors),
        **{f"p{p}_duration": ranked[math.ceil(n * p / 100) - 1] if n else None for p in (50, 90, 95, 99)},
        "errors_by_class": dict(Counter(errors)),
        "retries": sum(max(row["attempts"] - 1, 0) for row in work),
        "input_tokens": sum(row["input_tokens"] for row in work),
        "output_tokens": sum(row["output_tokens"] for row in work),
        "cost_usd": None if unpriced and not priced else sum(priced),
        "unpriced_steps": len(unpriced),
    }


def of_executions(ledger: Ledger, keep: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
    rows = [row for row in ledger.executions if keep(row)]
    ids = {row["id"] for row in rows}
    timed = [
        (row["ended_at"] - row["started_at"]).total_seconds() for row in rows if row["ended_at"] and row["started_at"]
    ]
    errors = [
        (row["error"] or {}).get("class") or row["reason"] or "unknown" for row in rows if row["status"] == "failed"
    ]
    work = [step for step in ledger.steps if step["execution_id"] in ids]
    told = figures(timed, [row["status"] for row in rows], errors, work, "execution")
    told["parallel_seconds_saved"] = sum(saved([s for s in work if s["execution_id"] == each]) for each in ids)
    told["waiting_seconds"] = sum(rested(ledger, row) for row in rows)
    return told


def saved(steps: Sequence[Mapping[str, Any]]) -> float:
    """The steps' time less the time in which any of them went on."""
    spans = sorted(
        (step["started_at"], step["ended_at"])
        for step in steps
        if step["started_at"] and step["kind"] not in {*HOLDERS, "human"} and not step["path"].endswith("]")
    )
    busy, until = timedelta(0), datetime.min.replace(tzinfo=UTC)
    for start, end in spans:
        busy += max(timedelta(0), end - max(start, until))
        until = max(until, end)
    return (sum((end - start for start, end in spans), timedelta(0)) - busy).total_seconds()


def rested(ledger: Ledger, row: Mapping[str, Any]) -> float:
    own = [each for each in ledger.segments if each["execution_id"] == row["id"]]
    total = 0.0
    for index, each in enumerate(own):
        later = own[index + 1]["queued_at"] if index + 1 < len(own) else (NOW if row["status"] == "paused" else None)
        if each["outcome"] in ("paused", "paused (budget)") and each["ended_at"] and later:
            total += max(0.0, (later - each["ended_at"]).total_seconds())
    return total


def of_steps(ledger: Ledger, keep: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
    rows = [row for row in ledger.steps if not row["path"].endswith("]") and keep(row)]
    named = [(row, "ignored" if row["status"] == "skipped" and row["error_class"] else row["status"]) for row in rows]
    timed = [row["seconds"] for row, status in named if status != "skipped" and row["seconds"] is not None]
    errors = [row["error_class"] or "unknown" for row, status in named if status in ("failed", "ignored")]
    return figures(timed, [status for _, status in named], errors, rows, "step")


def close(told: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Both say the same, up to rounding."""
    for name, value in expected.items():
        if isinstance(value, float):
            assert told[name] == pytest.approx(value, rel=1e-9, abs=1e-6), name
        else:
            assert told[name] == value, name


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=worlds, days=st.integers(1, 4), hour=st.booleans())
def test_what_the_database_computes_is_what_going_through_the_rows_gives(
    records: Records, rows: Sequence[Any], days: int, hour: bool
) -> None:
    ledger, since, until = world(rows), ago(days=days), ago(hours=5)
    ledger.write(records)
    metrics, span = Metrics(records, now=lambda: NOW, known=lambda kind: WORDS), (since, until)

    def within(row: Mapping[str, Any]) -> bool:
        return (
            bool(since <= row["created_at"] < until) if "created_at" in row else bool(since <= row["ended_at"] < until)
        )

    def executed(**wanted: Any) -> dict[str, Any]:
        return of_executions(ledger, lambda row: within(row) and wanted.items() <= row.items())

    def stepped(**wanted: Any) -> dict[str, Any]:
        return of_steps(ledger, lambda row: within(row) and wanted.items() <= row.items())

    async def check() -> None:
        for word in WORDS:
            close((await metrics.workflow(word, span)).figures, executed(workflow=word))
            close((await metrics.tool(word, span)).figures, stepped(tool=word))
            close((await metrics.model(word, span)).figures, stepped(model=word))
            close((await metrics.agent(word, span)).figures, stepped(agent=word, kind="llm"))
            close((await metrics.node("a", word, span)).figures, stepped(workflow="a", node=word))
        whole = await metrics.overview(span, by="hour" if hour else "day", timezone="America/New_York")
        close(whole.figures, executed())
        by_name = Counter(row["workflow"] for row in filter(within, ledger.executions))
        assert {name: each["execution_count"] for name, each in whole.workflows.items()} == by_name
        for name, each in whole.workflows.items():
            close(each, {key: value for key, value in executed(workflow=name).items() if key in each})
        for bucket in whole["throughput"]:
            close(bucket, {key: value for key, value in within_bucket(ledger, within, bucket).items() if key in bucket})

    asyncio.run(check())


def within_bucket(
    ledger: Ledger, within: Callable[[Mapping[str, Any]], bool], bucket: Mapping[str, str]
) -> dict[str, Any]:
    """The figures of the executions of one bucket."""
    first, last = datetime.fromisoformat(bucket["from"]), datetime.fromisoformat(bucket["to"])
    return of_executions(ledger, lambda row: within(row) and first <= row["created_at"] < last)


def test_every_figure_is_checked_against_brute_force() -> None:
    empty = Ledger()
    assert set(of_executions(empty, lambda row: True)) == {*OF_EXECUTIONS} - {"throughput"}
    assert set(of_steps(empty, lambda row: True)) == {*OF_STEPS} - {"throughput"}


# -- comparing -------------------------------------------------------------------------------------------------------


async def test_two_versions_stand_side_by_side_with_an_interval_for_the_difference_of_their_success_rates(
    records: Records, metrics: Metrics
) -> None:
    ledger = Ledger()
    for index in range(40):
        ledger.execution("completed" if index < 20 else "failed", version=1, seconds=4)
        ledger.execution("completed" if index < 36 else "failed", version=2, seconds=3)
    ledger.write(records)
    told = await metrics.compare("greet", "last_7_days", versions=(1, 2))
    assert told.differences["success_rate"] == pytest.approx(0.4)
    assert told.differences["average_duration"] == -1
    assert told.clear and told.difference is not None and 0 < told.difference.low < 0.4 < told.difference.high
    same = await metrics.compare("greet", "last_7_days", "last_30_days")
    assert same.differences["success_rate"] == 0 and not same.clear
    none = await metrics.compare("greet", ("2020-01-01", "2020-01-02"), "last_7_days")
    assert none.rates[0] is None and none.difference is None and none.differences["success_rate"] is None
    assert none.to_dict()["clear"] is False


def test_wilsons_and_newcombes_intervals_are_those_of_the_literature() -> None:
    # Newcombe 1998: 81 of 263 and 15 of 148 (method 3), and 56/70 against 48/80 (method 10).
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert newcombe(48, 80, 56, 70) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(0, 0) is None


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("last_7_day_s", "did you mean last_7_days"),
        ("last_0_days", "at least one"),
        ("last_99999_days", "at most 3660"),
        ("yesterday-ish", "last_N_days"),
        (("2026-11-02", "2026-11-01"), "start must be before"),
        (("2026-11-02", "2026-11-02"), "start must be before"),
        (("2026-13-02", "2026-11-02"), "ISO 8601"),
        (("2026-11-02",), "two instants"),
        ((1, 2), "ISO 8601"),
        (None, "two instants"),
        ("2026-11-01/2026-11-02/2026-11-03", "two instants"),
    ],
)
def test_a_range_that_is_none_is_refused_with_what_to_write(given: Any, says: str) -> None:
    with pytest.raises(EngineError) as refused:
        TimeRange.of(given, NOW)
    assert refused.value.code == "invalid_input" and says in str(refused.value)
    assert refused.value.details["suggestions"]


def test_ranges_are_read_as_they_are_meant() -> None:
    named = TimeRange.of("last_90_minutes", NOW)
    assert named.start == NOW - timedelta(minutes=90) and named.start <= NOW < named.end
    assert TimeRange.of("last_1_day", NOW).start == NOW - timedelta(days=1)
    today = TimeRange.of("today", NOW, ZoneInfo("Asia/Tokyo"))
    assert today.start == datetime(2026, 11, 19, 15, tzinfo=UTC)
    plain = TimeRange.of(("2026-11-01", datetime(2026, 11, 2, 8)), NOW)
    assert plain.end == datetime(2026, 11, 2, 8, tzinfo=UTC) and "UTC" in plain.note and plain.to_dict()["note"]
    aware = TimeRange.of("2026-11-01T00:00:00+01:00/2026-11-02T00:00:00Z", NOW)
    assert aware.start == datetime(2026, 10, 31, 23, tzinfo=UTC) and not aware.note


async def test_what_cannot_be_asked_is_refused_with_the_nearest_that_can(records: Records, metrics: Metrics) -> None:
    ledger = Ledger()
    ledger.execution()
    ledger.write(records)
    agent = {"id": "agent-writer", "name": "Writer", "status": "active", "record": {}}
    agent |= {"created_at": NOW, "updated_at": NOW}
    records.write(lambda c: (c.execute(AGENTS.delete()), c.execute(AGENTS.insert().values(**agent))))
    assert (await metrics.agent("agent-writer"))["execution_count"] == 0
    for asked, code, near in (
        (metrics.workflow("gret"), "workflow_not_found", "greet"),
        (metrics.node("gret", "x"), "workflow_not_found", "greet"),
        (metrics.agent("agent-write"), "agent_not_found", "agent-writer"),
        (metrics.workflow("greet", metrics=["sucess_rate"]), "invalid_input", "success_rate"),
        (metrics.tool("t", metrics=["waiting_seconds"]), "invalid_input", "execution_count"),
        (metrics.workflow("greet", timezone="Europe/Berlyn"), "invalid_input", "Europe/Berlin"),
        (metrics.workflow("greet", timezone="../../etc/passwd"), "invalid_input", None),
        (metrics.workflow("greet", by="week"), "invalid_input", "day"),  # type: ignore[arg-type]
    ):
        with pytest.raises(EngineError) as refused:
            await asked
        assert refused.value.code == code
        assert near is None or near in refused.value.details["suggestions"]
    with pytest.raises(EngineError, match="ask by day"):
        await metrics.workflow("greet", "last_365_days", by="hour")
    assert (await metrics.workflow("greet", "last_365_days"))["execution_count"] == 1
    records.write(lambda c: c.execute(AGENTS.delete()))


async def test_a_workflow_or_agent_that_has_not_run_yet_is_known_from_elsewhere(records: Records) -> None:
    Ledger().write(records)
    metrics = Metrics(records, now=lambda: NOW, known=lambda kind: [f"new {kind}"])
    assert (await metrics.workflow("new workflow"))["execution_count"] == 0
    assert (await metrics.agent("new agent"))["success_rate"] is None
    with pytest.raises(EngineError, match="did you mean new workflow"):
        await metrics.workflow("new workflo")


async def test_names_are_those_that_steps_have_told_of(records: Records, metrics: Metrics) -> None:
    ledger = Ledger()
    for tool in ("b", "a", "b", None):
        ledger.step(ledger.execution(), tool=tool)
    ledger.write(records)
    assert await metrics.names("tool") == ["a", "b"]
