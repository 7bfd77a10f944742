"""Large channels in PostgreSQL, folded into pieces that checkpoints share: without it, each holds all results so far anew."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import Cursor
from psycopg.rows import DictRow

from cogwork.store.folding import Folding, Pieces
from cogwork.store.outlines import SealingSerializer
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

    def __init__(self, serde: SerializerProtocol, sealing: SealingSerializer) -> None:
        self._serde, self._sealing = serde, sealing

    def folded_blob(self, thread: str, channel: str, value: Any) -> tuple[tuple[str, bytes], Pieces]:
        """A channel's value as type and bytes, and the pieces that must be there with it."""
        kind, data = self._serde.dumps_typed(value)
        pieces: Pieces = {}
        if channel in FOLDED_CHANNELS and len(data) >= SMALL_BYTES and type(value) in (dict, list):
            folding = Folding(self._serde, self._sealing.seals)
            data, pieces = folding.checkpoint(thread, "", {"channel_values": {channel: value}})
            kind = CHANNEL
        return (kind, self._sealed(thread, data)), pieces

    def folded_write(self, thread: str, channel: str, value: Any) -> tuple[tuple[str, bytes], Pieces]:
        """A write's value as type and bytes, and the pieces that must be there with it."""
        folding = Folding(self._serde, self._sealing.seals)
        folded = folding.value(thread, "", value) if channel in FOLDED_CHANNELS else None
        kind, data = self._serde.dumps_typed(value) if folded is None else (VALUE, folded[0])
        return (kind, self._sealed(thread, data)), folded[1] if folded is not None else {}

    def _sealed(self, thread: str, data: bytes) -> bytes:
        with self._sealing.about(thread):
            return self._sealing.sealed(data)

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
        # The caller has said which thread it is about.
        reader = self._reader(cursor, row["thread_id"])
        blobs = [self._blob(channel, kind, data, reader) for channel, kind, data in row["channel_values"] or ()]
        writes = [self._write(each, reader) for each in row["pending_writes"] or ()]
        return {**row, "channel_values": blobs or None, "pending_writes": writes or None}

    def _blob(self, channel: bytes, kind: bytes, data: bytes, reader: Reader) -> tuple[bytes, bytes, bytes]:
        if kind.decode() != CHANNEL:
            return channel, kind, data
        whole = unfolded_checkpoint(self._serde, self._sealing.opened(data), reader)["channel_values"][channel.decode()]
        return channel, *self._dumped(whole)

    def _write(self, write: Sequence[bytes], reader: Reader) -> Sequence[bytes]:
        task, channel, kind, data, *rest = write
        if kind.decode() != VALUE:
            return write
        return [task, channel, *self._dumped(unfolded_value(self._serde, self._sealing.opened(data), reader)), *rest]

    def _dumped(self, value: Any) -> tuple[bytes, bytes]:
        kind, data = self._serde.dumps_typed(value)
        return kind.encode(), data

    def collect(self, cursor: Cursor[DictRow], thread: str) -> None:
        """Remove the pieces that nothing refers to any more."""
        cursor.execute(f"select pg_advisory_xact_lock({LOCK})", (thread,))
        query = "select blob from {} where thread_id = %s and type = %s"
        blobs = cursor.execute(query.format("checkpoint_blobs"), (thread, CHANNEL)).fetchall()
        writes = cursor.execute(query.format("checkpoint_writes"), (thread, VALUE)).fetchall()
        opened = self._sealing.opened
        with self._sealing.about(thread):
            named = {name for row in blobs for name in names_in_checkpoint(self._serde, opened(row["blob"]))}
            named |= {name for row in writes for name in names_in_value(self._serde, opened(row["blob"]))}
        kept = [name[1:] for name in reached(named, self._reader(cursor, thread))]
        cursor.execute("delete from cogwork_pieces where thread = %s and hash <> all(%s)", (thread, kept))

    def _reader(self, cursor: Cursor[DictRow], thread: str) -> Reader:
        def fetch(hashes: Collection[bytes]) -> Mapping[bytes, bytes]:
            query = "select hash, body from cogwork_pieces where thread = %s and hash = any(%s)"
            rows = cursor.execute(query, (thread, [*hashes])).fetchall()
            return {bytes(row["hash"]): bytes(row["body"]) for row in rows}

        return Reader(self._serde, fetch, self._sealing.seals)


def united(parts: Iterable[Pieces]) -> Pieces:
    """All the pieces."""
    return {name: body for pieces in parts for name, body in pieces.items()}
