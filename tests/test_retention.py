"""What has ended is kept for as long as the settings say and then taken away, whatever happens meanwhile."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from langgraph.checkpoint.base import empty_checkpoint
from sqlalchemy.engine import Connection
from typer.testing import CliRunner

from cogwork.cli.root import cli
from cogwork.errors import EngineError
from cogwork.records import payloads
from cogwork.records.database import Records, opened
from cogwork.records.tables import METADATA
from cogwork.records.tables.executions import BATCHES, EVENTS, EXECUTION_TAGS, EXECUTIONS, SEGMENTS, STEPS
from cogwork.records.tables.identity import AUDIT, AUDIT_HEAD
from cogwork.records.tables.library import VERSIONS
from cogwork.records.tables.payloads import FACTS, PAYLOADS
from cogwork.records.tables.schedules import FIRINGS, TRIGGERS
from cogwork.records.tables.sessions import CONVERSATIONS, MESSAGES, SESSIONS, TOPICS
from cogwork.retention import Plan, Report, due, plan, sweep
from cogwork.retention.payloads import NAMING
from cogwork.sections import Retention
from cogwork.store.checkpoints import SqliteCheckpoints
from tests.clusters import schema

pytestmark = [pytest.mark.req("X13", "X3")]
NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
PLAN = plan(Retention(), NOW)


def ago(days: float) -> datetime:
    """An instant so many days before now."""
    return NOW - timedelta(days=days)


@pytest.fixture(params=["sqlite", "postgresql"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    """Empty records on both databases."""
    with (
        schema() if request.param == "postgresql" else nullcontext() as url,
        opened(tmp_path / "records.sqlite", url) as made,
    ):
        yield made


@pytest.fixture
def saver(tmp_path: Path) -> Iterator[SqliteCheckpoints]:
    """Checkpoints in a file."""
    with SqliteCheckpoints(tmp_path / "checkpoints.sqlite") as made:
        yield made


def keep(
    records: Records, id: str, *, days: float = 0, status: str = "completed", belongings: int = 3, **more: Any
) -> None:
    """An execution that ended so many days ago, with what belongs to one; or an open one."""
    at = ago(days)

    def write(connection: Connection) -> None:
        given = more.pop("input", {"of": id})
        digest = payloads.kept(connection, given, now=at)
        row = {
            "id": id,
            "thread": id,
            "workflow": "w",
            "status": status,
            "mode": "async",
            "priority": 0,
            "options": {},
            "metadata": {},
            "input": digest,
            "created_at": at,
            "updated_at": at,
            "ended_at": None if status in ("pending", "running", "paused") else at,
            **more,
        }
        connection.execute(sa.insert(EXECUTIONS).values(**row))
        connection.execute(sa.insert(EXECUTION_TAGS).values(execution_id=id, tag="t", created_at=at))
        connection.execute(sa.insert(SEGMENTS).values(execution_id=id, number=0, command={}, queued_at=at))
        for number in range(belongings):
            connection.execute(
                sa.insert(EVENTS).values(execution_id=id, seq=number, kind="step.done", step="s", at=at, data={})
            )
            step = {"execution_id": id, "path": f"s{number}", "node": "s", "kind": "tool", "status": "done"}
            connection.execute(sa.insert(STEPS).values(**step, workflow="w"))

    records.write(write)


def checkpoint(saver: SqliteCheckpoints, *threads: str) -> None:
    """Give threads a checkpoint."""
    for thread in threads:
        config = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        saver.put(config, empty_checkpoint(), {}, {})  # type: ignore[arg-type]


def rows(records: Records, table: sa.Table, column: str = "id") -> list[Any]:
    """One column of a table, sorted."""
    return sorted(records.read(lambda connection: connection.execute(sa.select(table.c[column])).scalars().all()))


def everything(records: Records) -> Mapping[str, list[Any]]:
    """All rows of all tables."""

    def read(connection: Connection) -> dict[str, list[Any]]:
        return {
            table.name: sorted(map(repr, connection.execute(sa.select(table)).all()))
            for table in METADATA.sorted_tables
        }

    return records.read(read)


# -- what is decided ---------------------------------------------------------------------------------------------


def test_the_plan_is_the_settings_counted_back_from_now() -> None:
    made = plan(Retention(completed="10d", failed="forever", events="1h", sessions=None), NOW)
    assert made.executions == {"completed": ago(10), "cancelled": ago(90)}
    assert made.events == NOW - timedelta(hours=1)
    assert made.sessions is None
    assert made.payloads == ago(1)


def test_nothing_is_taken_away_that_is_kept_for_ever() -> None:
    for_ever = dict.fromkeys(("completed", "failed", "cancelled", "checkpoints", "events", "sessions", "firings"))
    made = plan(Retention(**for_ever), NOW)
    assert made == Plan(at=NOW, payloads=ago(1))


def test_every_column_that_could_hold_a_payload_is_known_to_hold_one_or_not() -> None:
    others = {
        "id", "run", "workflow_id", "digest", "request", "batch_id", "reason", "owner", "outcome", "source_id",
        "conversation_id", "topic_id", "version", "label", "name", "summarised_by", "previous", "verb",
    }  # fmt: skip
    for table in METADATA.sorted_tables:
        for column in table.c:
            if isinstance(column.type, sa.String) and column.type.length == 64 and column not in NAMING:
                assert column.name in others, f"{column}: does it hold a payload? then name it in NAMING"


# -- executions --------------------------------------------------------------------------------------------------


async def test_executions_go_with_all_that_belongs_to_them_when_their_status_has_been_kept_long_enough(
    records: Records, saver: SqliteCheckpoints
) -> None:
    for id, days, status in (
        ("old", 91, "completed"),
        ("young", 89, "completed"),
        ("failed", 300, "failed"),
        ("lost", 366, "failed"),
        ("cancelled", 91, "cancelled"),
        ("open", 900, "running"),
        ("waits", 900, "paused"),
        ("queued", 900, "pending"),
    ):
        keep(records, id, days=days, status=status)
        checkpoint(saver, id)
    expected = await due(records, PLAN)
    report = await sweep(records, saver, PLAN)
    left = ["failed", "open", "queued", "waits", "young"]
    assert rows(records, EXECUTIONS) == left
    for table in (EXECUTION_TAGS, SEGMENTS):
        assert rows(records, table, "execution_id") == left
    assert sorted(set(rows(records, STEPS, "execution_id"))) == left
    assert sorted(set(rows(records, EVENTS, "execution_id"))) == ["open", "queued", "waits"]
    assert sorted(saver.threads()) == ["open", "queued", "waits", "young"]
    assert len(rows(records, PAYLOADS, "digest")) == len(left)
    assert (report.executions, report.steps, report.events, report.tags, report.segments) == (3, 9, 15, 3, 3)
    assert (report.threads, report.payloads, report.finished, report.busy) == (4, 3, True, 0)
    told = ("executions", "steps", "events", "tags", "segments", "threads")
    assert {name: getattr(expected, name) for name in told} == {name: getattr(report, name) for name in told}
    assert report.bytes > 0
    assert await sweep(records, saver, PLAN) == Report()


async def test_an_ended_execution_stays_as_long_as_an_open_one_uses_it(
    records: Records, saver: SqliteCheckpoints
) -> None:
    keep(records, "parent", days=400, status="paused")
    keep(records, "child", days=400, parent_id="parent")
    keep(records, "earlier", days=400, thread="shared")
    keep(records, "later", days=399, thread="shared", status="running")
    keep(records, "one", days=400, batch_id="b")
    keep(records, "two", days=400, batch_id="b", status="pending")
    keep(records, "alone", days=400)
    checkpoint(saver, "parent", "child", "shared", "one", "two", "alone")
    report = await sweep(records, saver, PLAN)
    assert rows(records, EXECUTIONS) == ["child", "earlier", "later", "one", "parent", "two"]
    assert "alone" not in saver.threads() and len([*saver.threads()]) == 5
    assert (report.executions, report.threads) == (1, 1)


async def test_checkpoints_go_before_their_execution_does_which_says_so(
    records: Records, saver: SqliteCheckpoints
) -> None:
    keep(records, "a", days=20)
    keep(records, "b", days=5)
    checkpoint(saver, "a", "b")
    short = plan(Retention(checkpoints="10d"), NOW)
    report = await sweep(records, saver, short)
    kept = records.read(lambda c: dict(c.execute(sa.select(EXECUTIONS.c.id, EXECUTIONS.c.kept)).all()))
    assert kept == {"a": False, "b": True}
    assert [*saver.threads()] == ["b"]
    assert (report.threads, report.executions) == (1, 0)


async def test_checkpoints_of_a_thread_stay_while_a_younger_execution_of_it_is_kept(
    records: Records, saver: SqliteCheckpoints
) -> None:
    keep(records, "first", days=100, thread="t")
    keep(records, "second", days=1, thread="t")
    checkpoint(saver, "t")
    await sweep(records, saver, PLAN)
    assert rows(records, EXECUTIONS) == ["second"]
    assert [*saver.threads()] == ["t"]
    later = plan(Retention(), NOW + timedelta(days=100))
    await sweep(records, saver, later)
    assert [*saver.threads()] == [] and rows(records, EXECUTIONS) == []


async def test_the_checkpoints_of_a_thread_that_somebody_works_on_wait_for_the_next_sweep(
    records: Records, saver: SqliteCheckpoints
) -> None:
    keep(records, "a", days=100)
    checkpoint(saver, "a")
    async with saver.owners.held("a"):
        report = await sweep(records, saver, PLAN)
        assert (report.executions, report.threads, report.busy) == (1, 0, 1)
        assert [*saver.threads()] == ["a"]
    assert (await sweep(records, saver, PLAN)).threads == 1
    assert [*saver.threads()] == []


async def test_a_batch_goes_when_all_its_executions_are_gone(records: Records) -> None:
    def write(connection: Connection) -> None:
        for id, days in (("empty", 500), ("full", 500), ("new", 1)):
            row = {"id": id, "total": 1, "options": {}, "created_at": ago(days)}
            connection.execute(sa.insert(BATCHES).values(**row))

    records.write(write)
    keep(records, "a", days=1, batch_id="full")
    assert (await sweep(records, None, PLAN)).batches == 1
    assert rows(records, BATCHES) == ["full", "new"]


# -- payloads ----------------------------------------------------------------------------------------------------


async def test_a_payload_goes_when_the_last_row_that_names_it_is_gone_and_a_day_has_passed(records: Records) -> None:
    keep(records, "old", days=100, input="shared")
    keep(records, "new", days=1, input="shared")
    keep(records, "alone", days=100, input="alone")

    def write(connection: Connection) -> None:
        spec = payloads.kept(connection, "spec", now=ago(500))
        row = {"workflow_id": "w", "version": 1, "digest": "d", "kind": "spec", "spec": spec, "created_at": ago(500)}
        connection.execute(sa.insert(VERSIONS).values(**row))
        payloads.kept(connection, "just stored", now=ago(0.5))
        payloads.kept(connection, "named by nothing", now=ago(2))

    records.write(write)
    report = await sweep(records, None, PLAN)
    assert (report.executions, report.payloads) == (2, 2)

    def read(connection: Connection) -> list[Any]:
        return sorted(
            payloads.found_all(connection, connection.execute(sa.select(PAYLOADS.c.digest)).scalars()).values()
        )

    assert records.read(read) == ["just stored", "shared", "spec"]


async def test_a_payload_that_is_stored_or_held_again_counts_as_new(records: Records) -> None:
    def store(value: str, days: float) -> str:
        return records.write(lambda connection: payloads.kept(connection, value, now=ago(days)))

    digests = {value: store(value, 10) for value in ("stored", "held", "left")}
    store("stored", 0)
    records.write(lambda connection: payloads.hold(connection, [digests["held"], None], NOW))
    assert (await sweep(records, None, PLAN)).payloads == 1
    assert rows(records, PAYLOADS, "digest") == sorted([digests["stored"], digests["held"]])
    with pytest.raises(EngineError, match="is gone"):
        records.write(lambda connection: payloads.hold(connection, [digests["left"]], NOW))


async def test_no_payload_is_lost_that_somebody_stores_and_names_while_it_is_swept(records: Records) -> None:
    values = [f"value {number}" for number in range(40)]

    def aged(connection: Connection) -> None:
        for value in values:
            payloads.kept(connection, value, now=ago(10))

    def named(numbers: list[int]) -> None:
        for number in numbers:
            keep(records, f"e{number}", days=0, input=values[number % len(values)], belongings=0)

    records.write(aged)
    with ThreadPoolExecutor(2) as pool:
        writing = [pool.submit(named, [*range(part, 120, 2)]) for part in range(2)]
        while not all(each.done() for each in writing):
            await sweep(records, None, PLAN, rows=7)
        for each in writing:
            each.result()
    await sweep(records, None, PLAN)

    def read(connection: Connection) -> int:
        digests = connection.execute(sa.select(EXECUTIONS.c.input)).scalars().all()
        return len(payloads.found_all(connection, digests))

    assert records.read(read) == len(values)


# -- sessions and firings ----------------------------------------------------------------------------------------


def converse(records: Records, id: str, *, messages: int = 5, **more: Any) -> None:
    """A session with a conversation."""

    def write(connection: Connection) -> None:
        times = {"created_at": ago(300), "updated_at": ago(300)}
        row = {"id": id, "status": "active", "preferences": {}, "state": {}, "metadata": {}, **times, **more}
        connection.execute(sa.insert(SESSIONS).values(active_at=ago(300), **row))
        connection.execute(sa.insert(CONVERSATIONS).values(id=f"c-{id}", session_id=id, context={}, **times))
        topic = {"id": f"t-{id}", "conversation_id": f"c-{id}", "topic": "x", "created_at": ago(300)}
        connection.execute(sa.insert(TOPICS).values(**topic))
        for number in range(messages):
            said = {"conversation_id": f"c-{id}", "number": number, "id": f"m-{id}-{number}", "role": "user"}
            connection.execute(sa.insert(MESSAGES).values(**said, content="Hello.", at=ago(300), metadata={}))

    records.write(write)


async def test_sessions_go_with_their_conversations_when_they_have_been_over_long_enough(records: Records) -> None:
    converse(records, "expired", expires_at=ago(31))
    converse(records, "ended", ended_at=ago(31), status="ended")
    converse(records, "recent", expires_at=ago(29))
    converse(records, "alive", expires_at=NOW + timedelta(days=1))
    converse(records, "endless")
    converse(records, "used", expires_at=ago(100))
    keep(records, "e", days=0, status="paused", session_id="used")
    expected = await due(records, PLAN)
    report = await sweep(records, None, PLAN, batch=1, rows=2)
    left = ["alive", "endless", "recent", "used"]
    assert rows(records, SESSIONS) == left
    assert rows(records, CONVERSATIONS) == [f"c-{id}" for id in left]
    assert rows(records, TOPICS) == [f"t-{id}" for id in left]
    assert sorted({id.split("-")[1] for id in rows(records, MESSAGES)}) == left
    assert (report.sessions, report.conversations, report.topics, report.messages) == (2, 2, 2, 10)
    assert (expected.sessions, expected.conversations, expected.topics, expected.messages) == (2, 2, 2, 10)


async def test_old_firings_go_but_not_those_of_files_that_would_fire_again(records: Records) -> None:
    def write(connection: Connection) -> None:
        for id, kind in (("f", "file"), ("h", "webhook")):
            row = {"id": id, "name": id, "workflow": "w", "source": "engine", "kind": kind, "definition": {}}
            more = {"mapping": {}, "options": {}, "enabled": True, "created_at": NOW, "updated_at": NOW}
            connection.execute(sa.insert(TRIGGERS).values(**row, **more))
        for number, (source, days) in enumerate((("f", 100), ("h", 100), ("s", 100), ("s", 80))):
            at = ago(days)
            fired = {"id": f"{source}{number}", "source_id": source, "due_at": at, "fired_at": at, "outcome": "started"}
            connection.execute(sa.insert(FIRINGS).values(**fired))

    records.write(write)
    assert (await due(records, PLAN)).firings == 2
    assert (await sweep(records, None, PLAN, rows=1)).firings == 2
    assert rows(records, FIRINGS) == ["f0", "s3"]


# -- broken off --------------------------------------------------------------------------------------------------


def much(records: Records, saver: SqliteCheckpoints) -> None:
    """Some of everything, of which about half is to go."""
    for number in range(12):
        keep(records, f"e{number}", days=61 + 5 * number, status=("completed", "failed", "cancelled")[number % 3])
        checkpoint(saver, f"e{number}")
    converse(records, "over", expires_at=ago(50))
    converse(records, "on", expires_at=NOW)


async def test_a_sweep_that_is_stopped_anywhere_and_begun_anew_comes_to_the_same_end(
    records: Records, saver: SqliteCheckpoints
) -> None:
    much(records, saver)
    for most in itertools.count(1):
        asked = itertools.count(1)
        if (await sweep(records, saver, PLAN, batch=2, rows=3, stop=lambda: next(asked) >= most)).finished:  # noqa: B023
            break
    stepwise, threads = everything(records), sorted(saver.threads())

    def emptied(connection: Connection) -> None:
        for table in METADATA.sorted_tables:
            if table not in (FACTS, AUDIT, AUDIT_HEAD):
                connection.execute(sa.delete(table))

    records.write(emptied)
    much(records, saver)
    await sweep(records, saver, PLAN)
    assert everything(records) == stepwise
    assert sorted(saver.threads()) == threads == ["e0", "e1", "e2", "e3", "e4", "e5"]


class Failing:
    """Checkpoints that cannot be deleted after the first so many."""

    def __init__(self, saver: SqliteCheckpoints, most: int) -> None:
        self._saver, self._left = saver, most

    async def adelete_thread(self, thread_id: str) -> None:
        if not self._left:
            raise OSError("the disk is gone")
        self._left -= 1
        await self._saver.adelete_thread(thread_id)


async def test_checkpoints_that_could_not_be_deleted_are_deleted_by_the_next_sweep(
    records: Records, saver: SqliteCheckpoints
) -> None:
    much(records, saver)
    for most in range(3):
        with pytest.raises(OSError, match="the disk is gone"):
            await sweep(records, Failing(saver, most), PLAN)
    assert any(fact.startswith("checkpoints_left") for fact in rows(records, FACTS, "name"))
    await sweep(records, saver, PLAN)
    assert sorted(saver.threads()) == ["e0", "e1", "e2", "e3", "e4", "e5"]
    assert not any(fact.startswith("checkpoints_left") for fact in rows(records, FACTS, "name"))


DYING = """
import asyncio, os, signal, sys
from datetime import datetime
from cogwork.records.database import opened
from cogwork.retention import plan, sweep
from cogwork.sections import Retention
from cogwork.store.checkpoints import SqliteCheckpoints

