"""A PostgreSQL database as this store uses it: a pool whose connections may break, and calls that survive it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Final, TypeVar

import psycopg
from psycopg import Connection, Cursor, errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from cogwork.store.errors import StoreError

T = TypeVar("T")
CONNECTIONS: Final = 8
"""How many connections a process uses at most for its writes and reads; one more belongs to its ownership."""
PAUSE_SECONDS: Final = 0.1
"""Between two attempts while the server is away."""
UNREACHED: Final = (
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.IdleInTransactionSessionTimeout,
)
"""What a server says that is going down or coming up, or that has cut a connection off."""
COLLIDED: Final = (errors.SerializationFailure, errors.DeadlockDetected)
DEFAULTS: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""How soon a connection to a machine that is gone counts as broken (s, ms); what the address says comes first."""


class Database:
    """A pool of connections to the database at ``url``; each says ``application`` as its name.

    Args:
        patience: seconds that a call goes on trying while the server is away.
        idle: seconds after which the server ends a transaction whose process has stopped in the middle of it.

    Raises:
        StoreError: the address is none, or the database cannot be reached.
    """

    def __init__(self, url: SecretStr, *, application: str, patience: float, idle: float) -> None:
        self._url, self._patience, self._idle = url, patience, idle
        self._options = _options(url, application)
        self.where = where_of(conninfo_to_dict(url.get_secret_value()))
        self.pipelined = psycopg.Capabilities().has_pipeline()
        self._closing = threading.Event()
        self.pool: ConnectionPool[Connection[DictRow]] = ConnectionPool(
            url.get_secret_value(),
            kwargs=self._options,
            min_size=1,
            max_size=CONNECTIONS,
            open=False,
            check=ConnectionPool.check_connection,
            configure=self._configure,
            timeout=min(5.0, patience),
            name="cogwork",
        )

    def open(self, prepare: Callable[[Connection[DictRow]], None]) -> None:
        """Reach the server once, let ``prepare`` make what is missing, and open the pool.

        Raises:
            StoreError: the database cannot be reached or prepared.
        """
        try:
            with self.dedicated() as connection:
                prepare(connection)
        except psycopg.Error as err:
            raise StoreError(f"Cannot use {self.where}: {_said(err)}. Start it, or name another one.") from err
        self.pool.open()

    def close(self) -> None:
        """Close all connections; calls that wait for the server give up."""
        self._closing.set()
        self.pool.close()

    def dedicated(self) -> Connection[DictRow]:
        """A connection outside the pool."""
        connection: Connection[DictRow] = Connection.connect(self._url.get_secret_value(), **self._options)
        self._configure(connection)
        return connection

    def _configure(self, connection: Connection[DictRow]) -> None:
        connection.execute(
            "select set_config('idle_in_transaction_session_timeout', %s, false)", (f"{int(self._idle * 1000)}ms",)
        )

    @contextmanager
    def reading(self) -> Iterator[Cursor[DictRow]]:
        """A cursor whose statements are transactions of their own."""
        with self.pool.connection() as connection, connection.cursor(binary=True, row_factory=dict_row) as cursor:
            yield cursor

    @contextmanager
    def writing(self) -> Iterator[Cursor[DictRow]]:
        """A cursor within one transaction, its statements sent without waiting for each other's end."""
        with (
            self.pool.connection() as connection,
            connection.pipeline() if self.pipelined else nullcontext(),
            connection.transaction(),
            connection.cursor(binary=True, row_factory=dict_row) as cursor,
        ):
            yield cursor

    def surviving(self, call: Callable[[], T]) -> T:
        """What ``call`` returns, called again while the server is away; it must bear being repeated.

        Raises:
            StoreError: the server stayed away, or refused.
        """
        end = time.monotonic() + self._patience
        while True:
            try:
                return call()
            except psycopg.Error as err:
                collided = isinstance(err, COLLIDED)
                if not (collided or away(err)) or time.monotonic() > end or self._closing.is_set():
                    raise StoreError(
                        f"A call to {self.where} failed: {_said(err)}. What it holds is not lost: mend that, then resume the run"
                    ) from err
            if not collided:
                self._closing.wait(PAUSE_SECONDS)


def away(error: psycopg.Error) -> bool:
    """Whether the error says that the connection broke, or that none could be had, rather than that the statement is wrong."""
    if isinstance(error, UNREACHED) or (error.sqlstate or "").startswith("08"):
        return True
    if isinstance(error, psycopg.OperationalError):
        return error.sqlstate is None  # It comes from this side of the connection: refused, reset, timed out.
    return isinstance(error, psycopg.InterfaceError) and "closed" in str(error)


def _options(url: SecretStr, application: str) -> dict[str, Any]:
    try:
        given = conninfo_to_dict(url.get_secret_value())
    except psycopg.Error:
        # What psycopg says holds the address, and with it the password.
        raise StoreError(
            "The setting database_url is no address of PostgreSQL: write postgresql://user:password@host:5432/database"
        ) from None
    own: dict[str, Any] = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    defaults = {key: value for key, value in DEFAULTS.items() if key not in given}
    return {**own, **defaults, "application_name": application}


def where_of(given: dict[str, Any]) -> str:
    """The database for people, without the password."""
    host, port = given.get("host") or given.get("hostaddr") or "localhost", given.get("port") or 5432
    return f"the PostgreSQL database {given.get('dbname') or given.get('user') or 'postgres'!r} at {host}:{port}"


def _said(error: psycopg.Error) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
