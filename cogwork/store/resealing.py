"""Sealing anew what the checkpoint file and the cache hold, batch by batch; runs may go on meanwhile."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, Final

from cogwork.sealing.again import AT_ONCE, Progress, bytes_again, text_again
from cogwork.sealing.seals import Seals
from cogwork.sealing.standing import KEY, TABLE, renewed, swept
from cogwork.store.cache import SealedCache
from cogwork.store.checkpoints import SqliteCheckpoints
from cogwork.store.covered import COVERED, covered, uncovered
from cogwork.store.outlines import place_of_thread
from cogwork.store.pieces import place_of

Row = dict[str, Any]
BYTES: Final = {
    "checkpoints": ("checkpoint", lambda row: place_of_thread(row["thread_id"])),
    "writes": ("value", lambda row: place_of_thread(row["thread_id"])),
    "calls": ("record", lambda row: place_of_thread(row["thread_id"])),
    "blobs": ("data", lambda row: place_of(row["hash"])),
}
"""What of each table is bytes, and the place that they are bound to."""


def resealed(saver: SqliteCheckpoints) -> Iterator[Progress]:
    """Seal all that is not under the first key.

    Raises:
        StoreError: the file fails, or a value cannot be opened.
    """
    seals = saver.seals
    for table, (column, place) in BYTES.items():

        def change(row: Row, column: str = column, place: Callable[[Row], str] = place) -> Row:
            again = bytes_again(seals, bytes(row[column]), place(row))
            return {} if again is None else {column: again}

        yield from _batches(saver, table, f"{'hash' if table == 'blobs' else 'thread_id'}, {column}", change)
    yield from _batches(saver, "checkpoints", "thread_id, metadata", lambda row: _metadata(seals, row))
    yield from _batches(saver, "requests", "thread_id, record", lambda row: _request(seals, row))


def settled(saver: SqliteCheckpoints) -> int:
    """Once all is sealed: say that only the first key is needed, and leave nothing of what was plain in the file; 1 where
    others held that up.

    Raises:
        StoreError: the file fails.
    """
    with saver.cursor() as cursor:
        say(cursor, saver.seals)
    return int(not swept(saver.conn))


def say(cursor: sqlite3.Cursor, seals: Seals) -> None:
    """Write down that only the first key is needed."""
    cursor.execute(f"DELETE FROM {TABLE} WHERE name LIKE ?", (f"{KEY}%",))
    cursor.executemany(f"INSERT OR REPLACE INTO {TABLE} (name, value) VALUES (?, ?)", [*renewed(seals).items()])


def cleared(cache: SealedCache) -> Iterator[Progress]:
    """Empty a cache of what is not under the first key: it is computed again when it is needed."""
    with cache._conn as connection:
        head = cache.seals.head
        gone = connection.execute("DELETE FROM cache WHERE substr(val, 1, ?) <> ?", (len(head), head)).rowcount
        say(connection.cursor(), cache.seals)
    swept(cache._conn)
    yield Progress("cache", gone, gone)


def _batches(saver: SqliteCheckpoints, table: str, columns: str, change: Callable[[Row], Row]) -> Iterator[Progress]:
    names, after = ["rowid", *columns.split(", ")], -1
    while True:
        with saver.cursor() as cursor:
            query = f"SELECT rowid, {columns} FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT ?"
            rows = [dict(zip(names, row, strict=True)) for row in cursor.execute(query, (after, AT_ONCE))]
            changes = [(row["rowid"], changed) for row in rows if (changed := change(row))]
            for rowid, changed in changes:
                ((name, value),) = changed.items()
                cursor.execute(f"UPDATE {table} SET {name} = ? WHERE rowid = ?", (value, rowid))
        yield Progress(table, len(rows), len(changes))
        if len(rows) < AT_ONCE:
            return
        after = rows[-1]["rowid"]


def _metadata(seals: Seals, row: Row) -> Row:
    told = json.loads(row["metadata"] or b"{}")
    if (
        isinstance(text := told.get(COVERED), str)
        and text_again(seals, text, place_of_thread(row["thread_id"])) is None
    ):
        return {}
    again = covered(seals, row["thread_id"], uncovered(seals, row["thread_id"], told))
    return {} if again == told else {"metadata": json.dumps(again, ensure_ascii=False).encode()}


def _request(seals: Seals, row: Row) -> Row:
    again = text_again(seals, row["record"], place_of_thread(row["thread_id"]))
    return {} if again is None else {"record": again}
