"""Sealing anew what the records hold: batch by batch, so that it may be broken off and begun again at any time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.records.columns import MARKED, Plain, Words, marked, opened_json, sealed_json
from cogwork.records.database import Records
from cogwork.records.payloads import place_of
from cogwork.records.sealing import PREFIX
from cogwork.records.tables import METADATA
from cogwork.records.tables.executions import EXECUTIONS
from cogwork.records.tables.payloads import FACTS, PAYLOADS
from cogwork.retention.payloads import NAMING
from cogwork.sealing.again import AT_ONCE, Progress, bytes_again, text_again
from cogwork.sealing.errors import SealError
from cogwork.sealing.seals import MAGIC, Seals, text_sealed_under
from cogwork.sealing.standing import KEY, renewed, swept


def resealed(records: Records) -> Iterator[Progress]:
    """Seal all columns and payloads that are not under the first key.

    Raises:
        EngineError: ``database_error``; the database fails, or a value cannot be opened.
    """
    for table in METADATA.sorted_tables:
        columns = [column for column in table.columns if isinstance(column.type, Plain | Words)]
        if columns:
            yield from _table(records, table, columns)
    yield from _fingerprints(records)
    yield from _payloads(records)


def settled(records: Records) -> int:
    """Once all is sealed: remove payloads that were replaced, and say that only the first key is needed; how much is still
    plain, because somebody has begun to use it meanwhile, or holds up the file.

    Raises:
        EngineError: ``database_error``.
    """

    def settle(connection: Connection) -> int:
        plain = sa.func.substr(PAYLOADS.c.data, 1, len(MAGIC)) != MAGIC
        used = sa.or_(*(sa.exists().where(column == PAYLOADS.c.digest) for column in NAMING))
        connection.execute(sa.delete(PAYLOADS).where(plain, sa.not_(used)))
        left = connection.execute(sa.select(sa.func.count()).select_from(PAYLOADS).where(plain)).scalar() or 0
        if not left:
            _say(connection, records.seals)
        return left

    left = records.write(settle)
    if not left and records.dialect == "sqlite":
        with closing(records.engine.raw_connection()) as connection:
            return int(not swept(connection.driver_connection))  # type: ignore[arg-type]
    return left


def _say(connection: Connection, seals: Seals) -> None:
    said = {f"{PREFIX}{name}": value for name, value in renewed(seals).items()}
    gone = sa.or_(FACTS.c.name.startswith(f"{PREFIX}{KEY}"), FACTS.c.name.in_(said))
    connection.execute(sa.delete(FACTS).where(gone))
    connection.execute(sa.insert(FACTS), [{"name": name, "value": value} for name, value in said.items()])


def _batches(
    records: Records, table: sa.Table, columns: list[sa.ColumnElement[Any]], change: Any
) -> Iterator[Progress]:
    """All rows of a table, in the order of their keys; ``change`` says what of a row is to be written."""
    keys = list(table.primary_key.columns)
    after: tuple[Any, ...] | None = None

    def batch(connection: Connection, after: tuple[Any, ...] | None) -> tuple[int, int, tuple[Any, ...] | None]:
        query = sa.select(*keys, *columns).order_by(*keys).limit(AT_ONCE).with_for_update()
        if after is not None:
            query = query.where(sa.tuple_(*keys) > sa.tuple_(*map(sa.literal, after)))
        rows = connection.execute(query).all()
        written = sum(change(connection, row) for row in rows)
        return len(rows), written, tuple(rows[-1][: len(keys)]) if len(rows) == AT_ONCE else None

    while True:
        looked, written, after = records.write(lambda connection, after=after: batch(connection, after))  # type: ignore[misc]
        yield Progress(table.name, looked, written)
        if after is None:
            return


def _table(records: Records, table: sa.Table, columns: list[sa.Column[Any]]) -> Iterator[Progress]:
    raw = [sa.type_coerce(column, sa.Text).label(f"raw_{column.name}") for column in columns]

    def change(connection: Connection, row: Any) -> int:
        values = {
            column.name: sa.type_coerce(text, sa.Text)
            for column in columns
            if (text := _again(records.seals, column, getattr(row, f"raw_{column.name}"))) is not None
        }
        if values:
            here = [key == value for key, value in zip(table.primary_key.columns, row, strict=False)]
            connection.execute(sa.update(table).where(*here).values(values))
        return bool(values)

    yield from _batches(records, table, [*raw], change)


def _again(seals: Seals, column: sa.Column[Any], text: str | None) -> str | None:
    """A column's value as it is to be written; None where it may stay."""
    if text is None:
        return None
    place = f"{column.table.name}.{column.name}"
    try:
        if isinstance(column.type, Words):
            return text_again(seals, text, place)
        if text.startswith(" {") and text_sealed_under(str(json.loads(text).get("sealed"))) == seals.ring.ids[0]:
            return None
        opened = opened_json(seals, text, place)
        return sealed_json(seals, opened, json.loads(opened), place)
    except (SealError, ValueError) as err:
        raise EngineError("database_error", str(err)) from err


def _fingerprints(records: Records) -> Iterator[Progress]:
    def change(connection: Connection, row: Any) -> int:
        if row.request is None or row.request.startswith(MARKED):
            return 0
        changed = sa.update(EXECUTIONS).where(EXECUTIONS.c.id == row.id)
        connection.execute(changed.values(request=marked(records.seals, row.request)))
        return 1

    yield from _batches(records, EXECUTIONS, [EXECUTIONS.c.request], change)


def _payloads(records: Records) -> Iterator[Progress]:
    def change(connection: Connection, row: Any) -> int:
        return _payload(connection, records.seals, row._mapping)

    yield from _batches(records, PAYLOADS, [*PAYLOADS.c][1:], change)


def _payload(connection: Connection, seals: Seals, row: Mapping[Any, Any]) -> int:
    """One payload: under the same name where that tells nothing, else under a new one; the old one stays for those who are
    about to read it."""
    data, digest, encoding = bytes(row["data"]), row["digest"], row["encoding"]
    try:
        if data.startswith(MAGIC):
            again = bytes_again(seals, data, place_of(digest, encoding))
            if again is not None:
                connection.execute(sa.update(PAYLOADS).where(PAYLOADS.c.digest == digest).values(data=again))
            return again is not None
    except SealError as err:
        raise EngineError("database_error", str(err)) from err
    name = _named(connection, seals, row)
    for column in NAMING:
        connection.execute(sa.update(column.table).where(column == digest).values({column.name: name}))
    return 1


def _named(connection: Connection, seals: Seals, row: Mapping[Any, Any]) -> str:
    """The new name of a payload, under which it is kept sealed by now."""
    from cogwork.records.payloads import unpacked

    encoding = row["encoding"]
    name = seals.name(unpacked(encoding, bytes(row["data"])))
    known = connection.execute(sa.select(PAYLOADS.c.digest).where(PAYLOADS.c.digest == name)).scalar()
    if known is None:
        sealed = seals.sealed(bytes(row["data"]), place_of(name, encoding))
        connection.execute(sa.insert(PAYLOADS).values({**row, "digest": name, "data": sealed}))
    return name
