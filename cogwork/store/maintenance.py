"""What removes and copies threads in the checkpoint file, with all that stands there of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from cogwork.store.covered import covered, uncovered
from cogwork.store.database import removed
from cogwork.store.errors import Torn
from cogwork.store.outlines import FOLDED, SealingSerializer, strict_serde
from cogwork.store.pieces import Name, Reader
from cogwork.store.unfolding import names_in_checkpoint, names_in_record, names_in_value, reached

OF_THREAD: Final = ("checkpoints", "writes", "blobs", "calls", "requests")
COPIED: Final = {
    "checkpoints": "checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata",
    "writes": "checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value",
    "blobs": "hash, data",
    "calls": "key, run, record",
}
SEALED: Final = frozenset({"checkpoint", "value", "record"})
"""The columns whose bytes are bound to their thread."""
DELTAS: Final = """
SELECT 1 FROM checkpoints WHERE thread_id = ?
AND instr(CAST(metadata AS TEXT), '"counters_since_delta_snapshot"') LIMIT 1"""
OLDER: Final = """
DELETE FROM checkpoints WHERE thread_id = :thread AND checkpoint_id < (
  SELECT MAX(checkpoint_id) FROM checkpoints AS other
  WHERE other.thread_id = :thread AND other.checkpoint_ns = checkpoints.checkpoint_ns)"""
LOOSE_WRITES: Final = """
DELETE FROM writes WHERE thread_id = :thread AND NOT EXISTS (
  SELECT 1 FROM checkpoints WHERE checkpoints.thread_id = :thread
  AND checkpoints.checkpoint_ns = writes.checkpoint_ns AND checkpoints.checkpoint_id = writes.checkpoint_id)"""
LOST_PARENTS: Final = """
UPDATE checkpoints SET parent_checkpoint_id = NULL WHERE thread_id = :thread AND parent_checkpoint_id IS NOT NULL
AND NOT EXISTS (SELECT 1 FROM checkpoints AS other WHERE other.thread_id = :thread
  AND other.checkpoint_ns = checkpoints.checkpoint_ns AND other.checkpoint_id = checkpoints.parent_checkpoint_id)"""
THREADS: Final = """
SELECT thread_id FROM checkpoints WHERE checkpoint_ns = '' GROUP BY thread_id ORDER BY MAX(checkpoint_id) DESC"""
OF_RUN: Final = "FROM checkpoints WHERE json_extract(CAST(metadata AS TEXT), '$.run_id') = ?"


def threads(cursor: sqlite3.Cursor) -> list[str]:
    """The ids of all threads, the latest first."""
    return [row[0] for row in cursor.execute(THREADS).fetchall()]


def delete_thread(cursor: sqlite3.Cursor, thread: str) -> None:
    """Remove all that stands of the thread."""
    for table in OF_THREAD:
        cursor.execute(f"DELETE FROM {table} WHERE thread_id = ?", (thread,))
    removed(cursor)


def keep_latest(cursor: sqlite3.Cursor, thread: str) -> None:
    """Remove all checkpoints but the latest of each namespace, which has no parent then.

    Raises:
        NotImplementedError: LangGraph rebuilds the thread's values from older checkpoints.
    """
    if cursor.execute(DELTAS, (thread,)).fetchone():
        raise NotImplementedError(f"keep_latest cannot prune the thread {thread!r}, which uses a DeltaChannel")
    for statement in (OLDER, LOOSE_WRITES, LOST_PARENTS):
        cursor.execute(statement, {"thread": thread})


def delete_runs(cursor: sqlite3.Cursor, run_ids: Iterable[str]) -> set[str]:
    """Remove the checkpoints that these runs of LangGraph's server wrote; the threads that had any."""
    threads: set[str] = set()
    for run_id in run_ids:
        found = cursor.execute(f"SELECT DISTINCT thread_id {OF_RUN}", (run_id,)).fetchall()
        threads |= {thread for (thread,) in found}
        cursor.execute(f"DELETE {OF_RUN}", (run_id,))
    for thread in threads:
        cursor.execute(LOOSE_WRITES, {"thread": thread})
    return threads


def delete_calls(cursor: sqlite3.Cursor, thread: str, but: str) -> None:
    """Remove the calls of the thread's runs, except of one."""
    cursor.execute("DELETE FROM calls WHERE thread_id = ? AND run <> ?", (thread, but))


def copy_thread(cursor: sqlite3.Cursor, source: str, target: str, sealing: SealingSerializer) -> None:
    """Give another thread all that this one holds, but for the requests, which were made of this one."""
    if sealing.seals.on:
        _copy_sealed(cursor, source, target, sealing)
        return
    for table, columns in COPIED.items():
        cursor.execute(
            f"INSERT OR REPLACE INTO {table} (thread_id, {columns}) SELECT ?, {columns} FROM {table} WHERE thread_id = ?",
            (target, source),
        )


def _copy_sealed(cursor: sqlite3.Cursor, source: str, target: str, sealing: SealingSerializer) -> None:
    """The same, each value sealed anew: it is bound to its thread. Pieces are bound to what they hold."""
    for table, columns in COPIED.items():
        names = columns.split(", ")
        rows = cursor.execute(f"SELECT {columns} FROM {table} WHERE thread_id = ?", (source,)).fetchall()
        copies = [(target, *_moved(dict(zip(names, row, strict=True)), source, target, sealing)) for row in rows]
        marks = ", ".join("?" * (len(names) + 1))
        cursor.executemany(f"INSERT OR REPLACE INTO {table} (thread_id, {columns}) VALUES ({marks})", copies)


def _moved(row: dict[str, Any], source: str, target: str, sealing: SealingSerializer) -> list[Any]:
    for name in SEALED.intersection(row):
        with sealing.about(source):
            plain = sealing.opened(row[name])
        with sealing.about(target):
            row[name] = sealing.sealed(plain)
    if row.get("metadata"):
        told = uncovered(sealing.seals, source, json.loads(row["metadata"]))
        row["metadata"] = json.dumps(covered(sealing.seals, target, told), ensure_ascii=False).encode()
    return [*row.values()]


def sweep(cursor: sqlite3.Cursor, reader: Reader, thread: str, sealing: SealingSerializer) -> None:
    """Remove the pieces that nothing of the thread is made of any more.

    A thread of which something cannot be read keeps all its pieces.
    """
    with suppress(Torn), sealing.about(thread):
        used = {name[1:] for name in reached(_named(cursor, thread, sealing), reader)}
        kept = {row[0] for row in cursor.execute("SELECT hash FROM blobs WHERE thread_id = ?", (thread,))}
        cursor.executemany(
            "DELETE FROM blobs WHERE thread_id = ? AND hash = ?", [(thread, name) for name in kept - used]
        )
    removed(cursor)


def _named(cursor: sqlite3.Cursor, thread: str, sealing: SealingSerializer) -> set[Name]:
    """The pieces that the thread's checkpoints, writes and calls themselves name."""
    serde = strict_serde()
    names: set[Name] = set()
    for (data,) in cursor.execute(
        "SELECT checkpoint FROM checkpoints WHERE thread_id = ? AND type = ?", (thread, FOLDED)
    ):
        names |= names_in_checkpoint(serde, sealing.opened(data))
    for (data,) in cursor.execute("SELECT value FROM writes WHERE thread_id = ? AND type = ?", (thread, FOLDED)):
        names |= names_in_value(serde, sealing.opened(data))
    for (data,) in cursor.execute("SELECT record FROM calls WHERE thread_id = ?", (thread,)):
        names |= names_in_record(serde, sealing.opened(data))
    return names
