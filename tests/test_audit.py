"""The audit log grows and does nothing else: no entry is changed, lost, or left out, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import multiprocessing
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.identity import bounding
from cogwork.identity.audit import Audit
from cogwork.identity.chain import Broken, Entry, Mark, digest_of, entry_of, follow
from cogwork.identity.exporting import follow_file
from cogwork.identity.roles import LOCAL, Principal, Verb
from cogwork.records.database import Records, opened
from cogwork.records.tables.identity import AUDIT, AUDIT_HEAD
from tests import clusters

pytestmark = pytest.mark.req("M9")
START = datetime(2027, 1, 1, tzinfo=UTC)
ADA = Principal(id="t-ada", name="ada", role="operator", via="token")
TRIGGERS = {
    "sqlite": (
        "cogwork_audit_unchanged",
        "cogwork_audit_kept",
        "cogwork_audit_not_replaced",
        "cogwork_audit_head_kept",
    ),
    "postgresql": ("cogwork_audit_kept ON cogwork_audit", "cogwork_audit_head_kept ON cogwork_audit_head"),
}


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, str | None]]:
    with clusters.schema() if request.param == "postgresql" else nullcontext() as url:
        yield tmp_path / "records.sqlite", url


@pytest.fixture
def records(where: tuple[Path, str | None]) -> Iterator[Records]:
    with opened(*where) as made:
        yield made


@pytest.fixture
def audit(records: Records) -> Iterator[Audit]:
    made = Audit(records)
    yield made
    made.close()


async def note(audit: Audit, target: str = "e-1", verb: Verb = "executions.start", **given: Any) -> None:
    """Append one entry."""
    principal = given.pop("principal", ADA)
    told = {"outcome": "done", "door": "http", "request_id": "req-1", "details": {}, **given}
    await audit.note(principal, verb, target, **told)


def unguarded(records: Records) -> None:
    """Take the triggers away, as somebody may who owns the database."""
    for trigger in TRIGGERS[records.dialect]:
        records.write(lambda c, trigger=trigger: c.exec_driver_sql(f"DROP TRIGGER {trigger}"))


def behind(records: Records, *statements: Any) -> None:
    """Change the log behind its back."""
    for statement in statements:
        records.write(lambda c, statement=statement: c.execute(statement))


# -- writing -----------------------------------------------------------------------------------------------------


async def test_an_entry_says_who_did_what_to_what_through_which_door_and_what_came_of_it(audit: Audit) -> None:
    await note(audit, "e-7", details={"version": 3, "target": "none"}, request_id="req-9")
    (entry,) = await audit.entries()
    assert (entry.seq, entry.principal_id, entry.principal_name, entry.role, entry.via) == (
        1, "t-ada", "ada", "operator", "token",
    )  # fmt: skip
    assert (entry.verb, entry.target, entry.outcome, entry.door) == ("executions.start", "e-7", "done", "http")
    assert (entry.request_id, entry.details) == ("req-9", {"version": 3, "target": "none"})
    assert abs(entry.at - datetime.now(UTC)) < timedelta(hours=1)
    assert (await audit.verify_chain()).broken is None


async def test_the_database_refuses_to_change_or_delete_an_entry(audit: Audit, records: Records) -> None:
    await note(audit)
    await note(audit)
    for statement in (
        "UPDATE cogwork_audit SET outcome = 'done'",
        "UPDATE cogwork_audit SET seq = 9 WHERE seq = 1",
        "DELETE FROM cogwork_audit",
        "DELETE FROM cogwork_audit WHERE seq = 2",
        "DELETE FROM cogwork_audit_head",
    ):
        with pytest.raises(EngineError, match="the audit log only grows"):
            records.write(lambda connection, statement=statement: connection.exec_driver_sql(statement))
    assert (await audit.verify_chain()).entries == 2


async def test_an_entry_cannot_be_replaced_by_another_of_its_number(audit: Audit, records: Records) -> None:
    await note(audit)
    replace = "INSERT OR REPLACE INTO cogwork_audit SELECT * FROM cogwork_audit"
    truncate = "TRUNCATE cogwork_audit, cogwork_audit_head"
    with pytest.raises(EngineError, match="the audit log only grows"):
        records.write(lambda c: c.exec_driver_sql(replace if records.dialect == "sqlite" else truncate))
    assert (await audit.verify_chain()).entries == 1


async def test_many_entries_at_once_are_all_there_in_one_chain(audit: Audit) -> None:
    await asyncio.gather(*(note(audit, f"e-{number}") for number in range(200)))
    found = await audit.verify_chain()
    assert (found.entries, found.broken) == (200, None)
    targets = {entry.target for entry in await audit.entries(limit=1000)}
    assert targets == {f"e-{number}" for number in range(200)}


def _append(path: Path, url: str | None, name: str, together: Any) -> None:
    async def append() -> None:
        with opened(path, url) as records:
            audit = Audit(records)
            together.wait(60)
            for number in range(20):
                await asyncio.gather(*(note(audit, f"{name}-{number:02}-{beside}") for beside in range(2)))
            audit.close()

    asyncio.run(append())


async def test_two_processes_that_append_at_once_make_one_chain(where: tuple[Path, str | None]) -> None:
    opened(*where).close()
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(2)
    processes = [context.Process(target=_append, args=(*where, name, together)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        await asyncio.to_thread(process.join)
    assert [process.exitcode for process in processes] == [0, 0]
    with opened(*where) as records:
        audit = Audit(records)
        found = await audit.verify_chain()
        assert (found.entries, found.broken) == (80, None)
        written = [entry.target async for entry in _all(audit)]
        assert len(set(written)) == 80
        for name in "ab":
            rounds = [target.split("-")[1] for target in written if target.startswith(name)]
            assert rounds == sorted(rounds)


async def _all(audit: Audit) -> Any:
    async for line in audit.lines():
        yield entry_of(json.loads(line))


async def test_a_log_that_cannot_be_written_to_says_so(tmp_path: Path) -> None:
    with opened(tmp_path / "records.sqlite") as records:

        @sa.event.listens_for(records.engine, "checkout")
        def read_only(connection: Any, *_: Any) -> None:
            connection.execute("PRAGMA query_only = 1")

        with pytest.raises(EngineError, match="cannot be used"):
            await note(Audit(records))


# -- what is written ---------------------------------------------------------------------------------------------


async def test_neither_tokens_nor_secrets_nor_material_get_into_the_log(records: Records) -> None:
    token = f"cw_{'a' * 16}_{'b' * 64}"
    audit = Audit(records, hide=lambda value: json.loads(json.dumps(value).replace("canary-4711", "***")))
    details = {
        "input": {"patient": "material-1"},
        "Authorization": "Bearer material-2",
        "options": {"answers": ["material-3"], "api_key": "material-4", "deep": {"a": {"b": {"c": "material-5"}}}},
        "note": f"they said {token} and canary-4711",
        "long": "x" * 10_000,
    }
    await note(audit, f"target {token} canary-4711", request_id=token, details=details)
    audit.close()
    (entry,) = await audit.entries()
    said = json.dumps(entry.to_dict())
    assert "material" not in said and "b" * 9 not in said and "canary" not in said
    assert entry.details["input"] == "1 fields"
    assert len(said) < 2000
    assert (await audit.verify_chain()).broken is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=25) | st.dictionaries(st.text(max_size=5), inner, max_size=6),
    max_leaves=30,
)


@settings(max_examples=60, deadline=None)
@given(details=st.dictionaries(st.text(), VALUES, max_size=8))
def test_details_are_bounded_whatever_they_hold(details: Any) -> None:
    kept = bounding.details(details)
    assert len(json.dumps(kept, allow_nan=False)) <= bounding.BYTES


async def test_whatever_is_noted_is_taken_and_followed(audit: Audit) -> None:
    odd = ["", "\0", "\ud800", "\u202e\r\n\x1b[2J", "x" * 5000, "😀" * 600]
    values: list[Any] = [float("nan"), float("inf"), 1e308, 2**70, -0.0, None, True, [[[[[1]]]]], {"a": {"b": [odd]}}]
    for text in odd:
        await note(audit, text, details={text: text, "v": values}, request_id=text, door=text, outcome=text)
    assert (await audit.verify_chain()).broken is None
    assert [entry.target for entry in await audit.entries()][-1] == ""


# -- reading -----------------------------------------------------------------------------------------------------


async def test_entries_are_found_by_who_what_outcome_and_when_in_pages_the_latest_first(records: Records) -> None:
    seconds = iter(range(100))
    audit = Audit(records, now=lambda: START + timedelta(seconds=next(seconds)))
    for number in range(6):
        principal = ADA if number % 2 else LOCAL
        await note(audit, f"e-{number}", principal=principal, outcome="denied" if number == 3 else "done")
    await note(audit, "w-1", "workflows.write")
    audit.close()

    async def found(**wanted: Any) -> list[int]:
        return [entry.seq for entry in await audit.entries(**wanted)]

    assert await found() == [7, 6, 5, 4, 3, 2, 1]
    assert await found(principal="ada") == await found(principal="t-ada") == [7, 6, 4, 2]
    assert await found(verb="workflows.write") == [7]
    assert await found(outcome="denied") == [4]
    assert await found(target="e-0") == [1]
    assert await found(since=START + timedelta(seconds=2), until=START + timedelta(seconds=4)) == [4, 3]
    first = await audit.entries(principal="ada", limit=3)
    assert [entry.seq for entry in first] == [7, 6, 4]
    rest = await audit.entries(principal="ada", limit=3, cursor=first.cursor)
    assert [entry.seq for entry in rest] == [2] and rest.cursor is None
    with pytest.raises(EngineError, match="other filters"):
        await audit.entries(cursor=first.cursor)
    with pytest.raises(EngineError, match="limit"):
        await audit.entries(limit=0)


# -- the chain ---------------------------------------------------------------------------------------------------


def chain(length: int) -> list[Entry]:
    """A chain of so many entries."""
    entries, last = [], Mark()
    for number in range(length):
        plain = Entry(
            seq=0, at=START + timedelta(seconds=number), principal_id="a", principal_name="b", role="admin", via="local",
            verb="executions.start", target=f"e-{number}", outcome="done", door="http", request_id="r", details={"n": number},
        )  # fmt: skip
        entries.append(plain.after(last))
        last = Mark(entries[-1].seq, entries[-1].digest)
    return entries


OTHER = {"seq": 99, "at": START - timedelta(days=1), "details": {"n": -1}, "digest": "f" * 64, "previous": "e" * 64}


@settings(max_examples=300, deadline=None)
@given(data=st.data(), length=st.integers(2, 8))
def test_an_entry_changed_taken_out_moved_or_put_in_is_found_where_it_stands(data: Any, length: int) -> None:
    entries = chain(length)
    assert follow(entries).broken is None
    at = data.draw(st.integers(0, length - 1))
    forged = list(entries)
    how = data.draw(st.sampled_from(["changed", "resealed", "taken", "swapped", "doubled", "renumbered"]))
    field = data.draw(st.sampled_from([f.name for f in dataclasses.fields(Entry)]))
    other = dataclasses.replace(entries[at], **{field: OTHER.get(field, "other")})
    if how == "changed":
        forged[at] = other
    elif how == "resealed":
        other = dataclasses.replace(entries[at], target="other")
        forged[at] = dataclasses.replace(other, digest=digest_of(other))
    elif how == "taken":
        del forged[at]
    elif how == "swapped":
        forged[at], forged[at - 1] = forged[at - 1], forged[at]
    elif how == "doubled":
        forged.insert(at, entries[at])
    else:
        del forged[at]
        forged[at:] = [dataclasses.replace(each, seq=each.seq - 1) for each in forged[at:]]
    found, end = follow(forged), Mark(entries[-1].seq, entries[-1].digest)
    if found.broken is None:  # Only what is at the end itself is seen by nothing but the end that is known elsewhere.
        assert found.last != end and at == length - 1
    else:
        assert at <= found.broken.seq <= at + 2 or how == "swapped"


HELD: dict[str, Any] = {}
CHANGED: list[tuple[list[Any], int]] = [
        ([sa.update(AUDIT).where(AUDIT.c.seq == 3).values(target="another")], 3),
        ([sa.update(AUDIT).where(AUDIT.c.seq == 2).values(details={"a": 1})], 2),
        ([sa.text("UPDATE cogwork_audit SET details = '{no json' WHERE seq = 2")], 2),
        ([sa.update(AUDIT).where(AUDIT.c.seq == 1).values(at=START)], 1),
        ([sa.delete(AUDIT).where(AUDIT.c.seq == 3)], 3),
        ([sa.delete(AUDIT).where(AUDIT.c.seq == 1)], 1),
        ([sa.delete(AUDIT).where(AUDIT.c.seq == 5)], 5),
        ([sa.delete(AUDIT).where(AUDIT.c.seq > 2)], 3),
        ([sa.delete(AUDIT)], 1),
        ([sa.update(AUDIT_HEAD).values(digest="0" * 64)], 5),
        ([sa.update(AUDIT_HEAD).values(seq=9)], 6),
        ([sa.update(AUDIT_HEAD).values(seq=3)], 4),
        ([sa.update(AUDIT).where(AUDIT.c.seq == 2).values(seq=20),
          sa.update(AUDIT).where(AUDIT.c.seq == 3).values(seq=2),
          sa.update(AUDIT).where(AUDIT.c.seq == 20).values(seq=3)], 2),
]  # fmt: skip


async def test_what_somebody_changed_behind_the_triggers_is_named(audit: Audit, records: Records) -> None:
    for number in range(5):
        await note(audit, f"e-{number}")
    unguarded(records)
    for statements, seq in CHANGED:

        def changed(connection: Connection, statements: list[Any] = statements) -> None:
            kept = [dict(row) for row in connection.execute(sa.select(AUDIT)).mappings()]
            head = dict(connection.execute(sa.select(AUDIT_HEAD)).mappings().one())
            for statement in statements:
                connection.execute(statement)
            HELD.update(rows=kept, head=head)

        records.write(changed)
        found = await audit.verify_chain()
        assert found.broken is not None and found.broken.seq == seq, (statements, found)
        behind(
            records, sa.delete(AUDIT), sa.insert(AUDIT).values(HELD["rows"]), sa.update(AUDIT_HEAD).values(HELD["head"])
        )
    assert (await audit.verify_chain()).broken is None


async def test_a_log_rewritten_from_an_entry_to_its_end_is_found_by_a_mark_kept_elsewhere(
    audit: Audit, records: Records
) -> None:
    for number in range(4):
        await note(audit, f"e-{number}")
    mark = await audit.head()
    assert Mark.read(str(mark)) == mark
    unguarded(records)

    def rewrite(connection: Connection) -> None:
        rows = [dict(row) for row in connection.execute(sa.select(AUDIT).order_by(AUDIT.c.seq)).mappings()]
        connection.execute(sa.delete(AUDIT))
        last = Mark()
        for row in rows:
            forged = dataclasses.replace(entry_of(row), principal_name="somebody else").after(last)
            last = Mark(forged.seq, forged.digest)
            connection.execute(sa.insert(AUDIT).values(**dataclasses.asdict(forged)))
        connection.execute(sa.update(AUDIT_HEAD).values(digest=last.digest))

    records.write(rewrite)
    assert (await audit.verify_chain()).broken is None, "by itself the forged chain holds"
    assert (await audit.verify_chain(mark)).broken == Broken(4, "another one stands there")


async def test_the_chain_holds_while_it_grows(audit: Audit) -> None:
    writing = asyncio.gather(*(note(audit, f"e-{number}") for number in range(60)))
    looked = [await audit.verify_chain() for _ in range(5)]
    await writing
    assert [found.broken for found in looked] == [None] * 5
    assert (await audit.verify_chain()).entries == 60


async def test_a_kept_mark_is_enough_to_look_at_what_came_after_it(audit: Audit) -> None:
    await note(audit)
    mark = await audit.head()
    await note(audit)
    found = await audit.verify_chain(mark)
    assert (found.entries, found.broken, found.last) == (1, None, await audit.head())


ARCHIVED = {
    "sqlite": (
        "DROP TRIGGER cogwork_audit_kept",
        "DELETE FROM cogwork_audit WHERE seq <= 3",
        "CREATE TRIGGER cogwork_audit_kept BEFORE DELETE ON cogwork_audit "
        "BEGIN SELECT RAISE(ABORT, 'the audit log only grows: its rows are neither changed nor taken away'); END",
    ),
    "postgresql": (
        "ALTER TABLE cogwork_audit DISABLE TRIGGER cogwork_audit_kept",
        "DELETE FROM cogwork_audit WHERE seq <= 3",
        "ALTER TABLE cogwork_audit ENABLE TRIGGER cogwork_audit_kept",
    ),
}
"""What docs/security.md says to whoever owns the database and wants old entries out of it."""


async def test_entries_that_the_owner_of_the_database_has_archived_are_proven_by_their_mark(
    audit: Audit, records: Records, tmp_path: Path
) -> None:
    for number in range(3):
        await note(audit, f"e-{number}")
    mark = await audit.export(tmp_path / "old.jsonl")
    await note(audit, "e-3")
    page = (Path(__file__).parent.parent / "docs" / "security.md").read_text()
    assert all(statement in " ".join(page.split()) for statement in ARCHIVED[records.dialect])
    for statement in ARCHIVED[records.dialect]:
        behind(records, sa.text(statement))
    found = await audit.verify_chain()
    assert found.broken == Broken(1, "it is missing"), "without the mark it is told"
    found = await audit.verify_chain(mark)
    assert (found.entries, found.broken) == (1, None)
    assert follow_file(tmp_path / "old.jsonl").last == mark
    assert (await audit.verify_chain(Mark(3, "0" * 64))).broken is not None
    assert (await audit.verify_chain(Mark(9, "0" * 64))).broken == Broken(5, "it is missing")
    with pytest.raises(EngineError, match="only grows"):
        behind(records, sa.text("DELETE FROM cogwork_audit"))


# -- exports -----------------------------------------------------------------------------------------------------


async def test_an_export_is_json_lines_that_can_be_checked_without_the_database(audit: Audit, tmp_path: Path) -> None:
    for number in range(3):
        await note(audit, f"e-{number}", details={"n": number})
    first = await audit.export(tmp_path / "first.jsonl")
    assert first == await audit.head()
    told = [json.loads(line) for line in (tmp_path / "first.jsonl").read_text().splitlines()]
    assert [(line["seq"], line["target"], line["details"]) for line in told] == [
        (1, "e-0", {"n": 0}), (2, "e-1", {"n": 1}), (3, "e-2", {"n": 2}),
    ]  # fmt: skip
    assert (tmp_path / "first.jsonl").stat().st_mode & 0o777 == 0o600
    await note(audit, "e-3")
    second = await audit.export(tmp_path / "second.jsonl", begin=first.seq)
    assert second is not None and second.seq == 4
    assert follow_file(tmp_path / "first.jsonl").last == first
    assert follow_file(tmp_path / "second.jsonl", first).last == second
    assert follow_file(tmp_path / "second.jsonl", Mark(3, "0" * 64)).broken is not None
    with pytest.raises(EngineError, match="not written over"):
        await audit.export(tmp_path / "first.jsonl")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("e-1", "e-9"),
        lambda text: "".join(text.splitlines(keepends=True)[:1] + text.splitlines(keepends=True)[2:]),
        lambda text: text.replace('"details":{}', '"details":{'),
        lambda text: text.replace('"door":"http"', '"floor":"http"'),
        lambda text: text.replace('"seq":2', '"seq":"2"'),
        lambda text: text[:-40],
    ],
)
async def test_an_export_that_was_changed_is_named_at_its_first_wrong_line(
    tmp_path: Path, change: Callable[[str], str]
) -> None:
    with opened(tmp_path / "records.sqlite") as records:
        audit = Audit(records)
        for number in range(3):
            await note(audit, f"e-{number}")
        file = tmp_path / "audit.jsonl"
        await audit.export(file)
    assert follow_file(file).broken is None
    file.write_text(change(file.read_text()))
    assert follow_file(file).broken is not None


@pytest.mark.parametrize("text", ["", "1", "a:b", f"-1:{'0' * 64}", f"1:{'0' * 63}", f"{'9' * 30}:{'0' * 64}"])
def test_what_is_no_mark_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no mark"):
        Mark.read(text)


def test_clean_up_takes_nothing_of_the_log(tmp_path: Path) -> None:
    from cogwork.retention import plan, sweep
    from cogwork.sections import Retention
    from cogwork.store.checkpoints import SqliteCheckpoints

    async def swept() -> None:
        with opened(tmp_path / "records.sqlite") as records, SqliteCheckpoints(tmp_path / "c.sqlite") as saver:
            audit = Audit(records, now=lambda: START)
            for _ in range(3):
                await note(audit)
            await sweep(records, saver, plan(Retention(), START + timedelta(days=20_000)))
            assert (await audit.verify_chain()).entries == 3

    asyncio.run(swept())


def test_another_program_with_sqlite_cannot_change_the_log_by_accident(tmp_path: Path) -> None:
    with opened(tmp_path / "records.sqlite") as records:
        asyncio.run(note(Audit(records)))
    with (
        sqlite3.connect(tmp_path / "records.sqlite") as connection,
        pytest.raises(sqlite3.IntegrityError, match="only grows"),
    ):
        connection.execute("DELETE FROM cogwork_audit")
    connection.close()
