"""Checkpoints in PostgreSQL: LangGraph's contract, what may not be stored, and how it fails."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg")

import ormsgpack
import psycopg
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.types import Command

from cogwork.app import app
from cogwork.sealing.keys import Key, Ring
from cogwork.settings import Settings
from cogwork.store.checkpoints import StoreError
from cogwork.store.postgres import PostgresCheckpoints
from cogwork.tools.function import tool
from state.durable import Durable, RecordedCall, Request
from tests import clusters

HOUSE = Path(__file__).resolve().parent.parent
CONFIG: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


@pytest.fixture
def url() -> Iterator[str]:
    with clusters.schema() as address:
        yield address


@pytest.fixture
def saver(url: str) -> Iterator[PostgresCheckpoints]:
    with PostgresCheckpoints(url) as made:
        yield made


@pytest.mark.req("D4", "R5")
@pytest.mark.parametrize("ring", [Ring(), Ring((Key(bytes(32)),))], ids=["plain", "sealed"])
async def test_every_capability_of_the_public_conformance_suite_passes(url: str, ring: Ring) -> None:
    @checkpointer_test(name="PostgresCheckpoints")
    async def made() -> AsyncIterator[BaseCheckpointSaver[str]]:
        with PostgresCheckpoints(url, ring=ring) as saver:
            yield saver

    report = await validate(made)
    failed = {name: result.failures for name, result in report.results.items() if not result.passed}
    assert not failed
    assert len(report.results) == 8


def python(code: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new process."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(HOUSE), **more}
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


async def put(saver: PostgresCheckpoints, config: Any = CONFIG, **metadata: Any) -> None:
    told: Any = {"source": "loop", "step": 1, "parents": {}, **metadata}
    await saver.aput(config, empty_checkpoint(), told, {})


# -- opening -----------------------------------------------------------------------------------------------------------


def test_many_that_open_an_empty_database_at_once_all_find_their_tables(url: str) -> None:
    starting = threading.Barrier(6)

    def opened() -> bool:
        starting.wait()
        with PostgresCheckpoints(url) as saver:
            return list(saver.threads()) == []

    with ThreadPoolExecutor(6) as many:
        assert all(future.result() for future in [many.submit(opened) for _ in range(6)])


def test_the_settings_choose_the_database_and_never_show_its_password(url: str, tmp_path: Path) -> None:
    secret = url.replace("://", "://somebody:hunter2@", 1) if "@" not in url else url.replace("@", ":hunter2@", 1)
    settings = Settings(database_url=secret, state_dir=tmp_path)
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()
    with app(Settings(database_url=url, state_dir=tmp_path)).checkpoints() as saver:
        assert isinstance(saver, PostgresCheckpoints)
        assert isinstance(saver, Durable)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgresql://me:hunter2@127.0.0.1:1/lost", "Cannot use the PostgreSQL database 'lost' at 127.0.0.1:1: "),
        ("postgresql//me:hunter2@127.0.0.1/lost", "database_url is no address of PostgreSQL: write postgresql://"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(address: str, said: str) -> None:
    with pytest.raises(StoreError) as refused:
        PostgresCheckpoints(address, patience=0.2)
    assert said in str(refused.value)
    chain = [refused.value, refused.value.__cause__]
    assert "hunter2" not in "".join(map(repr, chain)) + "".join(map(str, chain))


def test_without_the_driver_the_extra_to_install_is_named() -> None:
    code = """
    import sys
    sys.modules["psycopg"] = None
    from cogwork.app import app
    from cogwork.store.checkpoints import StoreError
    try:
        app().checkpoints()
    except StoreError as err:
        print(err)
    """
    done = python(code, COGWORK_DATABASE_URL="postgresql://127.0.0.1/x")
    assert done.stdout.strip() == "database_url is set, but psycopg is missing: install cogwork[postgres]", done.stderr


# -- what is stored ----------------------------------------------------------------------------------------------------


async def test_nothing_that_a_caller_configured_for_other_purposes_is_stored(
    saver: PostgresCheckpoints, url: str
) -> None:
    config: Any = {"configurable": {**CONFIG["configurable"], "api_key": "hunter2", "run_id": "r1"}}
    await put(saver, config)
    with psycopg.connect(url) as connection:
        rows = connection.execute("select checkpoint::text || metadata::text from checkpoints").fetchall()
    assert "hunter2" not in str(rows)
    assert "r1" in str(rows)


async def test_text_that_jsonb_refuses_does_not_stop_a_run(saver: PostgresCheckpoints) -> None:
    bad = "a\0b\ud800c"

    @tool(name="test.bad", effect="read")
    def given() -> Any:
        """Give what PostgreSQL's JSONB knows no form of."""
        return {"text": bad, "huge": 2**70, "none": float("nan"), "endless": float("inf"), bad: bad}

    spec = """
    cogwork: v1
    name: bad
    nodes:
      a: {type: tool, tool: test.bad}
      b: {type: transform, set: "{{ a.text }}"}
    output: "{{ b }}"
    """
    graph = app(tools=[given]).compile(textwrap.dedent(spec), checkpointer=saver)
    config: Any = {"configurable": {"thread_id": "bad"}, "metadata": {"who": bad, "size": float("inf")}}
    assert (await graph.ainvoke({}, config))["output"] == "a\ufffdb\ufffdc"
    found = await saver.aget_tuple({"configurable": {"thread_id": "bad"}})
    assert found is not None
    assert found.metadata["who"] == "a\ufffdb\ufffdc"  # type: ignore[typeddict-item]
    await put(saver, deep={"a": [bad]})


