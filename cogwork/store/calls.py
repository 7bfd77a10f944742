"""The calls of runs, in the checkpoint file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from langgraph.checkpoint.serde.base import SerializerProtocol

from cogwork.store.database import Database, removals
from cogwork.store.errors import Torn
from cogwork.store.folding import Folding
from cogwork.store.grouping import Grouping
from cogwork.store.outlines import SealingSerializer
from cogwork.store.pieces import Reader
from cogwork.store.unfolding import unfolded_record
from state.durable import RecordedCall

FIELDS: Final = tuple(field.name for field in fields(RecordedCall))


class SqliteCalls:
    """A ``CallRecord``; what is kept shares the transactions of the checkpoints, and the pieces of their large values."""

    def __init__(
        self,
        database: Database,
        grouping: Grouping,
        folding: Folding,
        serde: SerializerProtocol,
        sealing: SealingSerializer,
    ) -> None:
        self._database, self._grouping, self._folding, self._serde = database, grouping, folding, serde
        self._sealing = sealing

    async def of_run(self, thread: str, run: str) -> Mapping[str, RecordedCall]:
        """The calls of a run, by key.

        Raises:
            StoreError: the file fails, or holds something else.
        """
        return await self._grouping.apart(lambda: self._read(thread, run))

    async def keep(self, thread: str, call: RecordedCall) -> None:
        """Write the call, in place of what is there under its key.

        Raises:
            StoreError: it could not be written.
        """
        await self._grouping.run(lambda: self._keep(thread, call))

    async def forget(self, thread: str, key: str) -> None:
        """Remove the call, so that it may be made anew.

        Raises:
            StoreError: it could not be removed.
        """
        await self._grouping.run(lambda: self._forget(thread, key))

    def _read(self, thread: str, run: str) -> dict[str, RecordedCall]:
        reader = Reader(self._serde, lambda hashes: self._database.pieces(thread, hashes), self._sealing.seals)
        with self._database.naming(thread), self._database.reading() as cursor, self._sealing.about(thread):
            rows = cursor.execute("SELECT record FROM calls WHERE thread_id = ? AND run = ?", (thread, run)).fetchall()
            records = [self._sealing.opened(data) for (data,) in rows]
            calls = [_call(unfolded_record(self._serde, data, reader)) for data in records]
        return {call.key: call for call in calls}

    def _keep(self, thread: str, call: RecordedCall) -> None:
        with self._database.transaction() as cursor, self._sealing.about(thread):
            self._folding.renew(removals(cursor))
            record, pieces = self._folding.record(thread, {name: _plain(getattr(call, name)) for name in FIELDS})
            self._database.keep_pieces(thread, pieces)
            cursor.execute(
                "INSERT OR REPLACE INTO calls (thread_id, key, run, record) VALUES (?, ?, ?, ?)",
                (thread, call.key, call.run, self._sealing.sealed(record)),
            )

    def _forget(self, thread: str, key: str) -> None:
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM calls WHERE thread_id = ? AND key = ?", (thread, key))


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) and type(value) is not dict else value


def _call(record: dict[str, Any]) -> RecordedCall:
    try:
        return RecordedCall(**record)
    except TypeError as err:
        raise Torn("a call in it cannot be read") from err
