"""What is asked of runs, in the checkpoint file; looked at by all runs of a process together."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import Final

from cogwork.sealing.seals import Seals
from cogwork.store.database import Database, connected, failed
from cogwork.store.grouping import Grouping
from cogwork.store.outlines import place_of_thread
from state.durable import Request

FRESH_SECONDS: Final = 0.01
"""How old a look at the requests may be that answers another run as well."""
MAKE: Final = """
INSERT INTO requests (thread_id, id, kind, record) VALUES (?, ?, ?, ?)
ON CONFLICT (thread_id) DO UPDATE SET id = excluded.id, kind = excluded.kind, record = excluded.record
WHERE requests.kind = 'pause' OR excluded.kind = 'cancel'"""


class SqliteRequests:
    """``Requests`` that are read on a connection and a thread of their own, which no write holds up."""

    def __init__(self, database: Database, grouping: Grouping, seals: Seals) -> None:
        self._database, self._grouping, self._seals = database, grouping, seals
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cogwork-requests")
        self._gate = threading.Lock()
        self._looked: tuple[float, Future[Mapping[str, Request]]] | None = None
        self._connection: sqlite3.Connection | None = None

    async def make(self, thread: str, request: Request) -> None:
        """Leave a request; ``cancel`` replaces ``pause``, but not the other way round.

        Raises:
            StoreError: it could not be written.
        """
        record = self._seals.sealed_text(json.dumps(asdict(request)), place_of_thread(thread))
        row = (thread, request.id, request.kind, record)
        await self._written(MAKE, row)

    async def open(self, thread: str) -> Request | None:
        """The open request of the thread, as of a hundredth of a second ago or later.

        Raises:
            StoreError: the file cannot be read.
        """
        return (await asyncio.wrap_future(self._look())).get(thread)

    async def close(self, thread: str, request: Request) -> None:
        """The request is fulfilled, or void; one made since stays open.

        Raises:
            StoreError: it could not be removed.
        """
        await self._written("DELETE FROM requests WHERE thread_id = ? AND id = ?", (thread, request.id))

    def shutdown(self) -> None:
        """End the thread and close the connection."""
        self._thread.shutdown(wait=True)
        if self._connection is not None:
            self._connection.close()

    async def _written(self, statement: str, row: tuple[str, ...]) -> None:
        def write() -> None:
            with self._database.transaction() as cursor:
                cursor.execute(statement, row)

        await self._grouping.run(write)
        with self._gate:
            self._looked = None

    def _look(self) -> Future[Mapping[str, Request]]:
        """A look that is under way or was just taken, else a new one."""
        now = time.monotonic()
        with self._gate:
            looked = self._looked
            if looked is None or (looked[1].done() and now - looked[0] > FRESH_SECONDS):
                self._looked = looked = now, self._thread.submit(self._all)
            # A waiter that is cancelled must not cancel the look of the others.
            return _follower(looked[1])

    def _all(self) -> Mapping[str, Request]:
        try:
            if self._connection is None:
                self._connection = connected(self._database.path)
            rows = self._connection.execute("SELECT thread_id, record FROM requests").fetchall()
        except sqlite3.Error as err:
            raise failed(self._database.path, err) from err
        opened = {thread: self._seals.opened_text(record, place_of_thread(thread)) for thread, record in rows}
        return {thread: Request(**json.loads(record)) for thread, record in opened.items()}


def _follower(look: Future[Mapping[str, Request]]) -> Future[Mapping[str, Request]]:
    """A future of one's own with the outcome of another."""
    own: Future[Mapping[str, Request]] = Future()

    def settle(done: Future[Mapping[str, Request]]) -> None:
        if own.set_running_or_notify_cancel():
            error = done.exception()
            own.set_result(done.result()) if error is None else own.set_exception(error)

    look.add_done_callback(settle)
    return own
