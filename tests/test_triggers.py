"""Events that start workflows: webhooks, files, notifications of PostgreSQL, the ends of other workflows."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from cogwork.errors import EngineError
from cogwork.records.database import Records, opened
from cogwork.records.payloads import kept
from cogwork.records.tables.executions import EXECUTIONS
from cogwork.records.tables.schedules import TRIGGERS
from cogwork.schedules.clockwork import Clockwork
from cogwork.schedules.endings import MAX_DEPTH
from cogwork.schedules.from_spec import sync
from cogwork.schedules.notifications import Listener
from cogwork.schedules.triggers import Triggers
from cogwork.secrets import SecretStore
from graphs.language.load import load
from tests.clusters import schema
from tests.starters import Clock, FakeEngine

NOON = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
KEY = "correct horse battery"
SECRETS = SecretStore({"hook": SecretStr(KEY)}, {})
HOOK = {"type": "webhook", "secret": "secret://hook", "header": "X-Hub-Signature-256", "prefix": "sha256="}


@pytest.fixture(params=["sqlite", "postgresql"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    if request.param == "sqlite":
        with opened(tmp_path / "records.db", synchronous="NORMAL") as made:
            yield made
        return
    with schema() as url, opened("", url) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def engine(clock: Clock) -> FakeEngine:
    return FakeEngine(clock)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "root" / "inbox").mkdir(parents=True)
    return tmp_path / "root" / "inbox"


@pytest.fixture
def triggers(records: Records, engine: FakeEngine, clock: Clock, inbox: Path) -> Triggers:
    return Triggers(records, engine, secrets=SECRETS, roots=[inbox.parent], now=clock)


@pytest.fixture
def clockwork(records: Records, engine: FakeEngine, triggers: Triggers, clock: Clock) -> Clockwork:
    return Clockwork(records, engine, triggers=triggers, now=clock)


def signed(body: bytes, key: str = KEY, **more: str) -> dict[str, str]:
    mark = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={mark}", "Content-Type": "application/json", **more}


async def told(triggers: Triggers, name: str = "t") -> list[tuple[str, str]]:
    return [(each.outcome, each.detail) for each in reversed((await triggers.firings(name)).items)]


# -- webhooks ------------------------------------------------------------------------------------------------------


@pytest.mark.req("R5", "M10")
async def test_a_signed_request_starts_the_workflow_with_the_mapped_input_once(
    triggers: Triggers, engine: FakeEngine
) -> None:
    made = await triggers.create(
        "t",
        "build",
        {
            **HOOK,
            "delivery_header": "X-Delivery",
            "when": "event.body.ref == 'main'",
            "input": {"commit": "{{ event.body.after }}", "by": "{{ event.headers['x-from'] }}", "depth": 2},
            "options": {"priority": 7, "metadata": {"team": "a"}},
        },
        version="prod",
    )
    body = json.dumps({"ref": "main", "after": "abc"}).encode()
    headers = signed(body, **{"X-Delivery": "1", "X-From": "ada", "Authorization": "Bearer x"})
    firing = await triggers.deliver("t", headers, body)
    assert (firing.outcome, firing.duplicate) == ("fired", False)
    ((key, started),) = engine.started.items()
    assert key == firing.id and key.startswith(f"fire-{made.id}-")
    assert started["input"] == {"commit": "abc", "by": "ada", "depth": 2}
    assert started["options"] == {"priority": 7, "metadata": {"team": "a", "trigger_depth": 1}}
    assert (started["version"], started["origin"]) == ("prod", f"trigger:{made.id}")
    again = await triggers.deliver("t", headers, body)
    assert (again.id, again.duplicate, again.execution_id) == (firing.id, True, firing.execution_id)
    other = await triggers.deliver("t", {**headers, "X-Delivery": "2"}, body)
    assert other.id != firing.id and len(engine.calls) == 2


async def test_without_an_id_of_the_delivery_the_body_tells_requests_apart_and_is_the_input(
    triggers: Triggers, engine: FakeEngine
) -> None:
    await triggers.create("t", "build", HOOK)
    for body, duplicate in ((b'{"n":1}', False), (b'{"n":2}', False), (b'{"n":1}', True)):
        assert (await triggers.deliver("t", signed(body), body)).duplicate is duplicate
    assert [each["input"] for each in engine.started.values()] == [{"n": 1}, {"n": 2}]
    listed = await triggers.deliver("t", signed(b"[1]"), b"[1]")
    assert listed.outcome == "failed" and "input mapping" in listed.detail


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Hub-Signature-256": ""},
        {"X-Hub-Signature-256": "sha256="},
        {"X-Hub-Signature-256": "sha256=zz"},
        {"X-Hub-Signature-256": "ä" * 64},
        signed(b"{}", "another key"),
        signed(b'{"x":1}'),
        {"X-Hub-Signature-256": hmac.new(KEY.encode(), b"{}", hashlib.sha256).hexdigest()},
    ],
)
async def test_a_request_that_is_not_signed_by_the_secret_is_refused_and_leaves_no_row(
    headers: dict[str, str], triggers: Triggers, engine: FakeEngine
) -> None:
    await triggers.create("t", "build", HOOK)
    with pytest.raises(EngineError, match="not signed") as caught:
        await triggers.deliver("t", headers, b"{}")
    assert caught.value.code == "permission_denied" and KEY not in str(caught.value.to_dict())
    assert engine.started == {} and await told(triggers) == []


async def test_a_signed_timestamp_keeps_repetitions_of_old_requests_out(triggers: Triggers, clock: Clock) -> None:
    stamped = {**HOOK, "timestamp_header": "X-Sent", "signed": "v0:{timestamp}:{body}", "tolerance": "5m"}
    await triggers.create("t", "build", {**stamped, "encoding": "base64", "prefix": "v1,"})
    with pytest.raises(EngineError, match="proves nothing"):
        await triggers.create("u", "build", {**HOOK, "timestamp_header": "X-Sent"})
    await triggers.delete("t")
    await triggers.create("t", "build", {**stamped, "encoding": "base64", "prefix": "v1="})

    def sent(at: datetime, claimed: datetime | None = None) -> dict[str, str]:
        text = f"v0:{int(at.timestamp())}:".encode() + b"{}"
        mark = base64.b64encode(hmac.new(KEY.encode(), text, hashlib.sha256).digest()).decode()
        return {"x-hub-signature-256": f"v1={mark}", "X-Sent": str(int((claimed or at).timestamp()))}

    assert (await triggers.deliver("t", sent(NOON), b"{}")).outcome == "fired"
    for headers in (sent(NOON - timedelta(minutes=6)), sent(NOON + timedelta(minutes=6))):
        with pytest.raises(EngineError, match="repetition"):
            await triggers.deliver("t", headers, b"{}")
    with pytest.raises(EngineError, match="not signed"):
        await triggers.deliver("t", sent(NOON - timedelta(minutes=6), NOON), b"{}")
    for wrong in ("", "soon", "-5", "1e99", "9" * 40):
        with pytest.raises(EngineError) as caught:
            await triggers.deliver("t", {**sent(NOON), "X-Sent": wrong}, b"{}")
        assert caught.value.code == "permission_denied"


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (b"{", "application/json", "no application/json"),
        (b"[" * 100_000, "application/json", "no application/json"),
        (b"\xff", "application/json", "no application/json"),
        (b"<a/>", "application/xml", "takes application/json"),
        (b"{}", "application/json; charset=nonesuch", "no application/json"),
        (b"&".join(b"a=1" for _ in range(2000)), "application/x-www-form-urlencoded", "no application/x-www"),
        (b"x" * 300_000, "application/json", "at most 200,000"),
    ],
)
async def test_a_body_that_cannot_be_read_is_told_as_such(
    body: bytes, kind: str, says: str, triggers: Triggers
) -> None:
    await triggers.create("t", "build", {**HOOK, "max_bytes": 200_000})
    with pytest.raises(EngineError, match=says) as caught:
        await triggers.deliver("t", {**signed(body), "Content-Type": kind}, body)
    assert caught.value.code == "invalid_input"


async def test_a_form_is_read_as_an_object(triggers: Triggers, engine: FakeEngine) -> None:
    await triggers.create("t", "build", HOOK)
    body = b"text=hello+you&tag=a&tag=b"
    await triggers.deliver("t", {**signed(body), "Content-Type": "application/x-www-form-urlencoded"}, body)
    ((_, started),) = engine.started.items()
    assert started["input"] == {"text": "hello you", "tag": ["a", "b"]}


async def test_what_becomes_of_an_event_is_recorded_whatever_it_is(triggers: Triggers, engine: FakeEngine) -> None:
    await triggers.create("t", "build", {**HOOK, "when": "event.body.go", "input": {"n": "{{ event.body.n }}"}})
    for body in (b'{"go":false}', b'{"go":1}', b'{"go":true}', b"{}"):
        await triggers.deliver("t", signed(body), body)
    engine.refuses = lambda key: EngineError("invalid_input", "`m` is required")
    await triggers.deliver("t", signed(b'{"go":true,"n":1}'), b'{"go":true,"n":1}')
    outcomes = [outcome for outcome, _ in await told(triggers)]
    assert sorted(outcomes) == ["failed", "failed", "failed", "failed", "filtered"]
    assert any("`m` is required" in detail for _, detail in await told(triggers))


async def test_a_disabled_an_unknown_and_a_foreign_trigger_take_no_request(triggers: Triggers, clock: Clock) -> None:
    await triggers.create("t", "build", HOOK)
    await triggers.create("f", "build", {"type": "file", "path": "*.csv"})
    await triggers.disable("t")
    for name, code in (("t", "conflict"), ("u", "trigger_not_found"), ("f", "invalid_input")):
        with pytest.raises(EngineError) as caught:
            await triggers.deliver(name, signed(b"{}"), b"{}")
        assert caught.value.code == code
    bare = Triggers(triggers._records, now=clock)
    await bare.enable("t")
    with pytest.raises(EngineError, match="cannot verify"):
        await bare.deliver("t", signed(b"{}"), b"{}")


async def test_the_same_delivery_many_times_at_once_starts_one_execution(
    triggers: Triggers, clockwork: Clockwork, engine: FakeEngine
) -> None:
    await triggers.create("t", "build", HOOK)
    found = await asyncio.gather(*(triggers.deliver("t", signed(b"{}"), b"{}") for _ in range(8)), clockwork.tick())
    assert len({each.id for each in found[:-1]}) == 1 and len(engine.started) == 1
    assert len(await told(triggers)) == 1


@pytest.mark.parametrize(
    ("definition", "says"),
    [
        ({"type": "webhok"}, "there are webhook, file, postgres, workflow"),
        ({"type": "schedule", "every": 5}, "no type of event"),
        ({"type": "webhook", "secret": "hush"}, "secret://name"),
        ({"type": "webhook", "secret": "secret://hook", "when": "event."}, "no expression"),
        ({"type": "webhook", "secret": "secret://hook", "input": {"a": "{{ input.b }}"}}, "sees only event"),
        ({"type": "file", "path": "/etc/*"}, "under a root"),
        ({"type": "file", "path": "a/../../b"}, "under a root"),
        ({"type": "file"}, "path: Field required"),
        ({"type": "postgres", "channel": ""}, "channel"),
        ("webhook", "no type of event"),
    ],
)
async def test_a_trigger_that_cannot_be_is_refused_with_what_to_do(
    definition: Any, says: str, triggers: Triggers
) -> None:
    with pytest.raises(EngineError, match=says) as caught:
        await triggers.create("t", "build", definition)
    assert caught.value.code == "invalid_input"


# -- files ---------------------------------------------------------------------------------------------------------


async def look(clockwork: Clockwork, clock: Clock, times: int = 3) -> None:
    for _ in range(times):
        clock.ahead(seconds=5)
        await clockwork.tick()


@pytest.mark.req("M10")
async def test_a_file_that_appears_or_changes_starts_the_workflow_once_it_has_settled(
    triggers: Triggers, clockwork: Clockwork, engine: FakeEngine, clock: Clock, inbox: Path
) -> None:
    (inbox / "old.csv").write_text("there before")
    given = {
        "type": "file",
        "path": "inbox/**/*.csv",
        "input": {"path": "{{ event.path }}", "how": "{{ event.change }}"},
    }
    await triggers.create("t", "take", given)
    await look(clockwork, clock)
    (inbox / "new.csv").write_text("half")
    (inbox / "note.txt").write_text("other")
    clock.ahead(seconds=5)
    await clockwork.tick()
    (inbox / "new.csv").write_text("half and the other")
    clock.ahead(seconds=5)
    await clockwork.tick()
    assert engine.started == {}
    await look(clockwork, clock)
    (inbox / "sub").mkdir()
    (inbox / "sub" / "deep.csv").write_text("deep")
    (inbox / "old.csv").write_text("there before, and changed")
    await look(clockwork, clock)
    await look(clockwork, clock)
    assert sorted((Path(each["input"]["path"]).name, each["input"]["how"]) for each in engine.started.values()) == [
        ("deep.csv", "created"),
        ("new.csv", "created"),
        ("old.csv", "changed"),
    ]


async def test_files_beyond_the_roots_are_not_seen_whatever_links_there_are(
    triggers: Triggers, clockwork: Clockwork, engine: FakeEngine, clock: Clock, inbox: Path, tmp_path: Path
) -> None:
    await triggers.create("t", "take", {"type": "file", "path": "**/*", "existing": True})
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (inbox / "link.txt").symlink_to(outside / "secret.txt")
    (inbox / "folder").symlink_to(outside)
    (inbox / "ring").symlink_to(inbox)
    (inbox / "broken").symlink_to(inbox / "nothing")
    os.mkfifo(inbox / "pipe")
    (inbox / "right.txt").write_text("right")
    await look(clockwork, clock)
    assert [Path(each["input"]["path"]).name for each in engine.started.values()] == ["right.txt"]


async def test_workers_that_look_at_the_same_time_and_are_restarted_see_each_file_once(
    records: Records, triggers: Triggers, engine: FakeEngine, clock: Clock, inbox: Path
) -> None:
    await triggers.create("t", "take", {"type": "file", "path": "inbox/*"})
    for number in range(12):
        (inbox / f"{number}.txt").write_text(str(number))
        clock.ahead(seconds=5)
        two = [Clockwork(records, engine, triggers=triggers, now=clock) for _ in range(2)]
        await asyncio.gather(*(each.tick() for each in two))
    await look(Clockwork(records, engine, triggers=triggers, now=clock), clock)
    assert len(engine.started) == len(engine.calls) == 11, "the first was there when the trigger first looked"


# -- ends of workflows ---------------------------------------------------------------------------------------------


def end(records: Records, number: int, at: datetime, status: str = "completed", **more: Any) -> None:
    """An execution that has ended."""
    values = {"workflow": "first", "metadata": {}, **more}

    def insert(connection: sa.Connection) -> None:
        output = kept(connection, {"n": number})
        connection.execute(
            sa.insert(EXECUTIONS).values(
                id=f"exec-{number}",
                thread=f"exec-{number}",
                status=status,
                mode="async",
                priority=0,
                options={},
                output=output,
                created_at=at,
                updated_at=at,
                ended_at=at,
                **values,
            )
        )

    records.write(insert)


@pytest.mark.req("M10")
async def test_the_end_of_a_workflow_starts_another_one_late_commits_included(
    records: Records, triggers: Triggers, clockwork: Clockwork, engine: FakeEngine, clock: Clock
) -> None:
    end(records, 0, NOON - timedelta(seconds=1))
    given = {"type": "workflow", "of": "first", "on": ["completed"], "input": {"n": "{{ event.output.n }}"}}
    await triggers.create("t", "second", given)
    end(records, 1, NOON + timedelta(seconds=1))
    end(records, 2, NOON + timedelta(seconds=2), "failed")
    end(records, 3, NOON + timedelta(seconds=2), workflow="other")
    end(records, 4, NOON + timedelta(seconds=40))
    clock.ahead(seconds=41)
    await clockwork.tick()
    end(records, 5, NOON + timedelta(seconds=20))
    for _ in range(3):
        clock.ahead(seconds=2)
        await clockwork.tick()
    assert [each["input"]["n"] for each in engine.started.values()] == [1, 4, 5]
    assert {each["options"]["metadata"]["trigger_depth"] for each in engine.started.values()} == {1}


async def test_many_ends_at_one_instant_are_all_seen(
    records: Records, triggers: Triggers, clockwork: Clockwork, engine: FakeEngine, clock: Clock
) -> None:
    await triggers.create("t", "second", {"type": "workflow", "of": "first"})
    for number in range(210):
        end(records, number, NOON + timedelta(seconds=1))
    clock.ahead(seconds=2)
    two = [clockwork, Clockwork(records, engine, triggers=triggers, now=clock)]
    await asyncio.gather(*(each.tick() for each in two))
    for each in two:
        await each.tick()
    assert len(engine.started) == len(set(engine.calls)) == 210


async def test_a_chain_of_triggers_without_an_end_is_ended(
    records: Records, triggers: Triggers, clockwork: Clockwork, engine: FakeEngine, clock: Clock
) -> None:
    await triggers.create("t", "first", {"type": "workflow", "of": "first"})
    end(records, 0, NOON + timedelta(seconds=1))
    for number in range(1, 20):
        clock.ahead(seconds=2)
        await clockwork.tick()
        if len(engine.started) < number:
            break
        last = list(engine.started.values())[-1]
        end(records, number, clock(), metadata=last["options"]["metadata"])
    assert len(engine.started) == MAX_DEPTH
    assert [outcome for outcome, _ in await told(triggers)][-1] == "failed"
    assert "the chain ends" in (await told(triggers))[-1][1]


# -- notifications of PostgreSQL -----------------------------------------------------------------------------------


@contextmanager
def postgres() -> Iterator[tuple[str, Records]]:
    with schema() as url, opened("", url) as made:
        yield url, made


@asynccontextmanager
async def listening(listener: Listener) -> Any:
    task = asyncio.create_task(listener.run())
    try:
        yield task
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def until(holds: Callable[[], Any]) -> None:
    """Wait for what PostgreSQL brings about; there is no virtual clock for it."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.02)


