"""The record of calls and the open requests of runs, in PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import asdict
from typing import Final, TypeVar

from psycopg import Cursor
from psycopg.rows import DictRow

from cogwork.sealing.seals import Seals
from cogwork.store.outlines import place_of_thread
from cogwork.store.postgres_database import Database
from cogwork.store.postgres_owners import Proof
from state.durable import RecordedCall, Request

T = TypeVar("T")
KEEP: Final = """
insert into cogwork_calls (thread, run, key, step, status, body) values (%s, %s, %s, %s, %s, %s)
on conflict (thread, run, key) do update set step = excluded.step, status = excluded.status, body = excluded.body"""
MAKE: Final = """
insert into cogwork_requests (thread, id, kind, body) values (%s, %s, %s, %s)
on conflict (thread) do update set id = excluded.id, kind = excluded.kind, body = excluded.body
where cogwork_requests.kind = 'pause' or excluded.kind = 'cancel'"""


class PostgresCalls:
    """The calls of runs; each is written in a transaction that proves who owns the thread."""

    def __init__(self, database: Database, executor: Executor, proof: Proof, seals: Seals) -> None:
        self._database, self._executor, self._proof, self._seals = database, executor, proof, seals

    async def of_run(self, thread: str, run: str) -> Mapping[str, RecordedCall]:
        """The calls of a run, by key."""
        query = "select body from cogwork_calls where thread = %s and run = %s"
        rows = await _reading(self._database, self._executor, lambda cur: cur.execute(query, (thread, run)).fetchall())
        # The body is text, not JSONB, which knows no NUL and no order of keys.
        bodies = [self._seals.opened_text(row["body"], place_of_thread(thread)) for row in rows]
        calls = [RecordedCall(**json.loads(body)) for body in bodies]
        return {call.key: call for call in calls}

    async def keep(self, thread: str, call: RecordedCall) -> None:
        """Write the call, in place of what is there under its key.

        Raises:
            Owned: somebody else works on the thread, or has taken it over.
        """
        body = self._seals.sealed_text(json.dumps(asdict(call)), place_of_thread(thread))
        row = (thread, call.run, call.key, call.step, call.status, body)
        await self._written(thread, lambda cursor: cursor.execute(KEEP, row))

    async def forget(self, thread: str, key: str) -> None:
        """Remove the call, so that it may be made anew.

        Raises:
            Owned: somebody else works on the thread, or has taken it over.
        """
        query = "delete from cogwork_calls where thread = %s and key = %s"
        await self._written(thread, lambda cursor: cursor.execute(query, (thread, key)))

    async def _written(self, thread: str, write: Callable[[Cursor[DictRow]], object]) -> None:
        def proven(cursor: Cursor[DictRow]) -> None:
            self._proof.prove(cursor, thread)
            write(cursor)

        await _writing(self._database, self._executor, proven)


class PostgresRequests:
    """The open requests; anybody may make one, whoever owns the thread."""

    def __init__(self, database: Database, executor: Executor, seals: Seals) -> None:
        self._database, self._executor, self._seals = database, executor, seals

    async def make(self, thread: str, request: Request) -> None:
        """Leave a request; ``cancel`` replaces ``pause``, but not the other way round."""
        body = self._seals.sealed_text(json.dumps(asdict(request)), place_of_thread(thread))
        row = (thread, request.id, request.kind, body)
        await _writing(self._database, self._executor, lambda cursor: cursor.execute(MAKE, row))

    async def open(self, thread: str) -> Request | None:
        """The open request of the thread: one read of one row by its key."""
        query = "select body from cogwork_requests where thread = %s"
        row = await _reading(self._database, self._executor, lambda cur: cur.execute(query, (thread,)).fetchone())
        if row is None:
            return None
        return Request(**json.loads(self._seals.opened_text(row["body"], place_of_thread(thread))))

    async def close(self, thread: str, request: Request) -> None:
        """The request is fulfilled, or void; one made since stays open."""
        query = "delete from cogwork_requests where thread = %s and id = %s"
        await _writing(self._database, self._executor, lambda cursor: cursor.execute(query, (thread, request.id)))


async def _reading(database: Database, executor: Executor, read: Callable[[Cursor[DictRow]], T]) -> T:
    def whole() -> T:
        with database.reading() as cursor:
            return read(cursor)

    return await asyncio.get_running_loop().run_in_executor(executor, lambda: database.surviving(whole))


async def _writing(database: Database, executor: Executor, write: Callable[[Cursor[DictRow]], object]) -> None:
    def whole() -> None:
        with database.writing() as cursor:
            write(cursor)

    await asyncio.get_running_loop().run_in_executor(executor, lambda: database.surviving(whole))
