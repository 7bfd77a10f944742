"""Who may work on a thread in PostgreSQL, and the proof of it inside the transaction that writes.

An owner has two things. A session advisory lock says that its process lives: the server frees it at once when the process
dies, however it dies. A row holds a token, drawn anew for each ownership, and a beat, renewed every second: a process that is
frozen keeps its lock but misses its beats. Whoever takes over changes the row, and what proves ownership is the row: each
write reads it with its own token and locks it until it commits. So a zombie that wakes up is refused at its next write, and
no takeover can slip in between the proof and the commit.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol

import psycopg
from psycopg import Connection, Cursor
from psycopg.rows import DictRow

from cogwork.store.postgres_database import Database
from cogwork.store.postgres_standing import Claim, Standing, standing
from state.durable import PATIENCE, PATIENCE_ROUNDS
from state.errors import Owned

BEAT_SECONDS: Final = 1.0
LOCK: Final = "hashtextextended('cogwork:' || current_schema() || ':' || %(thread)s, 0)"
"""The advisory lock of a thread; schemas of one database are apart."""
READ: Final = """
select token, holder, server = pg_postmaster_start_time() as same_server,
       extract(epoch from clock_timestamp() - greatest(beat, pg_postmaster_start_time()))::float8 as age
from cogwork_owners where thread = %(thread)s"""
TAKE: Final = """
insert into cogwork_owners (thread, token, holder, server, beat)
values (%(thread)s, %(token)s, %(holder)s, pg_postmaster_start_time(), clock_timestamp())
on conflict (thread) do update
set token = excluded.token, holder = excluded.holder, server = excluded.server, beat = excluded.beat"""
LEAVE: Final = "delete from cogwork_owners where thread = %(thread)s and token = %(token)s"
PROVE: Final = "select 1 from cogwork_owners where thread = %(thread)s and token = %(token)s for key share"
"""A row locked so may be renewed by a beat meanwhile, but be neither taken over nor deleted: the token is a unique column."""
BEAT: Final = """
update cogwork_owners set beat = clock_timestamp(),
    server = case when thread = any(%(locked)s) then pg_postmaster_start_time() else server end
