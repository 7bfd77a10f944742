"""The database of the records behaves the same on SQLite and PostgreSQL, whatever it is given and whatever it finds."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sqlite3
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection

from cogwork.app import App
from cogwork.errors import EngineError
from cogwork.records import payloads, schema
from cogwork.records.database import Records, opened
from cogwork.records.pages import Page, paged
from cogwork.records.tables import METADATA
from cogwork.records.tables.executions import BATCHES, EXECUTION_TAGS
from cogwork.records.tables.payloads import FACTS, PAYLOADS
from cogwork.settings import Settings
from tests import clusters

pytestmark = pytest.mark.req("X13")
NOW = datetime(2027, 1, 1, tzinfo=UTC)
DATABASES = ("sqlite", "postgresql")


@contextmanager
def place(database: str, folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Where a database of that kind may be opened that is not there yet."""
    with clusters.schema() if database == "postgresql" else nullcontext() as url:
        yield folder / "deep" / "records.sqlite", url


@pytest.fixture(params=DATABASES)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, str | None]]:
    with place(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def records(where: tuple[Path, str | None]) -> Iterator[Records]:
    with opened(*where) as made:
        yield made


def add(records: Records, id: str, **more: Any) -> None:
    """Write a row, a batch being the plainest of them."""
    row = {"id": id, "name": "", "total": 1, "options": {}, "created_at": NOW, **more}
    records.write(lambda connection: connection.execute(sa.insert(BATCHES).values(**row)))


def ids(records: Records) -> list[str]:
    return records.read(lambda c: list(c.execute(sa.select(BATCHES.c.id).order_by(BATCHES.c.id)).scalars()))


def refused(code: str, match: str) -> Any:
    return pytest.raises(EngineError, match=match, check=lambda error: getattr(error, "code", None) == code)


# -- the schema --------------------------------------------------------------------------------------------------


def test_the_migrated_schema_is_the_one_of_the_tables(records: Records) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    def compared(connection: Connection) -> list[Any]:
        # What SQLite tells of defaults is not written as it was said.
        defaults = connection.dialect.name == "postgresql"
        options = {"version_table": schema.TABLE, "compare_type": True, "compare_server_default": defaults}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), METADATA))

    assert records.read(compared) == []


def test_the_newest_migration_is_the_one_that_the_code_asks_for() -> None:
    from alembic.script import ScriptDirectory

    assert ScriptDirectory.from_config(schema.config()).get_heads() == [schema.HEAD]


def test_a_database_that_is_missing_is_created_and_opened_again_as_it_is(where: tuple[Path, str | None]) -> None:
    with opened(*where) as first:
        assert first.created
        add(first, "a")
    with opened(*where) as second:
        assert not second.created
        assert ids(second) == ["a"]
    if where[1] is None:
        assert where[0].stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("at_once", ["threads", "processes"])
def test_a_database_opened_by_many_at_once_is_made_once(where: tuple[Path, str | None], at_once: str) -> None:
    words = [(str(where[0]), where[1], number) for number in range(6)]
    if at_once == "threads":
        with ThreadPoolExecutor(6) as pool:
            created = list(pool.map(_open_and_add, words))
    else:
        with multiprocessing.get_context("spawn").Pool(3) as processes:
            created = processes.map(_open_and_add, words)
    assert sum(created) == 1
    with opened(*where) as records:
        assert ids(records) == [f"b{number}" for number in range(6)]
        assert len(records.read(lambda c: c.execute(sa.select(FACTS)).all())) == 1


def _open_and_add(given: tuple[str, str | None, int]) -> bool:
    path, url, number = given
    with opened(path, url) as records:
        add(records, f"b{number}")
        return records.created


def test_several_databases_may_be_made_at_once_by_one_process(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: opened(tmp_path / f"{number}.sqlite"), range(8)))
    for each in made:
        with each:
            assert each.created
            add(each, "a")


def _set_revision(records: Records, revision: str) -> None:
    records.write(lambda c: c.exec_driver_sql(f"UPDATE {schema.TABLE} SET version_num = '{revision}'"))


