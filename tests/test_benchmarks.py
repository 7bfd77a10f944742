"""The benchmarks run: on tiny graphs, every subject, every table."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.dags import chain, fan, layers, read
from benchmarks.durable import durable
from benchmarks.engine import Amounts, measured
from benchmarks.figures import verdict
from benchmarks.http import http
from benchmarks.isolated import isolated
from benchmarks.language import document
from benchmarks.listing import FILTERS, listing
from benchmarks.makespan import makespan
from benchmarks.mcp import tools
from benchmarks.metrics import metrics
from benchmarks.models import AT_ONCE, models
from benchmarks.overhead import overhead
from benchmarks.pausing import pausing
from benchmarks.prompts import prompts
from benchmarks.sealing import sealing
from benchmarks.settings import Settings
from benchmarks.storage import storage
from benchmarks.subjects import KINDS, STORAGES, TOOLS, Kind, Storage, subject
from graphs.graph import WorkflowGraph
from tests.peers import needs

TINY = [("a-1", [], 1.0), ("b.x", ["a-1"], 2.0), ("c", ["a-1"], 0.5), ("d", ["c"], 0.0), ("e", ["b.x", "d"], 1.0)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """One real graph of five tasks, one run of everything."""
    tasks = [{"id": name, "depends_on": parents, "runtime_s": took} for name, parents, took in TINY]
    packed = gzip.compress(json.dumps({"instance": "tiny", "tasks": tasks}).encode())
    (tmp_path / "tiny.json.gz").write_bytes(packed)
    return Settings(data=tmp_path, runs=1, critical_path=0.05, repetitions=1, size=4, pauses=1, pause_seconds=30.0)


def test_a_real_graph_is_read_with_names_that_expressions_take_and_scaled_to_its_critical_path(
    settings: Settings,
) -> None:
    dag = read(settings.data / "tiny.json.gz")
    assert [task.name for task in dag.tasks] == ["a_1", "b_x", "c", "d", "e"]
    assert dag.critical_path == pytest.approx(4.0)
    assert dag.scaled(0.5).critical_path == pytest.approx(0.5)
    assert dag.lognormal(1) == dag.lognormal(1) != dag.lognormal(2)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("kind", [*KINDS, *TOOLS])
@pytest.mark.parametrize("dag", [chain(3), fan(3), layers(2, 2)], ids=lambda dag: dag.name)
async def test_every_subject_runs_every_task(kind: Kind, storage: Storage, dag, tmp_path: Path) -> None:
    async with subject(kind, dag, storage, tmp_path) as measured:
        cost = await measured.run()
    assert cost.wall > 0


async def test_makespan_compares_cogwork_with_plain_langgraph_on_both_savers(settings: Settings) -> None:
    (table,) = await makespan(settings)
    told = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert len(told) == 8
    assert {(row["subject"], row["saver"]) for row in told if row["durations"] == "real"} == {
        ("cogwork tool", "memory"),
        ("cogwork tool", "sqlite"),
        ("langgraph", "memory"),
        ("langgraph", "sqlite"),
    }
    assert all(row["median"] >= 1.0 for row in told)


async def test_makespan_without_the_data_says_so_and_measures_nothing(tmp_path: Path) -> None:
    (table,) = await makespan(Settings(data=tmp_path))
    assert not table.rows
    assert "skipped" in table.notes[0]


async def test_overhead_gives_a_row_for_each_shape_saver_and_subject(settings: Settings) -> None:
    (table,) = await overhead(settings)
    assert len(table.rows) == 3 * 2 * 3


def test_the_big_workflow_has_as_many_steps_as_asked() -> None:
    assert len(document(50)["nodes"]) == 50


@pytest.mark.req("X14")
async def test_calls_of_tools_are_measured_through_a_graph_and_over_the_bare_client(settings: Settings) -> None:
    (table,) = await tools(settings)
    assert [(row[0], row[1]) for row in table.rows] == [
        (kind, abreast) for abreast in (1, 10, 50) for kind in ("function", "stdio", "http")
    ]
    assert all((row[-1] is None) == (row[0] == "function") for row in table.rows)


@pytest.mark.req("E9")
async def test_http_tells_costs_events_and_memory_of_a_server(settings: Settings) -> None:
    cost, loads, events, memory = await http(replace(settings, repetitions=3))
    assert [row[1] for row in cost.rows] == ["idle", "idle", "idle", "5 running"]
    assert all(row[3] > 0 for row in cost.rows)
    assert bool(loads.rows) != bool(loads.notes)
    assert events.rows[0][0] == 10 and events.rows[0][-1] == verdict(True)
    assert [row[0] for row in memory.rows] == ["idle", "5 running"]


def test_the_command_prints_tables_and_writes_them_as_json(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "figures.json"
    asked = ["--only", "makespan", "--runs", "1", "--critical-path", "0.02", "--data", str(settings.data)]
    assert main([*asked, "--json", str(written)]) == 0
    assert "makespan / critical path" in capsys.readouterr().out
    (table,) = json.loads(written.read_text())["tables"]
    assert table["rows"][0]["graph"] == "tiny"


async def test_storage_weighs_both_databases_of_both_chains(settings: Settings) -> None:
    (table,) = await storage(settings)
    told = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row["nodes"] for row in told] == [2, 40]
    assert all(row["plain LangGraph"] > 0 and row["cogwork"] > 0 for row in told)


async def test_durable_compares_calls_with_and_without_effects_with_plain_langgraph_and_resumes(
    settings: Settings,
) -> None:
    compared, resumed = await durable(settings)
    told = [dict(zip(compared.columns, row, strict=True)) for row in compared.rows]
    assert [row["limit"] for row in told] == [None, 1.0, 1.5] * 2
    assert all(row["ms"] > 0 for row in told)
    assert [row[1] for row in resumed.rows] == [40, 40]


async def test_pausing_measures_requests_of_the_same_and_of_another_process(settings: Settings) -> None:
    (table,) = await pausing(settings)
    if not hasattr(WorkflowGraph, "apause"):
        assert "skipped" in table.notes[0]
        return
    told = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row["pauses"] for row in told] == [1, 1]
    assert all(row["max"] > 0 for row in told)


@pytest.mark.req("X14")
async def test_metrics_are_measured_on_both_databases_or_say_which_is_missing(settings: Settings) -> None:
    (table,) = await metrics(settings)
    assert len(table.rows) == 8 * (2 - len(table.notes))
    told = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert all(row["s"] > 0 and row["rows in all"] == 80 for row in told)


async def test_prompts_are_measured_and_what_cannot_be_counted_is_said(settings: Settings) -> None:
    times, deviations = await prompts(settings)
    assert len(times.rows) >= 4 and all(isinstance(row[1], float) and row[1] > 0 for row in times.rows)
    assert bool(deviations.rows) != bool(deviations.notes)


@pytest.mark.req("M2")
async def test_isolated_executions_are_measured_beside_those_in_the_worker(settings: Settings) -> None:
    times, memory = await isolated(settings)
    assert [row[0] for row in times.rows][:2] == ["in the worker", "isolated"]
    assert all(isinstance(row[2], float) and 0 < row[2] <= row[3] for row in times.rows)  # type: ignore[operator]
    assert len(memory.rows) == 3 and all(isinstance(row[1], float) and row[1] > 1 for row in memory.rows)


@pytest.mark.req("E8", "X14")
async def test_lists_are_measured_by_every_filter_on_both_databases(settings: Settings) -> None:
    (table,) = await listing(settings)
    told = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert len(told) % len(FILTERS) == 0 and {row["listed by"] for row in told} == {*FILTERS}
    assert all(row["first page"] > 0 for row in told)
    assert {row["listed"] for row in told if row["listed by"] == "all"} == {4000}


@pytest.mark.req("M9", "X14")
async def test_sealing_is_measured_against_the_same_run_without_keys(settings: Settings) -> None:
    runs, values = await sealing(settings)
    told = [dict(zip(runs.columns, row, strict=True)) for row in runs.rows]
    assert [row["subject"] for row in told] == ["plain", "sealed"] * 2
    assert [row["ratio"] for row in told if row["subject"] == "plain"] == [1.0, 1.0]
    assert all(row["ms"] > 0 and row["runs"] == 1 for row in told) and len(values.rows) == 3


@pytest.mark.req("X1", "X14")
async def test_the_engine_is_measured_at_its_beginnings_in_numbers_and_at_rest(settings: Settings) -> None:
    tiny = Amounts(
        idle_seconds=0.2,
        roles=("engine",),
        beginnings=1,
        polls=(0.1,),
        at_once=(3,),
        running=3,
        queries=3,
        rounds=1,
        count=4,
    )
    begin, status, many, rate, idle = await measured(settings, tiny, ("sqlite",))
    assert [row[1] for row in begin.rows] == ["here (sync)", "queue, poll 100 ms"]
    assert all(0 < row[3] <= row[5] for row in begin.rows)  # type: ignore[operator]
    assert [row[2] for row in status.rows] == [3, 3]
    assert [(row[1], row[7]) for row in many.rows] == [(3, 100)]
    assert len(rate.rows) == 5 and all(isinstance(row[3], float) and row[3] > 0 for row in rate.rows)
    assert [row[1] for row in idle.rows] == ["engine with worker"]


@pytest.mark.req("X14")
@needs("llmock")
async def test_model_calls_are_measured_bare_guarded_limited_and_through_a_graph(settings: Settings) -> None:
    (table,) = await models(settings)
    assert [row[0] for row in table.rows] == [at_once for at_once in AT_ONCE for _ in range(4)]
    assert {str(row[1]) for row in table.rows} == {"langchain-openai", "cogwork model", "with limits", "graph"}
    assert all(isinstance(row[3], float) and row[3] > 0 for row in table.rows)
