"""Large channels in PostgreSQL, folded into pieces that checkpoints share: without it, each holds all results so far anew."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import Cursor
from psycopg.rows import DictRow

from cogwork.store.folding import Folding, Pieces
from cogwork.store.pieces import Reader
from cogwork.store.unfolding import (
    names_in_checkpoint,
    names_in_value,
    reached,
    unfolded_checkpoint,
    unfolded_value,
)

FOLDED_CHANNELS: Final = frozenset({"nodes", "results", "path"})
"""Those that grow with a run. Others stay as LangGraph writes them, for programs that read its tables."""
CHANNEL, VALUE = "cogwork.channel", "cogwork.value"
"""What stands as type of a folded blob and of a folded write, where LangGraph names the serialiser's."""
SMALL_BYTES: Final = 1024
LOCK: Final = "hashtextextended('cogwork:pieces:' || current_schema() || ':' || %s, 0)"


class PostgresPieces:
    """Folds and unfolds values; nothing is remembered between calls, as other processes may remove pieces."""

    def __init__(self, serde: SerializerProtocol) -> None:
        self._serde = serde

    def folded_blob(self, thread: str, channel: str, value: Any) -> tuple[tuple[str, bytes], Pieces]:
        """A channel's value as type and bytes, and the pieces that must be there with it."""
        whole = self._serde.dumps_typed(value)
        if channel not in FOLDED_CHANNELS or len(whole[1]) < SMALL_BYTES or type(value) not in (dict, list):
            return whole, {}
        outline, pieces = Folding(self._serde).checkpoint(thread, "", {"channel_values": {channel: value}})
        return (CHANNEL, outline), pieces

    def folded_write(self, thread: str, channel: str, value: Any) -> tuple[tuple[str, bytes], Pieces]:
        """A write's value as type and bytes, and the pieces that must be there with it."""
        folded = Folding(self._serde).value(thread, "", value) if channel in FOLDED_CHANNELS else None
        return (self._serde.dumps_typed(value), {}) if folded is None else ((VALUE, folded[0]), folded[1])

    def keep(self, cursor: Cursor[DictRow], thread: str, pieces: Pieces) -> None:
        """Write those that are not there yet, in the transaction of what refers to them."""
        if not pieces:
            return
        cursor.execute(f"select pg_advisory_xact_lock_shared({LOCK})", (thread,))
        known = "select hash from cogwork_pieces where thread = %s and hash = any(%s)"
        there = {bytes(row["hash"]) for row in cursor.execute(known, (thread, [*pieces])).fetchall()}
        cursor.executemany(
            "insert into cogwork_pieces (thread, hash, body) values (%s, %s, %s) on conflict do nothing",
            # In one order, so that two writes of a thread do not wait for each other.
            [(thread, name, pieces[name]) for name in sorted(pieces) if name not in there],
        )

    def unfolded(self, cursor: Cursor[DictRow], row: Mapping[str, Any]) -> dict[str, Any]:
        """A row of LangGraph's query for checkpoints, with its folded values as LangGraph would have written them.

        Raises:
            Torn: a piece is missing or was altered.
        """
        reader = self._reader(cursor, row["thread_id"])
        blobs = [self._blob(channel, kind, data, reader) for channel, kind, data in row["channel_values"] or ()]
        writes = [self._write(each, reader) for each in row["pending_writes"] or ()]
        return {**row, "channel_values": blobs or None, "pending_writes": writes or None}

    def _blob(self, channel: bytes, kind: bytes, data: bytes, reader: Reader) -> tuple[bytes, bytes, bytes]:
        if kind.decode() != CHANNEL:
            return channel, kind, data
        whole = unfolded_checkpoint(self._serde, data, reader)["channel_values"][channel.decode()]
        return channel, *self._dumped(whole)

    def _write(self, write: Sequence[bytes], reader: Reader) -> Sequence[bytes]:
        task, channel, kind, data, *rest = write
        if kind.decode() != VALUE:
            return write
        return [task, channel, *self._dumped(unfolded_value(self._serde, data, reader)), *rest]

    def _dumped(self, value: Any) -> tuple[bytes, bytes]:
        kind, data = self._serde.dumps_typed(value)
        return kind.encode(), data

    def collect(self, cursor: Cursor[DictRow], thread: str) -> None:
        """Remove the pieces that nothing refers to any more."""
        cursor.execute(f"select pg_advisory_xact_lock({LOCK})", (thread,))
        query = "select blob from {} where thread_id = %s and type = %s"
        blobs = cursor.execute(query.format("checkpoint_blobs"), (thread, CHANNEL)).fetchall()
        writes = cursor.execute(query.format("checkpoint_writes"), (thread, VALUE)).fetchall()
        named = {name for row in blobs for name in names_in_checkpoint(self._serde, row["blob"])}
        named |= {name for row in writes for name in names_in_value(self._serde, row["blob"])}
        kept = [name[1:] for name in reached(named, self._reader(cursor, thread))]
        cursor.execute("delete from cogwork_pieces where thread = %s and hash <> all(%s)", (thread, kept))

    def _reader(self, cursor: Cursor[DictRow], thread: str) -> Reader:
        def fetch(hashes: Collection[bytes]) -> Mapping[bytes, bytes]:
            query = "select hash, body from cogwork_pieces where thread = %s and hash = any(%s)"
            rows = cursor.execute(query, (thread, [*hashes])).fetchall()
            return {bytes(row["hash"]): bytes(row["body"]) for row in rows}

        return Reader(self._serde, fetch)


def united(parts: Iterable[Pieces]) -> Pieces:
    """All the pieces."""
    return {name: body for pieces in parts for name, body in pieces.items()}
