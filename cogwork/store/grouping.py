"""Writes to one SQLite connection: those that wait beside each other go in one transaction, so that the disk syncs once."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager
from typing import Any, TypeVar

T = TypeVar("T")


class Grouping:
    """Runs calls on ``executor``, as many as wait in one ``transaction``; a call is done when its transaction is.

    The calls open transactions of their own, which belong to the group's. Where a group fails, its calls are run again one by
    one, so that each fails on its own: they must bear being repeated.
    """

    def __init__(self, executor: Executor, transaction: Callable[[], AbstractContextManager[sqlite3.Cursor]]) -> None:
        self._executor, self._transaction = executor, transaction
        self._waiting: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._gate = threading.Lock()

    async def run(self, call: Callable[[], T]) -> T:
        """What ``call`` returns, once it is committed; the calls are run in the order in which they came."""
        done: Future[T] = Future()
        with self._gate:
            first = not self._waiting
            self._waiting.append((call, done))
        if first:
            self._executor.submit(self._write)
        return await asyncio.wrap_future(done)

    async def apart(self, call: Callable[[], T]) -> T:
        """What ``call`` returns, after what came before it, in no group and no transaction."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def _write(self) -> None:
        with self._gate:
            group = [(call, done) for call, done in self._waiting if done.set_running_or_notify_cancel()]
            self._waiting.clear()
        try:
            with self._transaction():
                values = [call() for call, _ in group]
        except Exception:
            for call, done in group:
                _settle(call, done)
        else:
            for (_, done), value in zip(group, values, strict=True):
                done.set_result(value)


def _settle(call: Callable[[], Any], done: Future[Any]) -> None:
    try:
        done.set_result(call())
    except Exception as error:
        done.set_exception(error)
