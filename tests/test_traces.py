"""Traces as a collector gets them: the tree of a run, across the queue, within a caller's trace, and without secrets."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx2 import ASGITransport, AsyncClient
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from cogwork.observability import attributes
from cogwork.observability.measured import Measured
from cogwork.observability.places import being, carried, place_of, span_of, trace_of
from cogwork.settings import Settings
from cogwork.tools.addresses import Reach
from cogwork.tools.function import FunctionTool
from cogwork.tools.mcp.config import McpServer
from cogwork.tools.net import Client
from cogwork.workflow_engine import WorkflowEngine
from state.errors import Fault
from state.services import CallContext
from tests.collector import Collector, collecting
from tests.threads import until
from tests.web import serving

pytestmark = pytest.mark.req("M8", "E6")
HOUSE = Path(__file__).parent.parent
CANARY = "canary-7f31-do-not-tell"
WORK: dict[str, Any] = {
    "cogwork": "v1",
    "name": "watched",
    "input": {"word": {"type": "string", "default": "none"}},
    "nodes": {
        "look": {
            "type": "tool",
            "tool": "test.look",
            "args": {"word": "{{ input.word }}", "key": "secret://pass"},
            "retry": {"max_attempts": 3, "backoff": "1ms", "jitter": False, "on": ["unavailable"]},
        },
        "say": {"type": "llm", "prompt": "Say {{ look }}"},
    },
    "output": "{{ say }}",
}
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that listens."""
    with collecting() as made:
        yield made


def look(context: CallContext, word: str, key: str) -> str:
    """Fails once, then gives back what it was given, the secret among it."""
    if context.attempt == 1:
        raise Fault("unavailable", f"no {word} with {key}", origin="tool")
    return f"{word} {key}"


def settings(folder: Path, address: str | None, **more: Any) -> Settings:
    return Settings(
        state_dir=folder / "state",
        workflows=[],
        secrets={"pass": CANARY},
        observability={"otlp_endpoint": address, "metrics_seconds": 3600, **more},
    )


def engine(folder: Path, address: str | None, **more: Any) -> WorkflowEngine:
    tool = FunctionTool.from_function(look, name="test.look", description="Look.", effect="read")
    return WorkflowEngine(settings=settings(folder, address, **more), tools=[tool])


async def run(made: WorkflowEngine, given: dict[str, Any] | None = None, *, mode: str = "async", **options: Any) -> str:
    async with made:
        execution = await made.execute_workflow(WORK, {"word": "moon", **(given or {})}, {"mode": mode, **options})
        result = await execution.wait()
        assert result["status"] == "completed", result
        return str(execution.id)


WITHIN = {
    "stretch watched": {
        "step look": {
            "attempt 1": {"execute_tool test.look": {}},
            "attempt 2": {"execute_tool test.look": {}},
        },
        "step say": {"attempt 1": {"chat offline": {}}},
    }
}


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_a_run_is_a_tree_of_its_stretch_steps_attempts_and_calls_of_tools_and_models(
    mode: str, tmp_path: Path, collector: Collector
) -> None:
    name = await run(engine(tmp_path, collector.address), mode=mode)
    assert collector.tree() == {"invoke_workflow watched": WITHIN}
    whole = collector.one("invoke_workflow watched")
    assert {span.trace for span in collector.spans} == {f"{trace_of(name):032x}"}
    assert whole.id == f"{span_of(name):016x}"
    assert whole.told["cogwork.execution.id"] == name
    assert whole.told["gen_ai.operation.name"] == "invoke_workflow"
    assert whole.told["cogwork.status"] == "completed"
    assert whole.resource["service.name"] == "cogwork"


async def test_a_call_of_a_model_says_which_and_what_it_used_and_a_failed_attempt_why(
    tmp_path: Path, collector: Collector
) -> None:
    await run(engine(tmp_path, collector.address))
    chat = collector.one("chat offline")
    assert chat.told["gen_ai.operation.name"] == "chat"
    assert chat.told["gen_ai.request.model"] == chat.told["gen_ai.provider.name"] == "offline"
    assert chat.told["gen_ai.usage.input_tokens"] > 0 < chat.told["gen_ai.usage.output_tokens"]
    first, second = sorted(collector.named("execute_tool"), key=lambda span: span.begun)
    assert (first.failed, second.failed) == (True, False)
    assert first.told["error.type"] == "unavailable" and first.told["gen_ai.tool.name"] == "test.look"
    failed = [span.told["error.type"] for span in collector.named("attempt 1") if span.failed]
    assert failed == ["unavailable"]
    step = collector.one("step look")
    assert step.told["cogwork.attempts"] == 2 and not step.failed and step.told["cogwork.step.kind"] == "tool"


