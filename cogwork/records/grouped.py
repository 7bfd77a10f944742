"""Writes that wait beside each other, in one transaction: each may fail by itself, and all are committed together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from cogwork.errors import EngineError

T = TypeVar("T")
MOST: Final = 64
"""How many writes share a transaction at most."""


class Writing(Protocol):
    """What commits a transaction."""

    where: str

    def write(self, call: Callable[[Connection], T]) -> T:
        """What ``call`` returns, once all it wrote is committed."""


class Grouped:
    """The writes that wait; each is done within a savepoint of the transaction that it shares."""

    def __init__(self, records: Writing) -> None:
        self._records = records
        self._waiting: deque[tuple[Callable[[Connection], Any], Future[Any]]] = deque()

    def put(self, call: Callable[[Connection], T], threads: Executor) -> Future[T]:
        """The future of what ``call`` returns; done on the one thread of ``threads``."""
        outcome: Future[T] = Future()
        self._waiting.append((call, outcome))
        threads.submit(self._some)
        return outcome

    def _some(self) -> None:
        taken = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
        todo = [(call, outcome) for call, outcome in taken if outcome.set_running_or_notify_cancel()]
        if not todo:
            return
        try:
            ends = self._records.write(lambda connection: _ends(connection, [call for call, _ in todo]))
        except BaseException as err:
            for _, outcome in todo:
                outcome.set_exception(err)
            return
        for (_, outcome), (result, error) in zip(todo, ends, strict=True):
            if error is None:
                outcome.set_result(result)
            else:
                outcome.set_exception(_told(self._records.where, error))


def _ends(connection: Connection, calls: list[Callable[[Connection], Any]]) -> list[tuple[Any, BaseException | None]]:
    """What each has come to; one alone needs no savepoint, as the transaction is its own."""
    return [(calls[0](connection), None)] if len(calls) == 1 else [_end(connection, call) for call in calls]


def _end(connection: Connection, call: Callable[[Connection], Any]) -> tuple[Any, BaseException | None]:
    """What one has come to within a savepoint, set past SQLAlchemy, which would take as long as the statements in it.

    Raises:
        Exception: SQLite has rolled the whole transaction back, as it does when the disk is full: the others are undone too.
    """
    plain: Any = connection.connection.driver_connection
    plain.execute("SAVEPOINT one_of_several")
    try:
        result = call(connection)
    except Exception as err:
        if not plain.in_transaction:
            raise
        plain.execute("ROLLBACK TO one_of_several")
        plain.execute("RELEASE one_of_several")
        return None, err
    plain.execute("RELEASE one_of_several")
    return result, None


def _told(where: str, error: BaseException) -> BaseException:
    """What the caller of one write is told."""
    if not isinstance(error, SQLAlchemyError):
        return error
    told = database_error(where, error)
    told.__cause__ = error
    return told


def database_error(where: str, error: BaseException, **details: Any) -> EngineError:
    """The error of the database as one of ours: which database, what it said, and no statement or value."""
    said = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    plain = " ".join(str(said).split()).rstrip(".") or type(said).__name__
    return EngineError("database_error", f"The records in {where} cannot be used: {plain}", database=where, **details)