def test_a_database_that_is_newer_than_the_code_is_left_alone(where: tuple[Path, str | None]) -> None:
    with opened(*where) as records:
        add(records, "a")
        _set_revision(records, "9999")
    with refused("database_error", "revision 9999 of the schema, and this cogwork knows .*use the newer cogwork"):
        opened(*where)


def test_a_database_of_an_unknown_schema_is_left_alone(where: tuple[Path, str | None]) -> None:
    with opened(*where) as records:
        _set_revision(records, "zzz")
    with refused("database_error", "unknown revision 'zzz'"):
        opened(*where)


@pytest.fixture
def newer_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the code one revision newer, whose migration is the given statements."""

    def become(body: str) -> None:
        import shutil

        folder = tmp_path / "migrations"
        shutil.copytree(Path(schema.__file__).parent / "migrations", folder)
        newer = f"{int(schema.HEAD) + 1:04}"
        text = (
            f'from alembic import op\nimport sqlalchemy as sa\nrevision = "{newer}"\ndown_revision = "{schema.HEAD}"\n'
        )
        (folder / "versions" / f"r{newer}_newer.py").write_text(f"{text}\ndef upgrade() -> None:\n    {body}\n")
        monkeypatch.setattr(schema, "_CONFIG", folder)
        monkeypatch.setattr(schema, "HEAD", newer)

    return become


def test_a_database_that_is_old_is_migrated_with_all_it_holds(
    where: tuple[Path, str | None], newer_code: Callable[[str], None]
) -> None:
    with opened(*where) as records:
        add(records, "a")
    newer_code('op.add_column("cogwork_batches", sa.Column("more", sa.String(8), server_default="x"))')
    with ThreadPoolExecutor(4) as pool:
        several = list(pool.map(lambda _: opened(*where), range(4)))
    for each in several:
        with each:
            assert not each.created
            assert each.read(lambda c: c.exec_driver_sql("SELECT id, more FROM cogwork_batches").all()) == [("a", "x")]


def test_a_migration_that_fails_changes_nothing_and_can_be_tried_again(
    where: tuple[Path, str | None], newer_code: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(*where) as records:
        add(records, "a")
    with monkeypatch.context() as tried:
        newer_code(
            'op.add_column("cogwork_batches", sa.Column("more", sa.String(8))); op.execute("SELECT nothing_at_all")'
        )
        with refused("database_error", "nothing_at_all"):
            opened(*where)
        tried.undo()
    monkeypatch.undo()
    with opened(*where) as records:
        assert ids(records) == ["a"]
        columns = {column["name"] for column in records.read(lambda c: sa.inspect(c).get_columns("cogwork_batches"))}
        assert "more" not in columns


# -- files that cannot be used -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"garbage", os.urandom(8192), b"SQLite format 3\x00" + os.urandom(4000), b"<html>"],
    ids=["text", "noise", "torn", "html"],
)
def test_a_file_that_is_no_database_is_named_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "records.sqlite"
    file.write_bytes(content)
    with refused("database_error", "records.sqlite"):
        opened(file)
    assert file.read_bytes() == content


def test_somebody_elses_tables_are_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "records.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE mine (a)")
        connection.execute("INSERT INTO mine VALUES (1)")
    connection.close()
    with opened(file) as records:
        add(records, "a")
        assert records.read(lambda c: c.exec_driver_sql("SELECT a FROM mine").scalar()) == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with refused("database_error", "Cannot use .*file"):
        opened(tmp_path / "file" / "records.sqlite")
    with refused("database_error", "records"):
        (tmp_path / "records").mkdir()
        opened(tmp_path / "records")


READING = """
import os, sys
from cogwork.errors import EngineError
from cogwork.records.database import opened
import cogwork.records.schema, cogwork.records.fitting, cogwork.records.tables, alembic.command
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    opened(sys.argv[1])
except EngineError as err:
    print(err.code, err)