where token = any(%(tokens)s) returning thread"""
CUT_OFF: Final = """
select pg_terminate_backend(pid) from pg_stat_activity
where application_name = %(holder)s and usename = current_user and pid <> pg_backend_pid()"""

log = logging.getLogger(__name__)


class Proof(Protocol):
    """Shows, inside the transaction of a write, that this process may write to the thread."""

    def prove(self, cursor: Cursor[DictRow], thread: str) -> None:
        """Return if it may, and see to it that this stays so until the transaction ends.

        Raises:
            Owned: somebody else works on the thread, or has taken it over.
        """


class PostgresOwners:
    """The owners of a database's threads; ``holder`` names this process, and its connections bear that name.

    Args:
        ttl: seconds without a beat after which an owner that still has its lock counts as frozen.
    """

    def __init__(self, database: Database, *, holder: str, ttl: float) -> None:
        self._database, self._holder, self._ttl = database, holder, ttl
        self._interval = min(BEAT_SECONDS, ttl / 4)
        self._tokens: dict[str, str] = {}
        """What is held, until its block ends: also what was taken over, so that its writes are refused."""
        self._locks: set[str] = set()
        """The threads whose advisory locks the session has; it would be given them twice."""
        self._connection: Connection[DictRow] | None = None
        self._gate = threading.RLock()
        self._closed = threading.Event()
        self._beating: threading.Thread | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cogwork-owners")

    def close(self) -> None:
        """Let go of everything; what is still held may be taken over at once."""
        self._closed.set()
        self._thread.shutdown(wait=True)
        if self._beating is not None:
            self._beating.join()
        with self._gate:
            self._dropped()

    # -- owning --------------------------------------------------------------------------------------------

    def held(self, thread: str) -> AbstractAsyncContextManager[None]:
        """Own the thread's run within the block.

        Raises:
            Owned: somebody else works on it.
            StoreError: the database cannot be reached.
        """
        return self._holding(thread)

    @asynccontextmanager
    async def _holding(self, thread: str) -> AsyncIterator[None]:
        token = uuid.uuid4().hex
        try:
            await self._acquired(thread, token)
            yield
        finally:
            # On the same thread, so after the attempt that a cancelled caller may have left behind.
            await asyncio.shield(self._off_loop(lambda: self._release(thread, token)))

    async def _acquired(self, thread: str, token: str) -> None:
        for _ in range(PATIENCE_ROUNDS):
            if await self._off_loop(lambda: self._take(thread, token)):
                return
            await asyncio.sleep(PATIENCE / PATIENCE_ROUNDS)
        raise Owned(thread)

    async def _off_loop(self, call: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def alive(self, thread: str) -> bool:
        """Whether somebody works on the thread's run; a frozen process does not count."""
        return self._database.surviving(lambda: self._looked_up(thread)) == "owned"

    def _looked_up(self, thread: str) -> Standing:
        with self._database.reading() as cursor:
            return standing(_free(cursor, thread), _claim(cursor, thread), self._ttl)

    # -- proving -------------------------------------------------------------------------------------------

    def prove(self, cursor: Cursor[DictRow], thread: str) -> None:
        """Show that this process owns the thread, or that nobody does.

        Raises:
            Owned: somebody else works on it, or has taken it over.
        """
        token = self._tokens.get(thread)
        if token is None:
            self._prove_vacant(cursor, thread)
        elif cursor.execute(PROVE, {"thread": thread, "token": token}).fetchone() is None:
            raise Owned(thread)

    def _prove_vacant(self, cursor: Cursor[DictRow], thread: str) -> None:
        # The lock is shared and lasts as long as the transaction: nobody becomes owner meanwhile, others write beside it.
        free, claim = _free(cursor, thread), _claim(cursor, thread)
        stands = standing(free, claim, self._ttl)
        if stands == "owned":
            raise Owned(thread)
        if stands == "frozen" and claim is not None:
            self._cut_off(cursor, claim, thread)
            cursor.execute(LEAVE, {"thread": thread, "token": claim.token})

    def _cut_off(self, cursor: Cursor[DictRow], claim: Claim, thread: str) -> None:
        """End the connections of a frozen process: it may have stopped within a transaction, whose locks would stay."""
        log.warning("The process %s is frozen and loses a run", claim.holder, extra={"thread_id": thread})
        cursor.execute(CUT_OFF, {"holder": claim.holder})

    # -- taking and leaving, on the connection whose session has the locks -----------------------------------

    def _take(self, thread: str, token: str) -> bool:
        """Whether the thread is ours now."""
        if thread in self._tokens:
            return False
        return self._database.surviving(lambda: self._attempt(thread, token))

    def _attempt(self, thread: str, token: str) -> bool:
        with self._gate, self._connected().cursor() as cursor:
            free, claim = self._locked(cursor, thread), _claim(cursor, thread)
            stands = standing(free, claim, self._ttl)
            if claim is not None and stands == "frozen":
                self._cut_off(cursor, claim, thread)
            # An attempt whose connection broke may have been written all the same, and is repeated.
            taken = stands == "vacant" or (claim is not None and claim.token == token)
            if taken:
                cursor.execute(TAKE, {"thread": thread, "token": token, "holder": self._holder})
                self._tokens[thread] = token
                self._beat_on()
            else:
                self._unlocked(cursor, thread)
            return taken

    def _release(self, thread: str, token: str) -> None:
        with self._gate:
            if self._tokens.get(thread) != token:
                return
            del self._tokens[thread]
            for _ in range(2):  # A row that cannot be deleted ages, and its lock goes with the connection.
                try:
                    with self._connected().cursor() as cursor:
                        cursor.execute(LEAVE, {"thread": thread, "token": token})
                        self._unlocked(cursor, thread)
                    return
                except psycopg.Error:
                    self._dropped()

    def _locked(self, cursor: Cursor[DictRow], thread: str) -> bool:
        if thread not in self._locks:
            cursor.execute(f"select pg_try_advisory_lock({LOCK}) as free", {"thread": thread})
            if not _one(cursor)["free"]:
                return False
            self._locks.add(thread)
        return True

    def _unlocked(self, cursor: Cursor[DictRow], thread: str) -> None:
        if thread in self._locks:
            cursor.execute(f"select pg_advisory_unlock({LOCK})", {"thread": thread})
            self._locks.discard(thread)

    def _connected(self) -> Connection[DictRow]:
        if self._connection is None or self._connection.closed:
            self._dropped()
            self._connection = self._database.dedicated()
            if self._tokens:
                self._renewed(self._connection)
        return self._connection

    def _dropped(self) -> None:
        self._locks.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- beating -------------------------------------------------------------------------------------------

    def _beat_on(self) -> None:
        if self._beating is None:
            self._beating = threading.Thread(target=self._beat, name="cogwork-beat", daemon=True)
            self._beating.start()

    def _beat(self) -> None:
        while not self._closed.wait(self._interval):
            with self._gate:
                try:
                    if self._tokens:
                        self._renewed(self._connected())
                except psycopg.Error as err:
                    log.warning("A beat failed and is tried again: %s", err)
                    self._dropped()

    def _renewed(self, connection: Connection[DictRow]) -> None:
        """Renew the beats of what is ours; what is not any more gives its lock back."""
        with connection.cursor() as cursor:
            # First the locks: a row that names the running server says that its owner has had time to lock it again.
            locked = [thread for thread in self._tokens if self._locked(cursor, thread)]
            with connection.transaction():
                cursor.execute("set local synchronous_commit = off")  # Nobody is the worse for a beat lost in a crash.
                cursor.execute(BEAT, {"tokens": [*self._tokens.values()], "locked": locked})
                ours = {row["thread"] for row in cursor.fetchall()}
            for thread in set(locked) - ours:
                log.warning("A run was taken over by another process", extra={"thread_id": thread})
                self._unlocked(cursor, thread)


def _free(cursor: Cursor[DictRow], thread: str) -> bool:
    """Whether nobody's session has the thread's lock; it is shared with us until the transaction ends."""
    cursor.execute(f"select pg_try_advisory_xact_lock_shared({LOCK}) as free", {"thread": thread})
    return bool(_one(cursor)["free"])


def _claim(cursor: Cursor[DictRow], thread: str) -> Claim | None:
    row = cursor.execute(READ, {"thread": thread}).fetchone()
    return Claim(**row) if row is not None else None


def _one(cursor: Cursor[DictRow]) -> DictRow:
    row = cursor.fetchone()
    assert row is not None, "a select without a table has one row"
    return row
