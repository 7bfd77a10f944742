"""What is kept is sealed: no file, log or dump of a database holds a canary, and everything still works."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypedDict

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typer.testing import CliRunner

from cogwork import WorkflowEngine
from cogwork.app import app
from cogwork.cli.root import cli
from cogwork.errors import EngineError
from cogwork.metrics import Metrics
from cogwork.records.database import opened
from cogwork.records.payloads import found, kept
from cogwork.sealing.encrypting import encrypted
from cogwork.sealing.errors import KeyMissing, Unopened
from cogwork.sealing.keys import KeySource, Ring, ring_of
from cogwork.sealing.seals import Seals
from cogwork.sealing.standing import swept
from cogwork.sealing.xaes import Xaes
from cogwork.sessions.store import memory_store
from cogwork.settings import Settings
from cogwork.store.checkpoints import SqliteCheckpoints
from cogwork.store.errors import StoreError
from cogwork.store.postgres import PostgresCheckpoints
from state.errors import CogworkError
from tests.clusters import schema
from tests.fleet import drop
from tests.ledger import NOW, Ledger, fault
from tests.sealed import CANARIES, KEYS, dumped, goes_on, leaks, leaks_in, lived, opened_bytea, resting, tools

pytestmark = pytest.mark.req("M9")
ID_ONE, ID_TWO = (ring_of([KeySource(env=name)], KEYS).ids[0] for name in KEYS)
ONE, TWO = {"env": "KEY_ONE"}, {"env": "KEY_TWO"}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys, in the environment."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@asynccontextmanager
async def engine(
    folder: Path, *keys: dict[str, str], worker: bool = True, **more: Any
) -> AsyncIterator[WorkflowEngine]:
    """An engine with these keys."""
    settings = Settings(state_dir=folder, workflows=[], encryption_keys=[*keys], **more)  # type: ignore[arg-type]
    async with WorkflowEngine(settings=settings, tools=tools(), worker=worker) as made:
        yield made


@contextmanager
def database() -> Iterator[str]:
    """An empty schema of PostgreSQL; the queue's is dropped with it."""
    with schema() as url:
        try:
            yield url
        finally:
            drop(url)


async def test_without_keys_the_search_finds_every_canary_on_disk(tmp_path: Path) -> None:
    async with engine(tmp_path) as made:
        await lived(made)
        found = leaks_in(tmp_path)
    assert set.union(*found.values()) == set(CANARIES)


async def test_with_a_key_no_file_of_the_state_folder_holds_a_canary(tmp_path: Path) -> None:
    async with engine(tmp_path, ONE) as made:
        output = await lived(made)
        assert leaks_in(tmp_path) == {}
    assert output["given"] == CANARIES["input"]
    assert leaks_in(tmp_path) == {}


async def test_with_a_key_no_row_of_postgresql_holds_a_canary(tmp_path: Path) -> None:
    with database() as url:
        async with engine(tmp_path, database_url=url) as made:
            await lived(made)
        assert leaks(opened_bytea(await asyncio.to_thread(dumped, url))) == set(CANARIES)
    with database() as url:
        async with engine(tmp_path, ONE, database_url=url) as made:
            output = await lived(made)
        assert output["given"] == CANARIES["input"]
        assert leaks(opened_bytea(await asyncio.to_thread(dumped, url))) == set()


class Told(TypedDict, total=False):
    """What a graph that is not ours holds: a text, which LangGraph keeps within the checkpoint."""

    text: str
    asked: str


def foreign() -> StateGraph[Any, Any, Any, Any]:
    """A graph of LangGraph's own that asks, and then fails or ends."""
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(Told)
    graph.add_node("takes", lambda state: {"text": f"{CANARIES['state']} {state['text']}"})
    graph.add_node("asks", lambda state: {"asked": interrupt({"question": CANARIES["asked"]})})
    graph.add_node("ends", ends)
    for one, other in ((START, "takes"), ("takes", "asks"), ("asks", "ends"), ("ends", END)):
        graph.add_edge(one, other)
    return graph


