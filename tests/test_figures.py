"""What Prometheus is told: by the server, by a worker, of requests; and that labels cannot grow without bound."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from cogwork.app import app
from cogwork.engine.parts import Shared
from cogwork.engine.serving import worker_of
from cogwork.observability import catalogue
from cogwork.observability.catalogue import METRICS, NAMES
from cogwork.observability.figures import MOST_SERIES, OTHER, Capped, Figures
from cogwork.observability.listening import listening
from cogwork.observability.measured import Measured
from cogwork.observability.places import here
from cogwork.observability.prometheus import prometheus_text
from cogwork.settings import Settings
from cogwork.tools.function import FunctionTool
from cogwork.workflow_engine import WorkflowEngine
from state.errors import Fault
from tests.clusters import schema
from tests.test_docs import DOCS, code, tables
from tests.threads import until

pytestmark = pytest.mark.req("M8", "M10", "E6")
HOUSE = Path(__file__).parent.parent
SPEC: dict[str, Any] = {
    "cogwork": "v1",
    "name": "counted",
    "input": {"fail": {"type": "boolean", "default": False}},
    "nodes": {
        "do": {"type": "tool", "tool": "test.do", "args": {"fail": "{{ input.fail }}"}},
        "say": {"type": "llm", "prompt": "Say {{ do }}"},
    },
    "output": "{{ say }}",
}


def do(fail: bool) -> str:
    """Do as told."""
    if fail:
        raise Fault("permission_denied", "no", origin="tool")
    return "done"


TOOL = FunctionTool.from_function(do, name="test.do", description="Do.", effect="read")


def read(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample, by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def sample(text: bytes, name: str, **labels: str) -> float:
    """The value of one sample."""
    return read(text)[name, tuple(sorted(labels.items()))]


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings on a database of either kind, with a queue of their own."""
    given: dict[str, Any] = {"state_dir": tmp_path / "state", "workflows": [], "queues": {"slow": {}}}
    if request.param == "sqlite":
        yield Settings(**given)
        return
    with schema() as url:
        yield Settings(**given, database_url=url)


async def test_what_ran_is_counted_by_workflow_status_call_and_model(tmp_path: Path) -> None:
    async with WorkflowEngine(settings=Settings(state_dir=tmp_path, workflows=[]), tools=[TOOL]) as engine:
        for fail in (False, False, True):
            await (await engine.execute_workflow(SPEC, {"fail": fail})).wait()
        text = await prometheus_text(engine)
    assert sample(text, "cogwork_executions_started_total", workflow="counted") == 3
    assert sample(text, "cogwork_executions_ended_total", workflow="counted", status="completed") == 2
    assert sample(text, "cogwork_executions_ended_total", workflow="counted", status="failed") == 1
    assert sample(text, "cogwork_execution_duration_seconds_count", workflow="counted", status="completed") == 2
    assert sample(text, "cogwork_call_duration_seconds_count", kind="tool", target="test.do", fault="") == 2
    refused = {"kind": "tool", "target": "test.do", "fault": "permission_denied"}
    assert sample(text, "cogwork_call_duration_seconds_count", **refused) == 1
    assert sample(text, "cogwork_steps_ended_total", kind="llm", status="done") == 2
    assert sample(text, "cogwork_tokens_total", model="offline", direction="output") > 0


async def test_what_waits_runs_and_works_is_looked_up_whoever_counts(settings: Settings) -> None:
    async with WorkflowEngine(settings=settings, tools=[TOOL], worker=False) as engine:
        for options in ({}, {"queue": "slow"}, {"queue": "slow"}, {"delay": "1h"}):
            await engine.execute_workflow(SPEC, {}, dict(options))
        text = await prometheus_text(engine)
    assert sample(text, "cogwork_executions_open", status="pending") == 4
    assert sample(text, "cogwork_queue_length", queue="slow") == 2
    assert sample(text, "cogwork_queue_length", queue="cogwork") == 1, "one that is to begin later does not wait yet"
    assert 0 <= sample(text, "cogwork_queue_oldest_seconds", queue="slow") < 3600
    assert sample(text, "cogwork_workers", state="running") == 0
    assert sample(text, "cogwork_records_up") == 1