def notify(url: str, *payloads: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for payload in payloads:
            connection.execute("select pg_notify('news', %s)", (payload,))


def listeners(records: Records) -> Any:
    query = "select count(*) from pg_stat_activity where query like 'LISTEN %news%' or query = 'SELECT 1'"
    return records.read(lambda c: c.exec_driver_sql(query.replace("%", "%%")).scalar())


def heard_to(records: Records) -> Any:
    return records.read(lambda c: c.execute(sa.select(TRIGGERS.c.position)).scalar())


@pytest.mark.req("M10")
async def test_a_notification_starts_the_workflow_and_what_nobody_heard_is_named() -> None:
    with postgres() as (url, records):
        clock = Clock(NOON)
        engine = FakeEngine(clock)
        triggers = Triggers(records, engine, now=clock)
        await triggers.create("t", "read", {"type": "postgres", "channel": "news", "when": "event.payload.go"})
        clockwork = Clockwork(records, engine, triggers=triggers, now=clock)
        one, two = (Listener(records, database=url, now=clock, look=0.05) for _ in range(2))
        async with listening(one), listening(two):
            await until(lambda: heard_to(records))
            notify(url, '{"go": true, "n": 1}', '{"go": true, "n": 1}', '{"go": false}', "no json")
            await until(lambda: heard_to(records)["count"] == 4)
            await clockwork.tick()
        assert [each["input"] for each in engine.started.values()] == [{"go": True, "n": 1}] * 2
        assert sorted(outcome for outcome, _ in await told(triggers)) == ["failed", "filtered", "fired", "fired"]
        notify(url, '{"go": true, "n": 2}')
        clock.ahead(minutes=5)
        async with listening(Listener(records, database=url, now=clock, look=0.05)):
            await until(lambda: heard_to(records)["heard_to"] > (NOON + timedelta(minutes=4)).timestamp() * 1e6)
            notify(url, '{"go": true, "n": 3}')
            await until(lambda: heard_to(records)["count"] == 5)
            await clockwork.tick()
        assert [each["input"]["n"] for each in engine.started.values()] == [1, 1, 3]
        gaps = [detail for outcome, detail in await told(triggers) if outcome == "gap"]
        assert gaps == [
            "nobody listened from 2026-11-03T12:00:00Z to 2026-11-03T12:05:00Z: what was sent meanwhile is lost"
        ]


async def test_a_listener_whose_connection_is_cut_listens_again() -> None:
    import psycopg

    with postgres() as (url, records):
        clock = Clock(NOON)
        triggers = Triggers(records, FakeEngine(clock), now=clock)
        await triggers.create("t", "read", {"type": "postgres", "channel": "news"})
        async with listening(Listener(records, database=url, now=clock, look=0.05)):
            await until(lambda: heard_to(records))
            clock.ahead(seconds=30)
            with psycopg.connect(url, autocommit=True) as connection:
                cut = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and pid in (select pid from "
                cut += "pg_stat_activity where query like 'LISTEN%%' or query = 'SELECT 1') and pid <> pg_backend_pid()"
                connection.execute(cut)
            await until(lambda: asyncio.all_tasks() and heard_to(records)["heard_to"] > NOON.timestamp() * 1e6)
            notify(url, '{"n": 1}')
            await until(lambda: heard_to(records)["count"] == 1)
        assert "gap" in [outcome for outcome, _ in await told(triggers)]


# -- in specs ------------------------------------------------------------------------------------------------------


async def test_the_triggers_of_the_published_version_are_the_ones_that_listen(
    records: Records, triggers: Triggers, engine: FakeEngine, clock: Clock
) -> None:
    head = "cogwork: v1\nname: build\ninput: {n: integer}\nnodes: {a: {type: transform, set: '{{ input.n }}'}}\n"
    hook = "{type: webhook, secret: 'secret://hook', header: X-Hub-Signature-256, prefix: 'sha256='}"
    first = load(f"{head}triggers: {{pushed: {hook}, dropped: {{type: file, path: 'inbox/*'}}}}").spec
    second = load(f"{head}triggers: {{pushed: {hook}}}").spec
    await sync(records, "build", first.triggers, version="1", now=clock)
    assert {each.name for each in await triggers.list()} == {"build/pushed", "build/dropped"}
    assert (await triggers.deliver("build/pushed", signed(b'{"n":1}'), b'{"n":1}')).outcome == "fired"
    before = await triggers.get("build/pushed")
    await triggers.disable("build/pushed")
    await sync(records, "build", second.triggers, version="2", now=clock)
    (kept_one,) = (await triggers.list()).items
    assert (kept_one.id, kept_one.version, kept_one.enabled) == (before.id, "2", False)
    await sync(records, "build", {}, now=clock)
    assert (await triggers.list()).items == ()
