"""What removes and copies threads in the database, with all that stands there of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from psycopg import Cursor
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from cogwork.store.covered import covered, uncovered
from cogwork.store.outlines import SealingSerializer

TABLES: Final = {
    "checkpoints": "checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata",
    "checkpoint_blobs": "checkpoint_ns, channel, version, type, blob",
    "checkpoint_writes": "checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob",
}
"""What LangGraph keeps of a thread."""
OURS: Final = ("cogwork_calls", "cogwork_requests", "cogwork_pieces")
COPY_PIECES: Final = """
insert into cogwork_pieces (thread, hash, body) select %s::text, hash, body from cogwork_pieces
where thread = %s on conflict do nothing"""
DELETE_RUNS: Final = """
with gone as (delete from checkpoints where metadata ->> 'run_id' = any(%s)
returning thread_id, checkpoint_ns, checkpoint_id)
delete from checkpoint_writes using gone where checkpoint_writes.thread_id = gone.thread_id
and checkpoint_writes.checkpoint_ns = gone.checkpoint_ns and checkpoint_writes.checkpoint_id = gone.checkpoint_id"""
THREADS: Final = """
select thread_id from checkpoints where checkpoint_ns = '' group by thread_id order by max(checkpoint_id) desc"""


def delete_threads(cursor: Cursor[DictRow], threads: Sequence[str]) -> None:
    """Remove all that stands of the threads."""
    for table in TABLES:
        cursor.execute(f"delete from {table} where thread_id = any(%s)", ([*threads],))
    for table in OURS:
        cursor.execute(f"delete from {table} where thread = any(%s)", ([*threads],))


def copy_thread(cursor: Cursor[DictRow], source: str, target: str, sealing: SealingSerializer) -> None:
    """Give another thread the checkpoints and writes of this one."""
    if sealing.seals.on:
        _copy_sealed(cursor, source, target, sealing)
        return
    for table, columns in TABLES.items():
        cursor.execute(
            f"insert into {table} (thread_id, {columns}) select %s::text, {columns} from {table}"
            " where thread_id = %s on conflict do nothing",
            (target, source),
        )
    cursor.execute(COPY_PIECES, (target, source))


def _copy_sealed(cursor: Cursor[DictRow], source: str, target: str, sealing: SealingSerializer) -> None:
    """The same, each value sealed anew: it is bound to its thread. Pieces are bound to what they hold."""
    for table, columns in TABLES.items():
        rows = cursor.execute(f"select {columns} from {table} where thread_id = %s", (source,)).fetchall()
        marks = ", ".join(["%s"] * (columns.count(",") + 2))
        cursor.executemany(
            f"insert into {table} (thread_id, {columns}) values ({marks}) on conflict do nothing",
            [(target, *_moved(dict(row), source, target, sealing)) for row in rows],
        )
    cursor.execute(COPY_PIECES, (target, source))


def _moved(row: dict[str, Any], source: str, target: str, sealing: SealingSerializer) -> list[Any]:
    if row.get("blob") is not None:
        with sealing.about(source):
            plain = sealing.opened(row["blob"])
        with sealing.about(target):
            row["blob"] = sealing.sealed(plain)
    if "metadata" in row:
        told = uncovered(sealing.seals, source, row["metadata"])
        row["metadata"] = Jsonb(covered(sealing.seals, target, told))
        row["checkpoint"] = Jsonb(row["checkpoint"])
    return [*row.values()]


def delete_runs(cursor: Cursor[DictRow], runs: Sequence[str]) -> None:
    """Remove the checkpoints that these runs of LangGraph's server wrote."""
    cursor.execute(DELETE_RUNS, ([*runs],))


def threads(cursor: Cursor[DictRow]) -> list[str]:
    """The ids of all threads, the latest first."""
    return [row["thread_id"] for row in cursor.execute(THREADS).fetchall()]