async def test_what_is_sent_holds_no_content_unless_it_is_wanted_and_no_secret_even_then(tmp_path: Path) -> None:
    with collecting() as shy:
        await run(engine(tmp_path / "shy", shy.address))
    with collecting() as open_:
        # Whoever knows a secret may write it anywhere.
        leaky = {"word": f"moon {CANARY}"}
        await run(engine(tmp_path / "open", open_.address, capture_content=True), leaky, tenant=CANARY)
    assert b"moon" not in shy.raw and CANARY.encode() not in shy.raw
    assert CANARY.encode() not in open_.raw and b"secret://pass" in open_.raw
    call = max(open_.named("execute_tool"), key=lambda span: span.begun)
    assert json.loads(call.told["gen_ai.tool.call.arguments"])["word"] == "moon secret://pass"
    assert call.told["gen_ai.tool.call.result"] == "moon secret://pass secret://pass"
    assert "moon" in open_.one("chat offline").told["gen_ai.input.messages"]


async def test_what_is_cut_off_leaves_no_half_of_a_secret(tmp_path: Path, collector: Collector) -> None:
    begins = len('{"key": "secret://pass", "word": "')
    long = "m" * (attributes.MOST_CHARACTERS - begins - 12) + CANARY
    await run(engine(tmp_path, collector.address, capture_content=True), {"word": long})
    assert b"mmmmm" in collector.raw and CANARY[:12].encode() not in collector.raw


async def test_a_run_lies_within_the_trace_of_its_caller(tmp_path: Path, collector: Collector) -> None:
    async with engine(tmp_path, collector.address, sample_ratio=0.0) as made:
        with being(place_of(CALLER)):
            execution = await made.execute_workflow(WORK, {})
        assert (await execution.wait())["status"] == "completed"
        unsampled = await made.execute_workflow(WORK, {})
        await unsampled.wait()
    whole = collector.one("invoke_workflow watched")
    assert (whole.trace, whole.parent) == (CALLER[3:35], CALLER[36:52])
    assert {span.trace for span in collector.spans} == {CALLER[3:35]}


async def test_a_request_to_the_server_is_the_span_that_an_execution_lies_in(
    tmp_path: Path, collector: Collector
) -> None:
    async with engine(tmp_path, collector.address) as made:

        async def start(request: Request) -> PlainTextResponse:
            execution = await made.execute_workflow(WORK, {})
            return PlainTextResponse(execution.id)

        application = Measured(Starlette(routes=[Route("/start/{what}", start, methods=["POST"])]), made.app.telemetry)
        async with AsyncClient(transport=ASGITransport(application), base_url="http://server") as client:  # type: ignore[arg-type]
            name = (await client.post("/start/this", headers={"traceparent": CALLER})).text
        await until(lambda: _status(made, name, "completed"))
    request, whole = collector.one("POST /start/{what}"), collector.one("invoke_workflow watched")
    assert (request.trace, request.parent) == (CALLER[3:35], CALLER[36:52])
    assert (whole.trace, whole.parent) == (request.trace, request.id)
    assert request.told["http.response.status_code"] == 200 and request.told["http.route"] == "/start/{what}"


@pytest.mark.slow
async def test_a_run_in_a_process_of_its_own_is_traced_with_the_tools_that_it_calls(
    tmp_path: Path, collector: Collector
) -> None:
    await run(engine(tmp_path, collector.address), mode="isolated")
    stretch = collector.tree()["invoke_workflow watched"]["stretch watched"]
    assert {"step look", "step say"} <= stretch.keys()
    assert len(collector.named("execute_tool test.look")) == 2
    assert len({span.trace for span in collector.spans}) == 1
    assert CANARY.encode() not in collector.raw


async def test_a_tool_passes_the_place_of_its_call_on(tmp_path: Path, collector: Collector) -> None:
    told: list[str] = []

    async def ask(word: str) -> str:
        told.append(carried()["traceparent"])
        return word

    tool = FunctionTool.from_function(ask, name="test.ask", description="Ask.", effect="read")
    spec = {
        "cogwork": "v1",
        "name": "asks",
        "nodes": {"a": {"type": "tool", "tool": "test.ask", "args": {"word": "x"}}},
    }
    async with WorkflowEngine(settings=settings(tmp_path, collector.address), tools=[tool]) as made:
        await (await made.execute_workflow({**spec, "output": "{{ a }}"}, {})).wait()
    call = collector.one("execute_tool test.ask")
    assert told == [f"00-{call.trace}-{call.id}-01"]
    assert carried() == {}