async def test_what_is_at_work_is_told_apart_from_what_waits(tmp_path: Path) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def wait() -> str:
        loop.call_soon_threadsafe(begun.set)
        await until(go.is_set)
        return "done"

    tool = FunctionTool.from_function(wait, name="test.wait", description="Wait.", effect="read")
    spec = {"cogwork": "v1", "name": "waits", "nodes": {"a": {"type": "tool", "tool": "test.wait", "args": {}}}}
    chosen = Settings(state_dir=tmp_path, workflows=[], engine={"concurrency": 7})
    async with WorkflowEngine(settings=chosen, tools=[tool]) as engine:
        execution = await engine.execute_workflow(spec, {})
        await begun.wait()
        text = await prometheus_text(engine)
        go.set()
        await execution.wait()
    assert sample(text, "cogwork_queue_running", queue="cogwork") == 1
    assert sample(text, "cogwork_queue_length", queue="cogwork") == 0
    assert sample(text, "cogwork_executions_open", status="running") == 1
    assert (sample(text, "cogwork_worker_places"), sample(text, "cogwork_worker_places_busy")) == (7, 1)


async def test_what_is_looked_up_is_looked_up_once_for_all_who_ask_within_seconds(tmp_path: Path) -> None:
    async with WorkflowEngine(settings=Settings(state_dir=tmp_path, workflows=[]), worker=False) as engine:
        readings = engine.app.telemetry.readings
        now, looks = 100.0, 0
        readings.clock = lambda: now

        async def look() -> Any:
            nonlocal looks
            looks += 1
            await asyncio.sleep(0)
            return {catalogue.RECORDS: {(): float(looks)}}

        found = await asyncio.gather(*(readings.of(look) for _ in range(5)))
        assert looks == 1 and [each[catalogue.RECORDS] for each in found] == [{(): 1.0}] * 5
        now += 4.0
        await readings.of(look)
        assert looks == 1
        now += 2.0
        await readings.of(look)
        assert looks == 2


async def test_records_that_are_away_are_told_of_and_hide_nothing_else(tmp_path: Path) -> None:
    async with WorkflowEngine(settings=Settings(state_dir=tmp_path, workflows=[]), tools=[TOOL]) as engine:
        await (await engine.execute_workflow(SPEC, {})).wait()
        with engine.parts.records.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE cogwork_workers RENAME TO hidden")
        text = await prometheus_text(engine)
        with engine.parts.records.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE hidden RENAME TO cogwork_workers")
    assert sample(text, "cogwork_records_up") == 0
    assert sample(text, "cogwork_executions_ended_total", workflow="counted", status="completed") == 1


async def test_a_breaker_that_is_open_is_told_of(tmp_path: Path) -> None:
    async with WorkflowEngine(settings=Settings(state_dir=tmp_path, workflows=[]), worker=False) as engine:
        breaker = engine.app.breakers.of("mcp:files", threshold=1)
        with pytest.raises(Fault):
            async with breaker.guarding("tool"):
                raise Fault("unavailable", "gone", origin="tool")
        text = await prometheus_text(engine)
    assert sample(text, "cogwork_breaker_open", service="mcp:files") == 1


async def test_every_name_in_the_catalogue_is_exposed_and_no_other_of_ours(tmp_path: Path) -> None:
    async with WorkflowEngine(settings=Settings(state_dir=tmp_path, workflows=[]), worker=False) as engine:
        figures = engine.app.telemetry.figures
        for metric in METRICS:
            labels = [f"some {label}" for label in metric.labels]
            if metric.kind == "histogram":
                figures.observe(metric, 0.2, *labels)
            else:
                figures.add(metric, *labels)
        text = await prometheus_text(engine)
    names = {name for name, _ in read(text) if name.startswith("cogwork_")}
    unlooked = {"cogwork_executions_paused", "cogwork_breaker_open"}
    assert names | unlooked == NAMES


def test_the_docs_tell_of_every_metric_with_its_labels() -> None:
    rows = {code(name): labels for name, labels, _ in tables(DOCS / "observability.md", "metric", "labels", "what")}
    assert rows == {
        f"{each.name}_total" if each.kind == "counter" else each.name: ", ".join(f"`{label}`" for label in each.labels)
        for each in METRICS
    }
    told = (DOCS / "observability.md").read_text()
    assert [each.otel for each in METRICS if f"`{each.otel}`" not in told and each.otel] == []


def test_labels_are_bounded() -> None:
    capped, figures = Capped(2), Figures()
    assert [capped.of(name) for name in ("a", "b", "c", "a", "d")] == ["a", "b", OTHER, "a", OTHER]
    for number in range(MOST_SERIES + 50):
        figures.add(catalogue.REQUESTS, "GET", f"/{number}", "2xx")
    amounts = figures.amounts()[catalogue.REQUESTS]
    assert len(amounts) == MOST_SERIES + 1 and amounts[OTHER, OTHER, OTHER] == 50


