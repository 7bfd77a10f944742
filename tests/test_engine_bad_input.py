"""What is wrong at the engine's doors: it is said with a code and what to do, in bounded time, and nothing is left half done."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cogwork.cli.root import cli
from cogwork.errors import EngineError
from cogwork.records.schema import TABLE
from cogwork.settings import Settings
from cogwork.workflow_engine import WorkflowEngine
from state.errors import CogworkError, SpecError
from tests.test_engine import ASKING, PLAIN

pytestmark = [pytest.mark.req("E7", "E2")]
LARGE = 100 * 1024 * 1024


def _settings(folder: Path, **more: Any) -> Settings:
    return Settings(state_dir=folder / "state", workflows=[], **more)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[WorkflowEngine]:
    """An engine without a worker."""
    async with WorkflowEngine(settings=_settings(tmp_path), worker=False, tools=[large]) as made:
        yield made


def large(bytes: int) -> str:
    """As many letters as are asked for."""
    return "x" * bytes


async def test_unknown_ids_of_every_kind_are_said_with_their_code_and_the_nearest_one(engine: WorkflowEngine) -> None:
    workflow = await engine.create_workflow(source=PLAIN)
    execution = await engine.execute_workflow("plain", {}, {"mode": "sync"})
    agent = await engine.register_agent("clerk")
    asked: list[tuple[Any, str, str]] = [
        (engine.get_workflow("plian"), "workflow_not_found", "plain"),
        (engine.update_workflow("plian", {"description": "x"}), "workflow_not_found", "plain"),
        (engine.delete_workflow("plian"), "workflow_not_found", "plain"),
        (engine.execute_workflow("plian"), "workflow_not_found", "plain"),
        (engine.execute_workflow("plain@7"), "version_not_found", ""),
        (engine.get_workflow_metrics("plian"), "workflow_not_found", "plain"),
        (engine.get_execution_status(execution.id[:-1]), "execution_not_found", execution.id),
        (engine.get_execution_result(execution.id[:-1]), "execution_not_found", execution.id),
        (engine.pause_execution(execution.id[:-1]), "execution_not_found", execution.id),
        (engine.resume_execution(execution.id[:-1]), "execution_not_found", execution.id),
        (engine.cancel_execution(execution.id[:-1]), "execution_not_found", execution.id),
        (engine.get_agent("clrek"), "agent_not_found", "clerk"),
        (engine.get_agent_performance("clrek"), "agent_not_found", "clerk"),
        (engine.create_handoff("clerk", "nobody"), "agent_not_found", ""),
        (engine.get_handoff("handoff-0"), "handoff_not_found", ""),
        (engine.batches.get("batch-0"), "batch_not_found", ""),
        (engine.execute_workflow("plain", {}, {"session_id": "session-0"}), "session_not_found", ""),
        (engine.schedules.get("nightly"), "schedule_not_found", ""),
        (engine.triggers.get("hook"), "trigger_not_found", ""),
    ]
    assert workflow and agent
    for verb, code, nearest in asked:
        with pytest.raises(EngineError) as refused:
            await verb
        assert refused.value.code == code, refused.value
        assert nearest in json.dumps(refused.value.to_dict()), refused.value.to_dict()
    with pytest.raises(EngineError) as followed:
        [told async for told in engine.follow("nothing-0")]
    assert followed.value.code == "execution_not_found"


async def test_two_who_publish_at_once_make_two_versions_and_none_is_changed_in_place(engine: WorkflowEngine) -> None:
    name = await engine.create_workflow(source=PLAIN)
    changed = [{**PLAIN, "output": f"{{{{ double.value + {n} }}}}"} for n in range(4)]
    await asyncio.gather(*(engine.update_workflow(name, source=each) for each in changed))
    outputs = []
    for number in range(1, 6):
        done = await engine.run_workflow(f"plain@{number}", {"n": 1})
        outputs.append(done.output)
    assert outputs[0] == 2 and sorted(outputs[1:]) == [2, 3, 4, 5]
    again = await asyncio.gather(
        *(engine.create_workflow(source={**PLAIN, "name": "twin"}) for _ in range(3)), return_exceptions=True
    )
    assert sorted(getattr(each, "code", "made") for each in again) == ["conflict", "conflict", "made"]


async def test_what_is_in_use_is_not_deleted(engine: WorkflowEngine) -> None:
    await engine.create_workflow(source=ASKING)
    execution = await engine.execute_workflow("asking", {"n": 1}, {"mode": "sync"})
    with pytest.raises(EngineError) as refused:
        await engine.delete_workflow("asking")
    assert refused.value.code == "in_use"
    await engine.delete_workflow("asking", force=True)
    done = await engine.resume_execution(execution.id, {"go": "yes"})
    assert (await done.wait(10))["status"] == "completed", "it goes on with the version that it began with"


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": -1},
        {"timeout": 0},
        {"timeout": 1e308},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"timeout": "999999999d"},
        {"delay": -5},
        {"delay": 1e300},
        {"deadline": "9999-12-31T23:59:59-14:00"},
        {"deadline": "0001-01-01T00:00:00+14:00"},
        {"deadline": "tomorrow"},
        {"priority": 0},
        {"priority": 10**12},
        {"idempotency_key": ""},
        {"idempotency_key": "k" * 256},
        {"tenant": "t" * 256},
        {"mode": "fast"},
        {"queue": "nowhere"},
        {"metadata": {"x": object()}},
    ],
    ids=lambda each: "-".join(each),
)
async def test_options_that_do_not_fit_are_refused_and_nothing_is_started(
    engine: WorkflowEngine, options: dict[str, Any]
) -> None:
    await engine.create_workflow(source=PLAIN)
    with pytest.raises(EngineError) as refused:
        await engine.execute_workflow("plain", {}, options)
    assert refused.value.code == "invalid_input" and next(iter(options)) in refused.value.message, refused.value
    assert (await engine.list_executions())["executions"] == []


async def test_a_cursor_that_was_tampered_with_is_refused(engine: WorkflowEngine) -> None:
    await engine.create_workflow(source=PLAIN)
    for _ in range(3):
        await engine.execute_workflow("plain", {}, {"mode": "sync"})
    cursor = (await engine.list_executions(limit=1))["cursor"]
    for wrong in (cursor[:-2], cursor[::-1], cursor + "A", "x", "", "A" * 10_000, cursor.swapcase()):
        with pytest.raises(EngineError) as refused:
            await engine.list_executions(limit=1, cursor=wrong)
        assert refused.value.code == "invalid_cursor", wrong


async def test_inputs_and_outputs_of_a_hundred_megabytes_are_refused_by_name(engine: WorkflowEngine) -> None:
    text = {**PLAIN, "name": "text", "input": {"text": {"type": "string"}}, "nodes": {}, "output": "{{ input.text }}"}
    text["nodes"] = {"one": {"type": "transform", "set": {"value": 1}}}
    await engine.create_workflow(source=text)
    with pytest.raises(EngineError, match="input of text does not fit: larger than") as refused:
        await engine.execute_workflow("text", {"text": "x" * LARGE}, {"mode": "sync"})
    assert refused.value.code == "invalid_input"
    nodes = {"make": {"type": "tool", "tool": "large", "args": {"bytes": LARGE}}}
    await engine.create_workflow(source={"cogwork": "v1", "name": "making", "nodes": nodes, "output": "{{ make }}"})
    done = await engine.run_workflow("making", {})
    assert (done["status"], done.execution.reason or done.errors[0]["class"]) == ("failed", "invalid_output"), (
        done.errors
    )
    events = [told.event.kind async for told in engine.follow(done.execution.id)]
    assert events[-1] == "run.failed"


async def test_a_schedule_whose_time_never_comes_is_refused(engine: WorkflowEngine) -> None:
    await engine.create_workflow(source=PLAIN)
    never = {"type": "schedule", "cron": "0 0 30 2 *"}
    with pytest.raises((EngineError, SpecError)) as refused:
        await engine.create_workflow(source={**PLAIN, "name": "never", "triggers": {"leap": never}})
    assert "cron" in str(refused.value) or "never" in str(refused.value)


# -- databases ---------------------------------------------------------------------------------------------------------


async def _refused(engine: WorkflowEngine, seconds: float = 45.0) -> CogworkError:
    """What the engine says as it does not begin; it is not half open afterwards."""
    began = time.monotonic()
    with pytest.raises(CogworkError) as refused:
        await engine.initialize()
    assert time.monotonic() - began < seconds
    with pytest.raises(EngineError) as closed:
        await engine.list_executions()
    assert closed.value.code == "conflict"
    await engine.shutdown()
    return refused.value


async def test_records_that_are_newer_damaged_or_not_to_be_written_are_said(tmp_path: Path) -> None:
    async with WorkflowEngine(settings=_settings(tmp_path), worker=False):
        pass
    path = tmp_path / "state" / "records.sqlite"
    assert path.exists()
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE {TABLE} SET version_num = '9999'")
    error = await _refused(WorkflowEngine(settings=_settings(tmp_path), worker=False))
    assert "newer" in str(error), error
    path.write_bytes(b"this is no database, whatever its name says" * 100)
    error = await _refused(WorkflowEngine(settings=_settings(tmp_path), worker=False))
    assert "not a database" in str(error), error
    path.unlink()
    for left in path.parent.glob("records.sqlite-*"):
        left.unlink()
    path.mkdir()
    error = await _refused(WorkflowEngine(settings=_settings(tmp_path), worker=False))
    assert str(path) in str(error), error


async def test_a_database_without_room_is_said_and_works_again_when_there_is(engine: WorkflowEngine) -> None:
    await engine.create_workflow(source=PLAIN)
    records = engine.parts.records

    def limited(pages: int) -> None:
        """Every connection of the pool is told."""
        opened = [records.engine.connect() for _ in range(5)]
        for connection in opened:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            connection.close()

    await asyncio.to_thread(limited, 1)
    with pytest.raises(EngineError, match="full") as refused:
        await engine.execute_workflow("plain", {"n": 1}, {"metadata": {"x": "y" * 1_000_000}, "mode": "sync"})
    assert refused.value.code == "database_error"
    await asyncio.to_thread(limited, 1_000_000)
    assert (await engine.run_workflow("plain", {"n": 2})).output == 4


async def test_a_server_that_is_away_when_the_engine_starts_is_said_within_bounded_time(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"postgresql://nobody:hidden@127.0.0.1:{port}/none"
    error = await _refused(WorkflowEngine(settings=_settings(tmp_path, database_url=url)))
    assert "hidden" not in str(error) and str(port) in str(error), error


# -- life --------------------------------------------------------------------------------------------------------------


async def test_an_engine_that_is_not_open_says_so(tmp_path: Path) -> None:
    made = WorkflowEngine(settings=_settings(tmp_path), worker=False)
    for verb in (made.list_executions, made.list_workflows):
        with pytest.raises(EngineError) as refused:
            await verb()
        assert refused.value.code == "conflict" and "initialize" in refused.value.message
    await made.shutdown()
    async with made:
        await made.initialize()
        await made.create_workflow(source=PLAIN)
    with pytest.raises(EngineError):
        await made.execute_workflow("plain")
    async with made:
        assert (await made.run_workflow("plain", {"n": 4})).output == 8, "it can be opened again"


async def test_a_process_has_one_worker_and_the_second_engine_is_told_so(tmp_path: Path) -> None:
    async with WorkflowEngine(settings=_settings(tmp_path)) as first:
        second = WorkflowEngine(settings=_settings(tmp_path / "other"))
        error = await _refused(second)
        assert isinstance(error, EngineError) and error.code == "conflict" and "worker" in error.message
        await first.create_workflow(source=PLAIN)
        done = await (await first.execute_workflow("plain", {"n": 3})).wait(30)
        assert done["output"]["primary_result"] == 6, "the first one's worker goes on"


HELD: dict[str, Any] = {
    "cogwork": "v1",
    "name": "held",
    "nodes": {"wait": {"type": "tool", "tool": "hold"}, "after": {"type": "transform", "set": {"x": "{{ wait }}"}}},
    "output": "{{ after.x }}",
}


async def test_what_runs_when_an_engine_shuts_down_is_resumed_by_the_next(tmp_path: Path) -> None:
    let_go, begun = [False], [0]

    async def hold() -> int:
        """Wait until it is let go of."""
        begun[0] += 1
        while not let_go[0]:
            await asyncio.sleep(0.01)
        return 7

    from cogwork.tools.function import FunctionTool

    tool = FunctionTool.from_function(hold, name="hold", description="Wait.", effect="read")
    async with WorkflowEngine(settings=_settings(tmp_path), tools=[tool]) as engine:
        await engine.create_workflow(source=HELD)
        queued = await engine.execute_workflow("held")
        here = asyncio.create_task(engine.execute_workflow("held", {}, {"mode": "sync"}))
        async with asyncio.timeout(30):
            while begun[0] < 2:
                await asyncio.sleep(0.02)
    with pytest.raises(asyncio.CancelledError):
        await here
    let_go[0] = True
    async with WorkflowEngine(settings=_settings(tmp_path), tools=[tool]) as engine:
        done = await engine.get_execution_status(queued.id)
        async with asyncio.timeout(60):
            while done["status"] != "completed":
                await asyncio.sleep(0.05)
                done = await engine.get_execution_status(queued.id)
        (other,) = (await engine.list_executions(status="paused"))["executions"]
        assert other["reason"] == "interrupted" and other["mode"] == "sync"
        result = await (await engine.resume_execution(other["execution_id"])).wait(30)
        assert result["status"] == "completed" and result.output == 7


async def test_a_caller_who_goes_away_leaves_an_execution_that_can_be_resumed(tmp_path: Path) -> None:
    let_go, begun = [False], asyncio.Event()

    async def hold() -> int:
        """Wait until it is let go of."""
        begun.set()
        while not let_go[0]:
            await asyncio.sleep(0.01)
        return 7

    from cogwork.tools.function import FunctionTool

    tool = FunctionTool.from_function(hold, name="hold", description="Wait.", effect="read")
    async with WorkflowEngine(settings=_settings(tmp_path), worker=False, tools=[tool]) as engine:
        await engine.create_workflow(source=HELD)
        for wait in (False, True):
            task = asyncio.create_task(engine.execute_workflow("held", {}, {"mode": "sync"}))
            if wait:
                await begun.wait()
            else:
                while not (await engine.list_executions())["executions"]:
                    await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        left = (await engine.list_executions())["executions"]
        assert [(each["status"], each["reason"]) for each in left] == [("paused", "interrupted")] * 2
        let_go[0] = True
        for each in left:
            assert (await engine.resume_execution(each["execution_id"]))["status"] == "completed"


# -- the command line --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["result", "nothing-0"], 4, "There is no execution 'nothing-0'"),
        (["follow", "nothing-0"], 4, "There is no execution 'nothing-0'"),
        (["executions", "--status", "broken"], 2, "There is no status 'broken'"),
        (["executions", "--cursor", "x"], 2, "The cursor is none of this list"),
        (["executions", "--since", "yesterday"], 2, "must be an instant"),
        (["start", "nothing"], 4, "There is no workflow 'nothing'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_command_line_says_in_a_line_what_is_wrong(
    words: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == code and said in done.stderr and "Traceback" not in done.output, done.output