async def test_an_id_that_cannot_be_stored_is_refused_in_a_sentence(saver: PostgresCheckpoints) -> None:
    with pytest.raises(StoreError, match="NUL"):
        await put(saver, {"configurable": {"thread_id": "a\0b", "checkpoint_ns": ""}})


async def test_types_that_are_not_plain_data_are_never_revived(saver: PostgresCheckpoints, url: str) -> None:
    config = await saver.aput(CONFIG, empty_checkpoint(), {"source": "loop", "step": 1, "parents": {}}, {})
    await saver.aput_writes(config, [("x", 1)], "task")
    crafted = ormsgpack.packb(ormsgpack.Ext(0, ormsgpack.packb(("os", "getpid", ()))))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("update checkpoint_writes set blob = %s", (crafted,))
    found = await saver.aget_tuple(CONFIG)
    assert found is not None
    assert found.pending_writes is not None
    assert found.pending_writes[0][2] != os.getpid()


async def test_a_deleted_thread_leaves_no_row(saver: PostgresCheckpoints, url: str) -> None:
    call = RecordedCall(key="r:a:0", run="r", step="a", target="x", effect="write", repeatable=False)
    for forget in (saver.adelete_thread, lambda thread: saver.aprune([thread], strategy="delete")):
        spec = "cogwork: v1\nname: x\nnodes:\n  a: {type: human, ask: Well?, form: {ok: {type: boolean}}}\n"
        await app().compile(spec, checkpointer=saver).ainvoke({}, CONFIG)
        async with saver.owners.held("t"):
            await saver.calls.keep("t", call)
            await saver.requests.make("t", Request(id="1", kind="pause"))
        await forget("t")
        with psycopg.connect(url) as connection:
            for table, column in [
                ("checkpoints", "thread_id"),
                ("checkpoint_blobs", "thread_id"),
                ("checkpoint_writes", "thread_id"),
                ("cogwork_calls", "thread"),
                ("cogwork_requests", "thread"),
                ("cogwork_owners", "thread"),
            ]:
                row = connection.execute(f"select count(*) from {table} where {column} = 't'").fetchone()
                assert row == (0,), table


# -- from anywhere -----------------------------------------------------------------------------------------------------


def test_one_saver_serves_any_event_loop_and_thread(saver: PostgresCheckpoints) -> None:
    spec = """
    cogwork: v1
    name: asking
    nodes:
      ask: {type: human, ask: "Which?", form: {name: {type: string}}}
      told: {type: transform, set: "{{ ask.name }}!"}
    output: "{{ told }}"
    """
    graph = app().compile(textwrap.dedent(spec), checkpointer=saver)

    def run(number: int) -> str:
        config: Any = {"configurable": {"thread_id": f"t{number}"}}
        graph.invoke({}, config)
        answer = Command(resume={"name": str(number)})
        return str(asyncio.run(graph.ainvoke(answer, config))["output"])

    with ThreadPoolExecutor(4) as many:
        assert list(many.map(run, range(8))) == [f"{n}!" for n in range(8)]
    assert sorted(saver.threads()) == [f"t{n}" for n in range(8)]
    assert graph.get_state({"configurable": {"thread_id": "t3"}}).values["output"] == "3!"


# -- how much is stored ------------------------------------------------------------------------------------------------


@pytest.mark.req("R5")
async def test_large_results_are_stored_once_however_many_checkpoints_hold_them(
    saver: PostgresCheckpoints, url: str
) -> None:
    text = os.urandom(25_000).hex()

    @tool(name="test.pass", effect="read")
    def passed(value: Any) -> Any:
        """Give what was given."""
        return value

    steps = "\n".join(
        f"  n{i}: {{type: tool, tool: test.pass, args: {{value: '{{{{ {f'n{i - 1}' if i else 'input.x'} }}}}'}}}}"
        for i in range(20)
    )
    spec = f"cogwork: v1\nname: chain\ninput: {{x: string}}\nnodes:\n{steps}\noutput: '{{{{ n19 }}}}'"
    graph = app(tools=[passed]).compile(spec, checkpointer=saver)
    await graph.ainvoke({"x": text}, CONFIG)

    def stored() -> int:
        with psycopg.connect(url) as connection:
            row = connection.execute(
                "select (select coalesce(sum(length(blob)), 0) from checkpoint_blobs)"
                " + (select coalesce(sum(length(blob)), 0) from checkpoint_writes)"
                " + (select coalesce(sum(length(body)), 0) from cogwork_pieces)"
            ).fetchone()
        assert row is not None
        return int(row[0])

    before = stored()
    assert before < 8 * len(text)
    await saver.acopy_thread("t", "copied")
    await saver.aprune(["t"])
    await saver.adelete_thread("copied")
    assert stored() < before
    for _ in range(2):
        state = await graph.aget_state(CONFIG)
        assert state.values["results"] == {f"n{i}": text for i in range(20)}
        await saver.acopy_thread("t", "copied")
        await saver.adelete_thread("t")
        await saver.acopy_thread("copied", "t")
