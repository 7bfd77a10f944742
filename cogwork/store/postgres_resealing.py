"""Sealing anew what the checkpoint tables of PostgreSQL hold, batch by batch; runs may go on meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from psycopg import Cursor
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from cogwork.sealing.again import AT_ONCE, Progress, bytes_again, text_again
from cogwork.sealing.seals import Seals
from cogwork.sealing.standing import KEY, TABLE, renewed
from cogwork.store.covered import COVERED, covered, uncovered
from cogwork.store.outlines import place_of_thread
from cogwork.store.pieces import place_of
from cogwork.store.postgres import PostgresCheckpoints

Row = Mapping[str, Any]
KEYS: Final = {
    "checkpoint_blobs": ("thread_id", "checkpoint_ns", "channel", "version"),
    "checkpoint_writes": ("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx"),
    "checkpoints": ("thread_id", "checkpoint_ns", "checkpoint_id"),
    "cogwork_pieces": ("thread", "hash"),
    "cogwork_calls": ("thread", "run", "key"),
    "cogwork_requests": ("thread",),
}
"""The primary keys, by table."""
BLOB: Final = """
insert into checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob) values (%s, %s, %s, %s, %s, %s)
on conflict do nothing returning channel"""


def resealed(saver: PostgresCheckpoints) -> Iterator[Progress]:
    """Seal all that is not under the first key.

    Raises:
        StoreError: the server fails, or a value cannot be opened.
    """
    seals = saver.seals
    for table in ("checkpoint_blobs", "checkpoint_writes"):
        yield from _batches(saver, table, "blob", lambda _, row: _blob(seals, row))
    yield from _batches(saver, "cogwork_pieces", "body", lambda _, row: _piece(seals, row))
    for table in ("cogwork_calls", "cogwork_requests"):
        yield from _batches(saver, table, "body", lambda _, row: _body(seals, row))
    yield from _batches(
        saver, "checkpoints", "checkpoint, metadata", lambda cursor, row: _checkpoint(saver, cursor, row)
    )


def settled(saver: PostgresCheckpoints) -> int:
    """Once all is sealed: say that only the first key is needed; nothing is left to do then, 0.

    Raises:
        StoreError: the server fails.
    """

    def say() -> None:
        with saver._database.writing() as cursor:
            cursor.execute(f"delete from {TABLE} where name like %s", (f"{KEY}%",))
            for row in renewed(saver.seals).items():
                add = f"insert into {TABLE} (name, value) values (%s, %s) on conflict (name) do update set value = excluded.value"
                cursor.execute(add, row)

    saver._database.surviving(say)
    return 0


Change = Callable[[Cursor[DictRow], Row], dict[str, Any]]


def _batches(saver: PostgresCheckpoints, table: str, columns: str, change: Change) -> Iterator[Progress]:
    keys = KEYS[table]
    after: Sequence[Any] | None = None
    while True:

        def batch(after: Sequence[Any] | None = after) -> tuple[list[DictRow], int]:
            with saver._database.writing() as cursor:
                rows = _rows(cursor, table, columns, after)
                return rows, sum(_write(cursor, table, row, change(cursor, row)) for row in rows)

        rows, written = saver._database.surviving(batch)
        yield Progress(table, len(rows), written)
        if len(rows) < AT_ONCE:
            return
        after = [rows[-1][key] for key in keys]


def _rows(cursor: Cursor[DictRow], table: str, columns: str, after: Sequence[Any] | None) -> list[DictRow]:
    named = ", ".join(KEYS[table])
    marks = ", ".join(["%s"] * len(KEYS[table]))
    beyond = f"where ({named}) > ({marks})" if after is not None else ""
    query = f"select {named}, {columns} from {table} {beyond} order by {named} limit {AT_ONCE} for update"
    return cursor.execute(query, after).fetchall()


def _write(cursor: Cursor[DictRow], table: str, row: Row, changes: Mapping[str, Any]) -> int:
    if changes:
        there = " and ".join(f"{key} = %s" for key in KEYS[table])
        changed = ", ".join(f"{name} = %s" for name in changes)
        cursor.execute(
            f"update {table} set {changed} where {there}", [*changes.values(), *(row[key] for key in KEYS[table])]
        )
    return bool(changes)


def _blob(seals: Seals, row: Row) -> dict[str, Any]:
    again = (
        bytes_again(seals, bytes(row["blob"]), place_of_thread(row["thread_id"])) if row["blob"] is not None else None
    )
    return {} if again is None else {"blob": again}


def _piece(seals: Seals, row: Row) -> dict[str, Any]:
    again = bytes_again(seals, bytes(row["body"]), place_of(bytes(row["hash"])))
    return {} if again is None else {"body": again}


def _body(seals: Seals, row: Row) -> dict[str, Any]:
    again = text_again(seals, row["body"], place_of_thread(row["thread"]))
    return {} if again is None else {"body": again}


def _checkpoint(saver: PostgresCheckpoints, cursor: Cursor[DictRow], row: Row) -> dict[str, Any]:
    """The row's metadata sealed, and the plain values that stood in the checkpoint kept apart, where values are sealed."""
    seals, thread = saver.seals, row["thread_id"]
    changes: dict[str, Any] = {}
    text = row["metadata"].get(COVERED)
    if not isinstance(text, str) or text_again(seals, text, place_of_thread(thread)) is not None:
        again = covered(seals, thread, uncovered(seals, thread, row["metadata"]))
        if again != row["metadata"]:
            changes["metadata"] = Jsonb(again)
    values = row["checkpoint"].get("channel_values") or {}
    left = {name: value for name, value in values.items() if not _moved(saver, cursor, row, name, value)}
    if left != values:
        changes["checkpoint"] = Jsonb({**row["checkpoint"], "channel_values": left})
    return changes


def _moved(saver: PostgresCheckpoints, cursor: Cursor[DictRow], row: Row, name: str, value: Any) -> bool:
    """Whether the value could be kept apart; one that has a value apart already only says that it has."""
    version = (row["checkpoint"].get("channel_versions") or {}).get(name)
    if version is None:
        return False
    with saver._sealing.about(row["thread_id"]):
        kind, data = saver._sealing.dumps_typed(value)
    key = (row["thread_id"], row["checkpoint_ns"], name, str(version))
    return cursor.execute(BLOB, (*key, kind, data)).fetchone() is not None or not isinstance(value, bool)