async def test_a_call_of_an_mcp_server_tells_it_where_in_the_trace_it_is(tmp_path: Path, collector: Collector) -> None:
    spec = {"cogwork": "v1", "name": "asks", "nodes": {"a": {"type": "tool", "tool": "near.place", "args": {}}}}
    near = McpServer(command=sys.executable, args=[str(HOUSE / "tests" / "served_mcp" / "place.py")])
    chosen = settings(tmp_path, collector.address).model_copy(update={"mcp_servers": {"near": near}})
    async with WorkflowEngine(settings=chosen) as made:
        result = await (await made.execute_workflow({**spec, "output": "{{ a }}"}, {})).wait()
        assert result["status"] == "completed", result
    call, told = collector.one("execute_tool near.place"), place_of(result.output["result"])
    assert told is not None and f"{told.trace:032x}" == call.trace


async def test_a_request_of_an_http_tool_carries_the_place_in_the_trace() -> None:
    async def echo(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.headers.get("traceparent", "none"))

    with serving(Starlette(routes=[Route("/", echo)])) as port:
        client = Client(reach=Reach.of((), [f"127.0.0.1:{port}"]))
        with being(place_of(CALLER)):
            assert (await client.send("GET", f"http://127.0.0.1:{port}/")).body.decode() == CALLER
        assert (await client.send("GET", f"http://127.0.0.1:{port}/")).body == b"none"


async def test_a_run_of_a_workflow_that_is_called_as_a_tool_lies_within_the_call(
    tmp_path: Path, collector: Collector
) -> None:
    inner = {"cogwork": "v1", "name": "inner", "nodes": {"x": {"type": "transform", "set": {"v": 1}}}, "output": 1}
    folder = tmp_path / "workflows"
    folder.mkdir()
    (folder / "inner.yaml").write_text(json.dumps({**inner, "output": "{{ x.v }}"}))
    outer = {
        "cogwork": "v1",
        "name": "outer",
        "nodes": {"a": {"type": "tool", "tool": "workflow.inner", "args": {}}},
        "output": "{{ a }}",
    }
    chosen = settings(tmp_path, collector.address).model_copy(update={"workflows": [folder]})
    async with WorkflowEngine(settings=chosen) as made:
        result = await (await made.execute_workflow(outer, {})).wait()
        assert result["status"] == "completed", result
    call = collector.one("execute_tool workflow.inner")
    assert collector.one("invoke_workflow inner").parent == call.id
    assert len({span.trace for span in collector.spans}) == 1


async def test_loops_hold_the_spans_of_their_items_and_steps_without_time_are_told_too(
    tmp_path: Path, collector: Collector
) -> None:
    spec = {
        "cogwork": "v1",
        "name": "many",
        "nodes": {
            "each": {"for_each": "[1, 2]", "nodes": {"twice": {"type": "transform", "set": {"v": "{{ item }}"}}}}
        },
    }
    async with WorkflowEngine(settings=settings(tmp_path, collector.address)) as made:
        result = await (await made.execute_workflow(spec, {})).wait()
        assert result["status"] == "completed", result
    steps = {"step each": {"step each[0].twice": {}, "step each[1].twice": {}}}
    assert collector.tree() == {"invoke_workflow many": {"stretch many": steps}}


async def test_an_execution_that_rests_and_goes_on_is_one_span_with_two_stretches(
    tmp_path: Path, collector: Collector
) -> None:
    spec = {
        "cogwork": "v1",
        "name": "asks",
        "nodes": {"ok": {"type": "human", "ask": "Go on?", "form": {"yes": {"type": "boolean"}}}},
        "output": "{{ ok.yes }}",
    }
    async with WorkflowEngine(settings=settings(tmp_path, collector.address)) as made:
        execution = await made.execute_workflow(spec, {})
        await until(lambda: _status(made, execution.id, "paused"))
        await made.resume_execution(execution.id, {"ok": {"yes": True}})
        assert (await execution.wait())["status"] == "completed"
    whole = collector.one("invoke_workflow asks")
    stretches = collector.named("stretch asks")
    assert sorted(span.told["cogwork.status"] for span in stretches) == ["completed", "paused"]
    assert {span.parent for span in stretches} == {whole.id}
    assert whole.begun <= min(span.begun for span in stretches)


