"""Entries on their way into the log: those that wait beside each other are written in one transaction."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.identity.chain import Entry, Mark
from cogwork.records import Records
from cogwork.records.tables.identity import AUDIT, AUDIT_HEAD

MOST: Final = 256
"""How many share a transaction at most."""


class Appending:
    """Writes to the end of the log, in the order of asking.

    All writers of a database wait for each other at the head of the log. On PostgreSQL this process therefore waits there
    with one thread only, and takes all that has come meanwhile with it; on SQLite the records gather writes themselves.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._waiting: deque[tuple[Entry, Future[None]]] = deque()
        is_alone = records.dialect == "sqlite"
        self._thread = None if is_alone else ThreadPoolExecutor(1, thread_name_prefix="cogwork-audit")

    async def put(self, entry: Entry) -> None:
        """Append the entry, whose number and digests are given here; it is on disk when this returns.

        Raises:
            EngineError: ``database_error``; it is not.
        """
        if self._thread is None:
            await self._records.writing(lambda connection: append(connection, [entry]))
            return
        outcome: Future[None] = Future()
        self._waiting.append((entry, outcome))
        self._thread.submit(self._some)
        await asyncio.wrap_future(outcome)

    def _some(self) -> None:
        taken = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
        taken = [(entry, outcome) for entry, outcome in taken if outcome.set_running_or_notify_cancel()]
        if not taken:
            return
        try:
            self._records.write(lambda connection: append(connection, [entry for entry, _ in taken]))
        except BaseException as err:
            for _, outcome in taken:
                outcome.set_exception(err)
        else:
            for _, outcome in taken:
                outcome.set_result(None)

    def close(self) -> None:
        """Write what waits."""
        if self._thread is not None:
            self._thread.shutdown(wait=True)


def append(connection: Connection, entries: Sequence[Entry]) -> None:
    """Append the entries within a transaction that writes."""
    query = sa.select(AUDIT_HEAD.c.seq, AUDIT_HEAD.c.digest).where(AUDIT_HEAD.c.id == 1).with_for_update()
    found = connection.execute(query).one_or_none()
    if found is None:
        raise EngineError(
            "database_error", "The audit log has lost its head: somebody has changed the database by hand"
        )
    last, rows = Mark(found.seq, found.digest), []
    for entry in entries:
        placed = entry.after(last)
        rows.append({name: getattr(placed, name) for name in AUDIT.c.keys()})  # noqa: SIM118
        last = Mark(placed.seq, placed.digest)
    connection.execute(sa.insert(AUDIT), rows)
    connection.execute(sa.update(AUDIT_HEAD).where(AUDIT_HEAD.c.id == 1).values(seq=last.seq, digest=last.digest))