def ends(state: Told) -> dict[str, str]:
    """Fail where it is told to, with all that it holds."""
    if "fail" in state["asked"]:
        raise ValueError(f"{CANARIES['error']} {state}")
    return {"text": state["text"]}


@pytest.mark.parametrize("where", ["sqlite", "postgresql"])
async def test_graphs_of_other_people_are_sealed_too_and_logs_hold_nothing_of_what_fails(
    tmp_path: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with database() if where == "postgresql" else nullcontext() as url:
        async with engine(tmp_path, ONE, database_url=url) as made:
            name = await made.register_workflow(foreign(), name="foreign")
            for answer, status in ((CANARIES["answered"], "completed"), (f"fail {CANARIES['answered']}", "failed")):
                execution = await made.execute_workflow(name, {"text": CANARIES["input"]}, {"mode": "sync"})
                assert (await execution.wait(60))["status"] == "paused"
                done = await (await execution.resume(answer)).wait(60)
                assert done["status"] == status
                assert CANARIES["input"] in json.dumps(done.to_dict())
            assert leaks_in(tmp_path) == {}
        if url is not None:
            assert leaks(opened_bytea(await asyncio.to_thread(dumped, url))) == set()
    assert leaks(caplog.text.encode()) == set()


async def test_what_is_cached_and_remembered_is_named_by_no_hash_that_others_could_compute(tmp_path: Path) -> None:
    names: list[tuple[str, str]] = []
    for folder, keys in (("one", [ONE]), ("two", [ONE]), ("plain", []), ("again", [])):
        async with engine(tmp_path / folder, *keys) as made:
            await resting(made)
            (entry,) = await made.memory(user="someone").entries()
        with closing(sqlite3.connect(tmp_path / folder / "cache.sqlite")) as file:
            names.append((entry.id, *file.execute("SELECT key FROM cache").fetchone()))
    one, two, plain, again = names
    assert plain == again
    assert all(len({each[part] for each in (one, two, plain)}) == 3 for part in (0, 1))


async def test_the_logs_of_a_run_hold_no_canary_and_the_queue_neither(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with engine(tmp_path, ONE) as made:
        await lived(made)
    assert len(caplog.records) > 10 and leaks(caplog.text.encode()) == set()


async def test_isolated_executions_are_sealed_by_their_worker(tmp_path: Path) -> None:
    spec = {
        "cogwork": "v1",
        "name": "apart",
        "input": {"text": "string"},
        "nodes": {
            "held": {"type": "transform", "set": {"text": "{{ input.text }}", "more": CANARIES["state"]}},
            "ask": {"type": "human", "ask": CANARIES["asked"], "form": {"said": "string"}, "depends_on": "held"},
        },
        "output": "{{ held.text }} {{ ask.said }}",
    }
    async with engine(tmp_path, ONE) as made:
        name = await made.create_workflow(source=spec)
        execution = await made.execute_workflow(name, {"text": CANARIES["input"]}, {"mode": "isolated"})
        resting = await execution.wait(60)
        assert resting["status"] == "paused", resting
        done = await (await execution.resume({"said": CANARIES["answered"]})).wait(60)
        assert done["output"]["primary_result"] == f"{CANARIES['input']} {CANARIES['answered']}"
        assert leaks_in(tmp_path) == {}


# -- keys ------------------------------------------------------------------------------------------------------------------


def command(*words: str) -> Result:
    """What a command line says."""
    return CliRunner().invoke(cli, [*words])


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Set the keys that the command line has, in this folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COGWORK_STATE_DIR", str(tmp_path / "state"))

    def have(*keys: dict[str, str], **more: str) -> None:
        monkeypatch.setenv("COGWORK_ENCRYPTION_KEYS", json.dumps(keys))
        for name, value in more.items():
            monkeypatch.setenv(f"COGWORK_{name.upper()}", value)

    return have


Having = Callable[..., None]


async def test_data_from_before_is_read_and_sealed_by_the_command(tmp_path: Path, here: Having) -> None:
    state = tmp_path / "state"
    async with engine(state) as made:
        name = await resting(made)
    assert leaks_in(state)
    async with engine(state, ONE) as made:
        assert (await made.get_execution_result(name))["status"] == "paused"
    here(ONE)
    done = command("encrypt", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["sealed"]["cogwork_payloads"] > 0
    assert leaks_in(state) == {}
    again = json.loads(command("encrypt", "--json").stdout)
    assert sum(again["sealed"].values()) == 0
    async with engine(state, ONE) as made:
        await goes_on(made, name)
        assert leaks_in(state) == {}


async def test_data_of_postgresql_from_before_is_sealed_by_the_command(tmp_path: Path, here: Having) -> None:
    with database() as url:
        async with engine(tmp_path, database_url=url) as made:
            name = await resting(made)
        here(ONE, database_url=url)
        done = await asyncio.to_thread(command, "encrypt", "--json")
        assert done.exit_code == 0, done.output
        assert leaks(opened_bytea(await asyncio.to_thread(dumped, url))) == set()
        async with engine(tmp_path, ONE, database_url=url) as made:
            await goes_on(made, name)


async def test_a_new_key_opens_nothing_old_until_all_is_sealed_with_it(tmp_path: Path, here: Having) -> None:
    state = tmp_path / "state"
    async with engine(state, ONE) as made:
        name = await resting(made)
    here(TWO)
    refused = command("executions")
    assert refused.exit_code == 1
    assert f"sealed with the key {ID_ONE}" in refused.output and "encryption_keys" in refused.output
    here(TWO, ONE)
    assert command("encrypt").exit_code == 0
    here(ONE)
    assert f"sealed with the key {ID_TWO}" in command("executions").output
    async with engine(state, TWO) as made:
        await goes_on(made, name)


async def test_encryption_that_is_broken_off_goes_on_where_it_was(tmp_path: Path, here: Having) -> None:
    state = tmp_path / "state"
    async with engine(state, ONE) as made:
        name = await resting(made)
    settings = Settings(state_dir=state, workflows=[], encryption_keys=[TWO, ONE])  # type: ignore[list-item]
    for steps in (3, 12, 17):
        house = app(settings)
        for _ in itertools.islice(encrypted(house), steps):
            pass
        house.close()
        async with engine(state, TWO, ONE, worker=False) as made:
            assert (await made.get_execution_result(name))["status"] == "paused"
    here(TWO, ONE)
    assert command("encrypt").exit_code == 0
    async with engine(state, TWO) as made:
        await goes_on(made, name)


@pytest.mark.parametrize("opened", ["checkpoints", "records", "cache", "memory"])
async def test_every_database_refuses_a_wrong_key_when_it_is_opened_and_no_key_too(tmp_path: Path, opened: str) -> None:
    async with engine(tmp_path, ONE) as made:
        await lived(made)
    for keys in ([TWO], []):
        house = app(Settings(state_dir=tmp_path, workflows=[], encryption_keys=keys))  # type: ignore[arg-type]
        with pytest.raises(CogworkError, match=f"sealed with the key {ID_ONE}, which .*encryption_keys"):
            match opened:
                case "checkpoints":
                    house.checkpoints()
                case "records":
                    house.records()
                case "cache":
                    _ = house.cache
                case "memory":
                    memory_store(tmp_path / "memory.sqlite", ring=house.ring)
    async with engine(tmp_path, ONE) as made:
        assert (await made.list_executions())["executions"]


@pytest.mark.parametrize(
    ("value", "why"),
    [("", "is not set|32 bytes|base64"), ("c2hvcnQ=", "32 bytes"), ("no base64!", "base64")],
)
def test_a_key_that_is_none_is_refused_without_showing_it(here: Having, monkeypatch: Any, value: str, why: str) -> None:
    monkeypatch.setenv("KEY_ONE", value)
    here(ONE)
    refused = command("executions")
    assert refused.exit_code == 1 and re.search(why, refused.output) and "the variable KEY_ONE" in refused.output
    assert not value or value not in refused.output


def test_a_key_may_stand_in_a_file_and_in_no_setting(tmp_path: Path, here: Having) -> None:
    (tmp_path / "key").write_text(KEYS["KEY_ONE"] + "\n")
    here({"file": str(tmp_path / "key")})
    assert ID_ONE in command("encrypt", "--status").output
    here({"value": KEYS["KEY_ONE"]})
    refused = command("encrypt", "--status")
    assert refused.exit_code == 2 and KEYS["KEY_ONE"] not in refused.output


# -- tampering -------------------------------------------------------------------------------------------------------------


def seals(*names: str) -> Seals:
    """Seals under the keys of these variables."""
    return Seals(ring=ring_of([KeySource(env=name) for name in names], KEYS), names=b"n" * 32)


def test_the_cipher_agrees_with_the_vectors_of_its_specification() -> None:
    nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX"
    one = Xaes(b"\1" * 32).sealed(b"XAES-256-GCM", b"", nonce)
    assert one.hex() == nonce.hex() + "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"
    three = Xaes(b"\3" * 32).sealed(b"XAES-256-GCM", b"c2sp.org/XAES-256-GCM", nonce)
    assert three.hex() == nonce.hex() + "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"
    assert Xaes(b"\3" * 32).opened(three, b"c2sp.org/XAES-256-GCM") == b"XAES-256-GCM"


@given(data=st.binary(max_size=300), place=st.text(max_size=20), text=st.text(max_size=60))
def test_what_was_sealed_opens_at_its_place_under_either_order_of_the_keys_and_nowhere_else(
    data: bytes, place: str, text: str
) -> None:
    one, both = seals("KEY_ONE"), seals("KEY_TWO", "KEY_ONE")
    sealed = one.sealed(data, place)
    assert both.opened(sealed, place) == data and both.opened_text(one.sealed_text(text, place), place) == text
    assert one.sealed(data, place) != sealed
    with pytest.raises(Unopened):
        both.opened(sealed, f"{place}!")
    with pytest.raises(Unopened):
        both.opened(sealed[:-1] + bytes([sealed[-1] ^ 1]), place)
    with pytest.raises(KeyMissing):
        seals("KEY_TWO").opened(sealed, place)
    assert seals().opened_text(seals().sealed_text(text, place), place) == text


def test_a_text_that_looks_sealed_is_kept_where_nothing_is_sealed() -> None:
    for text in ("\x1fsealed:AAAA", "\x1fplain:\x1fsealed:", "\x1f"):
        assert seals().opened_text(seals().sealed_text(text, "here"), "here") == text


async def test_values_that_were_moved_in_the_files_are_refused(tmp_path: Path) -> None:
    async with engine(tmp_path, ONE) as made:
        first = await resting(made)
        second = (await made.execute_workflow("canaries", {"text": "other"}, {"mode": "sync"})).id
    with closing(sqlite3.connect(tmp_path / "checkpoints.sqlite")) as file, file:
        latest = "SELECT checkpoint FROM checkpoints WHERE thread_id = ? ORDER BY checkpoint_id DESC LIMIT 1"
        stolen = file.execute(latest, (second,)).fetchone()[0]
        file.execute("UPDATE checkpoints SET checkpoint = ? WHERE thread_id = ?", (stolen, first))
    with closing(sqlite3.connect(tmp_path / "records.sqlite")) as file, file:
        file.execute("UPDATE cogwork_executions SET questions = options WHERE id = ?", (first,))
    house = app(Settings(state_dir=tmp_path, workflows=[], encryption_keys=[ONE]))  # type: ignore[list-item]
    with house.checkpoints() as saver, pytest.raises(StoreError, match="belongs to another thread"):
        saver.get_tuple({"configurable": {"thread_id": first, "checkpoint_ns": ""}})
    house.close()
    async with engine(tmp_path, ONE, worker=False) as made:
        with pytest.raises(EngineError, match=r"cogwork_executions.questions .* was altered or moved"):
            await made.get_execution_status(first)


# -- savers ----------------------------------------------------------------------------------------------------------------


@contextmanager
def savers(where: str, folder: Path, ring: Ring) -> Iterator[Any]:
    """A saver of that kind, and what its database holds."""
    if where == "sqlite":
        with SqliteCheckpoints(folder / "c.sqlite", ring=ring) as saver:
            yield saver, lambda: b"".join(path.read_bytes() for path in folder.glob("c.sqlite*") if path.is_file())
        return
    with database() as url, PostgresCheckpoints(url, ring=ring) as saver:
        yield saver, lambda: opened_bytea(dumped(url))


@pytest.mark.parametrize("where", ["sqlite", "postgresql"])
def test_metadata_of_callers_is_sealed_found_by_filters_and_copied_with_its_thread(tmp_path: Path, where: str) -> None:
    ring = ring_of([KeySource(env="KEY_ONE")], KEYS)
    with savers(where, tmp_path, ring) as (saver, held):
        config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        for number, secret in enumerate((CANARIES["option"], CANARIES["noted"], CANARIES["option"])):
            made = {**empty_checkpoint(), "channel_values": {"a": CANARIES["state"]}, "channel_versions": {"a": "1"}}
            told = {**config, "metadata": {"who": secret}}
            config = saver.put(told, made, {"source": "loop", "step": number, "about": secret}, {"a": "1"})
        saver.put_writes(config, [("a", CANARIES["result"])], "task")
        saver.copy_thread("t", "u")
        for thread in ("t", "u"):
            those: Any = {"configurable": {"thread_id": thread}}
            found = [each.metadata["step"] for each in saver.list(those, filter={"about": CANARIES["option"]})]
            assert found == [2, 0]
            (latest,) = saver.list(those, filter={"who": CANARIES["option"], "source": "loop"}, limit=1)
            assert latest.metadata["who"] == CANARIES["option"] and latest.pending_writes[0][2] == CANARIES["result"]
            assert latest.checkpoint["channel_values"] == {"a": CANARIES["state"]}
            assert [*saver.list(those, filter={"about": "nothing"})] == []
        assert leaks(held()) == set()


def test_equal_contents_have_names_that_differ_between_databases_and_from_their_hash(tmp_path: Path) -> None:
    ring, value, names = ring_of([KeySource(env="KEY_ONE")], KEYS), "x" * 5000, list[set[str]]()
    for folder in ("one", "two"):
        with opened(tmp_path / folder / "records.sqlite", ring=ring) as records:
            names.append({records.write(lambda connection: kept(connection, value)) for _ in range(2)})
            assert records.read(lambda connection: found(connection, min(names[-1]))) == value
    with opened(tmp_path / "plain.sqlite") as records:
        names.append({records.write(lambda connection: kept(connection, value))})
    assert all(len(each) == 1 for each in names) and len(set.union(*names)) == 3


@pytest.mark.parametrize("where", ["sqlite", "postgresql"])
async def test_sealed_errors_are_counted_by_their_class(tmp_path: Path, where: str) -> None:
    ring, ledger = ring_of([KeySource(env="KEY_ONE")], KEYS), Ledger()
    ledger.execution("failed", error=fault("timeout", CANARIES["error"]))
    ledger.execution("failed", error=fault("refused", f'a "class": "x" {CANARIES["error"]}'))
    ledger.execution("completed")
    with database() if where == "postgresql" else nullcontext() as url:
        with opened(tmp_path / "records.sqlite", url, ring=ring) as records:
            ledger.write(records)
            told = await Metrics(records, now=lambda: NOW).workflow("greet")
            assert told["errors_by_class"] == {"timeout": 1, "refused": 1}
            held = opened_bytea(dumped(url)) if url is not None else b""
        assert leaks(held) == set() and leaks_in(tmp_path) == {}


def test_a_file_that_somebody_reads_is_said_to_hold_what_was_deleted_from_it(tmp_path: Path) -> None:
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(closing(sqlite3.connect(tmp_path / "a.sqlite", timeout=0, isolation_level=None)))
            for _ in range(2)
        )
        one.execute("PRAGMA journal_mode=WAL")
        one.execute("CREATE TABLE held (value TEXT)")
        one.execute("INSERT INTO held VALUES (?)", (CANARIES["state"],))
        other.execute("BEGIN")
        other.execute("SELECT * FROM held").fetchall()
        one.execute("DELETE FROM held")
        assert not swept(one) and leaks_in(tmp_path)
        other.execute("COMMIT")
        assert swept(one) and leaks_in(tmp_path) == {}