async def _status(made: WorkflowEngine, name: str, wanted: str) -> bool:
    return bool((await made.get_execution_status(name))["status"] == wanted)


async def test_an_execution_that_is_cancelled_before_it_began_is_told_of(tmp_path: Path, collector: Collector) -> None:
    chosen = settings(tmp_path, collector.address)
    async with WorkflowEngine(settings=chosen, worker=False) as made:
        execution = await made.execute_workflow(
            {"cogwork": "v1", "name": "waits", "nodes": {"a": {"type": "transform", "set": {"v": 1}}}}, {}
        )
        await made.cancel_execution(execution.id)
    assert collector.tree() == {"invoke_workflow waits": {}}
    assert collector.one("invoke_workflow waits").told["cogwork.status"] == "cancelled"


@pytest.mark.slow
async def test_a_run_that_another_process_works_on_is_one_trace_with_the_request_for_it(
    tmp_path: Path, collector: Collector
) -> None:
    spec = {
        "cogwork": "v1",
        "name": "far",
        "nodes": {"say": {"type": "llm", "prompt": "Say hello"}},
        "output": "{{ say }}",
    }
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("COGWORK_")},
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address,
        "COGWORK_STATE_DIR": str(tmp_path / "state"),
        "PYTHONPATH": str(HOUSE),
    }
    async with WorkflowEngine(settings=settings(tmp_path, collector.address), worker=False) as made:
        with being(place_of(CALLER)):
            execution = await made.execute_workflow(spec, {})
        worker = subprocess.Popen([sys.executable, "-m", "cogwork", "worker"], env=environment, cwd=tmp_path)
        try:
            await until(lambda: _status(made, execution.id, "completed"))
        finally:
            worker.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(worker.wait, 60) == 0
    tree = {"stretch far": {"step say": {"attempt 1": {"chat offline": {}}}}}
    assert collector.tree() == {"invoke_workflow far": tree}
    assert {span.trace for span in collector.spans} == {CALLER[3:35]}


async def test_a_collector_that_is_away_holds_up_no_run(tmp_path: Path) -> None:
    with collecting() as gone:
        address = gone.address
    await run(engine(tmp_path, address))


async def test_metrics_go_to_the_collector_by_the_conventions_names(tmp_path: Path, collector: Collector) -> None:
    await run(engine(tmp_path, collector.address))
    assert collector.last("cogwork.executions.ended", cogwork__workflow="watched", cogwork__status="completed") == 1
    calls = "gen_ai.client.operation.duration"
    assert collector.last(calls, gen_ai__operation__name="chat", gen_ai__request__model="offline") == 1
    assert collector.last(calls, gen_ai__tool__name="test.look", error__type="unavailable") == 1
    assert collector.last("gen_ai.client.token.usage", gen_ai__token__type="output") == 1


def test_the_names_of_attributes_are_those_of_the_conventions() -> None:
    ours = {name: value for name, value in vars(attributes).items() if name.startswith("GEN_AI_")}
    assert len(ours) > 15
    assert ours == {name: getattr(gen_ai_attributes, name) for name in ours}
    operations = {each.value for each in gen_ai_attributes.GenAiOperationNameValues}
    assert {attributes.operation("model"), attributes.operation("tool"), "invoke_workflow"} <= operations


@pytest.mark.parametrize(
    "given",
    [
        "",
        "nonsense",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        None,
        7,
    ],
)
def test_a_header_that_is_no_place_in_a_trace_is_none(given: object) -> None:
    assert place_of(given) is None
    assert place_of(CALLER) is not None and place_of(CALLER).traceparent == CALLER  # type: ignore[union-attr]


def test_with_nothing_configured_neither_spans_nor_exporters_nor_prometheus_are_imported(tmp_path: Path) -> None:
    code = """
        import asyncio, sys
        from cogwork import WorkflowEngine
        spec = {"cogwork": "v1", "name": "s", "nodes": {"say": {"type": "llm", "prompt": "Say hi"}}}
        async def main():
            async with WorkflowEngine() as engine:
                await (await engine.execute_workflow(spec, {})).wait()
        asyncio.run(main())
        ours = ["cogwork.observability." + name for name in ("spans", "stretches", "exporting", "prometheus")]
        print([name for name in sys.modules if name in ours or name.startswith("prometheus_client")])
        print([name for name in sys.modules if name.startswith("opentelemetry.exporter.otlp")])
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COGWORK_", "OTEL_"))}
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**kept, "PYTHONPATH": str(HOUSE)},
        check=True,
    ).stdout
    assert said.split() == ["[]", "[]"]