"""


def test_a_folder_that_may_not_be_written_to_is_named(tmp_path: Path) -> None:
    import subprocess

    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o055)
    words = [sys.executable, "-c", READING, str(folder / "records.sqlite")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("database_error Cannot use"), done.stderr
    assert "Permission denied" in done.stdout


def test_a_server_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    with refused("database_error", "127.0.0.1") as caught:
        opened(tmp_path / "x", "postgresql://me:canary-4711@127.0.0.1:1/none")
    assert "canary-4711" not in str(caught.value)
    with refused("database_error", "no address of PostgreSQL") as caught:
        opened(tmp_path / "x", "postgresql://me:canary-4711@[")
    assert "canary-4711" not in str(caught.value)


def test_a_full_disk_refuses_the_write_whole_and_takes_the_next_when_there_is_room(tmp_path: Path) -> None:
    with opened(tmp_path / "records.sqlite") as records:
        add(records, "a")

        def bounded(pages: int) -> None:
            @sa.event.listens_for(records.engine, "checkout")
            def limit(connection: Any, *_: Any) -> None:
                connection.execute(f"PRAGMA max_page_count = {pages}")

        def much(connection: Connection) -> None:
            connection.execute(sa.insert(BATCHES).values(id="b", name="", total=1, options={}, created_at=NOW))
            connection.execute(
                sa.insert(PAYLOADS).values(digest="d", encoding="json", size=1, data=bytes(2_000_000), stored_at=NOW)
            )

        bounded(200)
        with refused("database_error", "full"):
            records.write(much)
        assert ids(records) == ["a"]
        bounded(1_000_000)
        records.write(much)
        assert ids(records) == ["a", "b"]


# -- what is written ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": "a\0b"}, "name holds the character NUL"),
        ({"name": "\ud800"}, "name holds half of a character"),
        ({"name": "x" * 256}, "name has 256 characters, and at most 255"),
        ({"name": "😀" * 256}, "name has 256 characters, and at most 255"),
        ({"total": 2**31}, "total is out of range"),
        ({"total": -(2**31) - 1}, "total is out of range"),
        ({"total": 2**80}, "total is out of range"),
        ({"options": {"a": float("nan")}}, "no plain JSON"),
        ({"options": {"a": {1, 2}}}, "no plain JSON"),
        ({"created_at": datetime(2027, 1, 1)}, "has no time zone"),
    ],
)
def test_what_a_column_cannot_hold_is_refused_before_the_database_sees_it(
    records: Records, wrong: dict[str, Any], says: str
) -> None:
    add(records, "a", name="before")
    row = {"id": "b", "name": "", "total": 1, "options": {}, "created_at": NOW}
    calls: list[Callable[[Connection], Any]] = [
        lambda c: c.execute(sa.insert(BATCHES).values(**{**row, **wrong})),
        lambda c: c.execute(sa.insert(BATCHES), [{**row, "id": "c"}, {**row, **wrong}]),
        lambda c: c.execute(sa.insert(BATCHES).values([{**row, "id": "c"}, {**row, **wrong}])),
        lambda c: c.execute(sa.update(BATCHES).where(BATCHES.c.id == "a").values(**wrong)),
    ]
    for call in calls:
        with refused("invalid_input", says):
            records.write(call)
    assert ids(records) == ["a"]


def test_looking_for_what_no_column_holds_is_refused_or_finds_nothing(records: Records) -> None:
    def look(value: Any) -> list[Any]:
        return records.read(lambda c: list(c.execute(sa.select(BATCHES.c.id).where(BATCHES.c.id == value)).all()))

    add(records, "a")
    assert look("x" * 10_000) == []
    for value in ("a\0", "\ud800"):
        with refused("invalid_input", "holds"):
            look(value)
    with refused("invalid_input", "NUL"):
        records.read(lambda c: c.execute(sa.select(BATCHES.c.id).where(BATCHES.c.id.in_(["a", "\0"]))).all())
    long = sa.update(BATCHES).where(BATCHES.c.id == "x" * 300).values(name="b")
    assert records.write(lambda c: c.execute(long).rowcount) == 0


TEXTS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=255)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ANYTHING = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@ANYTHING
@given(name=TEXTS, value=st.text(), options=VALUES)
def test_what_is_written_is_what_is_read(records: Records, name: str, value: str, options: Any) -> None:
    held = {"value": value, "options": options, "special": "\0 \ud800 😀 \u202e"}

    def written(connection: Connection) -> Any:
        connection.execute(sa.delete(BATCHES))
        row = {"id": "a", "name": name, "total": 1, "options": held, "created_at": NOW}
        connection.execute(sa.insert(BATCHES).values(**row))
        digest = payloads.kept(connection, held)
        row_read = connection.execute(sa.select(BATCHES.c.name, BATCHES.c.options)).one()
        return (*row_read, payloads.found(connection, digest))

    assert records.write(written) == (name, held, held)


@ANYTHING
@given(st.datetimes(timezones=st.timezones()))
def test_instants_come_back_as_the_same_instant(records: Records, at: datetime) -> None:
    def written(connection: Connection) -> datetime | None:
        connection.execute(sa.delete(BATCHES))
        row = {"id": "a", "name": "", "total": 1, "options": {}, "created_at": at}
        connection.execute(sa.insert(BATCHES).values(**row))
        return connection.execute(sa.select(BATCHES.c.created_at)).scalar()

    try:
        at.astimezone(UTC)
    except OverflowError:
        return
    assert records.write(written) == at


# -- payloads ----------------------------------------------------------------------------------------------------


def stored(records: Records) -> list[Any]:
    query = sa.select(PAYLOADS.c.digest, PAYLOADS.c.encoding, PAYLOADS.c.size, PAYLOADS.c.data)
    return list(records.read(lambda c: c.execute(query).all()))


def test_a_payload_is_stored_once_whoever_stores_it_and_compressed_where_that_helps(records: Records) -> None:
    large = {"text": "abc" * 10_000, "n": [1, 2.5, None, True]}
    keep: Callable[[Any], str] = lambda value: records.write(lambda c: payloads.kept(c, value))  # noqa: E731
    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(keep, [large, dict(reversed(large.items()))] * 8))
    assert len(digests) == 1
    small, noise = keep("small"), keep(os.urandom(4000).hex())
    found = {row.digest: row for row in stored(records)}
    assert len(found) == 3
    assert found[digests.pop()].encoding == "zlib"
    assert found[small].encoding == "json" and found[noise].encoding == "zlib"
    assert all(len(row.data) <= row.size for row in found.values())


def test_a_payload_that_is_too_large_is_refused(records: Records) -> None:
    with refused("invalid_input", "The input has 104,857,602 bytes, and at most 67,108,864 are kept"):
        records.write(lambda c: payloads.kept(c, "x" * 100 * 1024 * 1024, "input"))
    with refused("invalid_input", "at most 10 are kept"):
        records.write(lambda c: payloads.kept(c, "x" * 10, "input", limit=10))
    assert stored(records) == []


def test_the_settings_say_what_is_compressed_and_what_is_too_large(where: tuple[Path, str | None]) -> None:
    chosen = Settings(
        state_dir=where[0].parent, database_url=where[1], compression_above=5000, max_payload_bytes=10_000
    )
    app = App(settings=chosen)
    records = app.records()
    assert app.records() is records
    for size in (4000, 6000):
        records.write(lambda c, size=size: payloads.kept(c, "x" * size))  # type: ignore[misc]
    assert sorted((row.size, row.encoding) for row in stored(records)) == [(4002, "json"), (6002, "zlib")]
    with refused("invalid_input", "at most 10,000 are kept"):
        records.write(lambda c: payloads.kept(c, "x" * 10_000))
    app.close()


@pytest.mark.parametrize(
    "change",
    [
        {"data": b"not zlib"},
        {"data": zlib.compress(json.dumps("other").encode())},
        {"data": zlib.compress(json.dumps("x" * 4000).encode())[:-6]},
        {"encoding": "json"},
        {"data": zlib.compress(bytes(200 * 1024 * 1024), 9)},
    ],
    ids=["junk", "other", "torn", "encoding", "bomb"],
)
def test_a_payload_that_was_altered_is_not_believed(records: Records, change: dict[str, Any]) -> None:
    digest = records.write(lambda c: payloads.kept(c, "x" * 4000))
    records.write(lambda c: c.execute(sa.update(PAYLOADS).values(**change)))
    with refused("database_error", "was altered|is damaged"):
        records.read(lambda c: payloads.found(c, digest))


def test_a_payload_that_is_gone_is_named_and_many_are_found_at_once(records: Records) -> None:
    digests = records.write(lambda c: [payloads.kept(c, number) for number in range(1200)])
    assert len(records.read(lambda c: payloads.found_all(c, [*digests, None, *digests]))) == 1200
    assert records.read(lambda c: payloads.found(c, None)) is None
    with refused("database_error", "is gone"):
        records.read(lambda c: payloads.found(c, "0" * 64))


# -- pages -------------------------------------------------------------------------------------------------------


def page(records: Records, limit: Any, cursor: Any = None, **filters: Any) -> Page[Any]:
    query = sa.select(BATCHES)
    if "name" in filters:
        query = query.where(BATCHES.c.name == filters["name"])
    return records.read(
        lambda c: paged(c, query, BATCHES.c.created_at, BATCHES.c.id, filters=filters, limit=limit, cursor=cursor)
    )


@settings(ANYTHING, max_examples=25)
@given(
    offsets=st.lists(st.integers(-3, 3), max_size=30),
    limit=st.integers(1, 12),
    late=st.lists(st.integers(4, 6), max_size=10),
)
def test_pages_of_any_size_are_the_one_big_page_while_rows_arrive(
    records: Records, offsets: list[int], limit: int, late: list[int]
) -> None:
    records.write(lambda c: c.execute(sa.delete(BATCHES)))
    for number, offset in enumerate(offsets):
        add(records, f"id {number} é", created_at=NOW + timedelta(seconds=offset))
    whole = [row["id"] for row in page(records, 1000)]
    assert len(whole) == len(offsets)
    seen: list[str] = []
    cursor: str | None = None
    arriving = iter(enumerate(late))
    while True:
        found = page(records, limit, cursor)
        assert 0 < len(found) <= limit or not whole
        seen += [row["id"] for row in found]
        assert len(seen) <= len(whole), "a page repeats what was on another"
        if (cursor := found.cursor) is None:
            break
        for number, offset in arriving:
            add(records, f"late {number}", created_at=NOW + timedelta(seconds=offset))
            break
    assert seen == whole


def test_a_cursor_that_was_tampered_with_or_is_of_another_list_is_refused(records: Records, tmp_path: Path) -> None:
    for number in range(4):
        add(records, f"b{number}", name="x")
    cursor = page(records, 2, name="x").cursor
    assert cursor is not None
    assert len(page(records, 2, cursor, name="x")) == 2
    wrong = [cursor[:-1], cursor + "A", cursor[::-1], "", "é", "====", "A" * 10_000, "\0", 7, b"x"]
    wrong += [
        cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in range(0, len(cursor) - 1, 7)
    ]
    for each in wrong:
        with refused("invalid_cursor", "none of this list"):
            page(records, 2, each, name="x")
    with refused("invalid_cursor", "other filters"):
        page(records, 2, cursor)
    with opened(tmp_path / "other.sqlite") as other, refused("invalid_cursor", "none of this list"):
        page(other, 2, cursor, name="x")


@pytest.mark.parametrize("limit", [0, -1, 1001, True, None, "5", 2.5])
def test_a_limit_that_is_none_is_refused(records: Records, limit: Any) -> None:
    with refused("invalid_input", "must be a number from 1 to 1000"):
        page(records, limit)


# -- many at once, and servers that go away ----------------------------------------------------------------------


def test_threads_and_event_loops_read_and_write_at_once(records: Records) -> None:
    async def some(part: int) -> None:
        async def one(number: int) -> None:
            row = {"id": f"{part}-{number}", "name": "", "total": 1, "options": {}, "created_at": NOW}
            await records.writing(lambda c: c.execute(sa.insert(BATCHES).values(**row)))
            await records.reading(lambda c: c.execute(sa.select(BATCHES)).all())

        await asyncio.gather(*(one(number) for number in range(20)))

    def plain(part: int) -> None:
        for number in range(20):
            add(records, f"{part}-{number}")
            ids(records)

    with ThreadPoolExecutor(6) as pool:
        loops = [pool.submit(asyncio.run, some(part)) for part in range(3)]
        threads = [pool.submit(plain, part) for part in range(3, 6)]
        for each in (*loops, *threads):
            each.result()
    assert len(ids(records)) == 120


def test_a_write_is_whole_or_not_there(records: Records) -> None:
    def broken(connection: Connection) -> None:
        connection.execute(sa.insert(BATCHES).values(id="a", name="", total=1, options={}, created_at=NOW))
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        records.write(broken)
    assert ids(records) == []


def test_counting_up_from_many_processes_loses_nothing(where: tuple[Path, str | None]) -> None:
    with opened(*where) as records:
        add(records, "n", total=0)
    with multiprocessing.get_context("spawn").Pool(2) as processes:
        processes.map(_count_up, [(str(where[0]), where[1])] * 4)
    with opened(*where) as records:
        assert records.read(lambda c: c.execute(sa.select(BATCHES.c.total)).scalar()) == 100


def _count_up(given: tuple[str, str | None]) -> None:
    with opened(*given) as records:
        for _ in range(25):
            more = sa.update(BATCHES).values(total=BATCHES.c.total + 1)
            records.write(lambda c, more=more: c.execute(more))  # type: ignore[misc]


def test_writes_go_on_when_the_server_is_back(tmp_path: Path) -> None:
    with clusters.cluster() as cluster, opened(tmp_path / "x", cluster.url) as records:
        tags = [f"t{number}" for number in range(200)]

        def write(tag: str) -> None:
            row = {"execution_id": "e", "tag": tag, "created_at": NOW}
            from sqlalchemy.dialects.postgresql import insert

            records.write(lambda c: c.execute(insert(EXECUTION_TAGS).values(**row).on_conflict_do_nothing()))

        with ThreadPoolExecutor(4) as pool:
            done = [pool.submit(write, tag) for tag in tags[:100]]
            cluster.stop()
            done += [pool.submit(write, tag) for tag in tags[100:]]
            cluster.start()
            for each in done:
                each.result(timeout=60)
        found = records.read(lambda c: list(c.execute(sa.select(EXECUTION_TAGS.c.tag)).scalars()))
        assert sorted(found) == sorted(tags)


def test_a_server_that_stays_away_is_an_error_when_patience_ends(tmp_path: Path) -> None:
    with clusters.cluster() as cluster, opened(tmp_path / "x", cluster.url, patience=0.3) as records:
        cluster.stop()
        with refused("database_error", "cannot be used"):
            ids(records)


async def test_of_writes_that_wait_together_one_that_fails_takes_nothing_of_the_others_with_it(
    records: Records,
) -> None:
    held, begun = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        begun.set()
        held.wait(30)
        _insert(connection, "first")

    def failing(connection: Connection) -> None:
        _insert(connection, "undone")
        raise EngineError("conflict", "it does not fit")

    first = asyncio.create_task(records.writing(slow))
    await asyncio.to_thread(begun.wait, 30)
    rest = [asyncio.create_task(records.writing(call)) for call in (_named("second"), failing, _named("third"))]
    await asyncio.sleep(0)
    held.set()
    await first
    outcomes = await asyncio.gather(*rest, return_exceptions=True)
    assert [isinstance(outcome, EngineError) for outcome in outcomes] == [False, True, False]
    found = records.read(lambda c: set(c.execute(sa.select(BATCHES.c.id)).scalars()))
    assert found == {"first", "second", "third"}


def _named(id: str) -> Callable[[Connection], None]:
    return lambda connection: _insert(connection, id)


def _insert(connection: Connection, id: str) -> None:
    row = {"id": id, "name": "", "total": 1, "options": {}, "created_at": NOW}
    connection.execute(sa.insert(BATCHES).values(**row))