class Dying(SqliteCheckpoints):
    left = 2
    async def adelete_thread(self, thread_id):
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1
        await super().adelete_thread(thread_id)

file, url, checkpoints, now = sys.argv[1:]
with opened(file, url or None) as records, Dying(checkpoints) as saver:
    asyncio.run(sweep(records, saver, plan(Retention(), datetime.fromisoformat(now)), batch=3))
"""


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_a_sweep_whose_process_is_killed_loses_nothing_and_leaves_nothing(database: str, tmp_path: Path) -> None:
    with schema() if database == "postgresql" else nullcontext() as url:
        file, checkpoints = tmp_path / "records.sqlite", tmp_path / "checkpoints.sqlite"
        with opened(file, url) as records, SqliteCheckpoints(checkpoints) as saver:
            much(records, saver)
        words = [str(file), url or "", str(checkpoints), NOW.isoformat()]
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(DYING), *words], check=False, env={**os.environ})
        assert done.returncode == -signal.SIGKILL
        with opened(file, url) as records, SqliteCheckpoints(checkpoints) as saver:
            assert len([*saver.threads()]) > 6
            await sweep(records, saver, PLAN)
            assert sorted(saver.threads()) == ["e0", "e1", "e2", "e3", "e4", "e5"]
            assert rows(records, EXECUTIONS) == sorted(kept_of_much())


def kept_of_much() -> list[str]:
    """The executions of ``much`` that stay: the completed and cancelled of less than 90 days, and all failed ones."""
    return [f"e{n}" for n in range(12) if 61 + 5 * n < 90 or n % 3 == 1]


# -- the command line --------------------------------------------------------------------------------------------


def test_clean_says_what_would_go_and_takes_it_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with opened(tmp_path / ".cogwork" / "records.sqlite") as records:
        long_ago = (datetime.now(UTC) - NOW) / timedelta(days=1)
        keep(records, "old", days=200 - long_ago)
        keep(records, "new", days=1 - long_ago)
    call: Callable[..., Any] = lambda *words: CliRunner().invoke(cli, ["clean", *words], catch_exceptions=False)  # noqa: E731
    assert "executions" in call("--plan").stdout
    assert json.loads(call("--plan", "--json").stdout)["executions"] == 1
    report = json.loads(call("--json").stdout)
    assert (report["executions"], report["events"], report["payloads"], report["finished"]) == (1, 3, 1, True)
    assert "nothing has been kept for longer" in call().stdout
    with opened(tmp_path / ".cogwork" / "records.sqlite") as records:
        assert rows(records, EXECUTIONS) == ["new"]