def test_threads_that_count_at_once_lose_nothing() -> None:
    figures = Figures()

    def count() -> None:
        for _ in range(2000):
            figures.add(catalogue.UNDER_WAY)
            figures.observe(catalogue.LATENCY, 0.2, "GET", "/")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert figures.amounts()[catalogue.UNDER_WAY] == {(): 8000.0}
    counts, total = figures.spreads()[catalogue.LATENCY]["GET", "/"]
    assert sum(counts) == 8000 and total == pytest.approx(1600)


def test_requests_are_counted_by_their_routes_pattern_and_lie_within_the_callers_trace(tmp_path: Path) -> None:
    seen: list[str] = []

    async def thing(request: Request) -> PlainTextResponse:
        place = here()
        seen.append(place.traceparent if place is not None else "")
        return PlainTextResponse("ok", int(request.path_params["status"]))

    async def broken(request: Request) -> PlainTextResponse:
        raise RuntimeError("broken")

    telemetry = app(Settings(state_dir=tmp_path, workflows=[])).telemetry
    routes = [Route("/things/{status}", thing), Route("/broken", broken)]
    client = TestClient(Measured(Starlette(routes=routes), telemetry), raise_server_exceptions=False)
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    client.get("/things/200", headers={"traceparent": caller})
    client.get("/things/404")
    client.get("/nowhere/at/all")
    client.get("/api/v1/nothing")
    client.get("/broken")
    assert seen == [caller, ""]
    amounts = telemetry.figures.amounts()
    assert amounts[catalogue.UNDER_WAY] == {(): 0.0}
    counted = amounts[catalogue.REQUESTS]
    assert counted["GET", "/api", "4xx"] == counted["GET", OTHER, "4xx"] == 1
    assert sum(counted.values()) == 5
    routes_counted = {route for _, route, _ in counted}
    assert not any("200" in route or "nowhere" in route for route in routes_counted)


def get(url: str) -> tuple[int, bytes]:
    """What a watcher is answered."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def two_free_ports() -> int:
    """The first of two ports one after the other that nobody listens on."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            try:
                other.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


@pytest.mark.slow
async def test_of_several_workers_of_one_command_each_answers_at_a_port_of_its_own(tmp_path: Path) -> None:
    port = two_free_ports()
    own = {name: value for name, value in os.environ.items() if not name.startswith(("COGWORK_", "OTEL_"))}
    environment = {**own, "PYTHONPATH": str(HOUSE), "COGWORK_OBSERVABILITY__METRICS_PORT": str(port)}
    command = [sys.executable, "-m", "cogwork", "worker", "--processes", "2"]
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL)

    async def ready(at: int) -> bool:
        try:
            status, _ = await asyncio.to_thread(get, f"http://127.0.0.1:{at}/health/ready")
        except OSError:
            return False
        return status == 200

    try:
        for at in (port, port + 1):
            async with asyncio.timeout(120):
                while not await ready(at):
                    assert process.poll() is None
                    await asyncio.sleep(0.05)
        _, text = await asyncio.to_thread(get, f"http://127.0.0.1:{port + 1}/metrics")
        assert sample(text, "cogwork_workers", state="running") == 2
    finally:
        process.terminate()
        assert await asyncio.to_thread(process.wait, 120) == 0


async def test_a_worker_answers_those_who_watch_it(tmp_path: Path) -> None:
    chosen = Settings(state_dir=tmp_path, workflows=[], observability={"metrics_port": 0})
    house = app(chosen, tools=[TOOL])
    shared = Shared(house)
    parts = shared.parts()
    stop = asyncio.Event()

    try:
        async with listening(house, parts) as listener:
            assert (await asyncio.to_thread(get, f"{listener.address}/health/ready"))[0] == 503
            worker = asyncio.create_task(worker_of(parts).serve(stop, lambda: setattr(listener, "ready", True)))
            await until(lambda: listener.ready)
            assert await asyncio.to_thread(get, f"{listener.address}/health/ready") == (200, b"ready\n")
            assert (await asyncio.to_thread(get, f"{listener.address}/health/live"))[0] == 200
            assert (await asyncio.to_thread(get, f"{listener.address}/other"))[0] == 404
            status, text = await asyncio.to_thread(get, f"{listener.address}/metrics")
            assert status == 200 and sample(text, "cogwork_workers", state="running") == 1
            stop.set()
            await worker
    finally:
        stop.set()
        await parts.close()
        shared.close()
        house.close()
