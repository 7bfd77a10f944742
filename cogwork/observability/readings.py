"""What is looked up in the records and the queues for those who watch: kept for some seconds, however often they ask."""

from __future__ import annotations

import asyncio
import logging
import platform
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from cogwork.observability import catalogue
from cogwork.observability.catalogue import Metric
from state.values import Json

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from cogwork.engine.parts import Parts

log = logging.getLogger(__name__)
KEPT_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 4.0
"""How long the records may take; Prometheus gives up after ten."""
Values = dict[Metric, dict[tuple[str, ...], float]]
_BREAKERS: Final = {"closed": 0.0, "half_open": 0.5, "open": 1.0}


@dataclass(slots=True)
class Readings:
    """What was looked up last."""

    clock: Callable[[], float] = time.monotonic
    _values: Values = field(default_factory=dict)
    _at: float | None = None
    _under_way: asyncio.Future[Values] | None = None

    async def of(self, look: Callable[[], Awaitable[Values]]) -> Values:
        """What was found within the last seconds, else what is found now; those who ask meanwhile wait for the same look."""
        if self._at is not None and self.clock() - self._at < KEPT_SECONDS:
            return self._values
        if self._under_way is None or self._under_way.get_loop() is not asyncio.get_running_loop():
            self._under_way = asyncio.ensure_future(look())
        try:
            self._values = await asyncio.shield(self._under_way)
        finally:
            if self._under_way is not None and self._under_way.done():
                self._under_way = None
        self._at = self.clock()
        return self._values


async def looked_up(parts: Parts) -> Values:
    """All that the records and queues say now; where they cannot be read, that alone."""
    found: Values = {catalogue.INFO: {(version("cogwork"), platform.python_version()): 1.0}}
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            now = parts.executions.now()
            found |= await asyncio.to_thread(_read, parts, now)
            queue = await asyncio.to_thread(parts.queue)
            found |= _queues(await queue.lengths(), list(queue.queues.limits), now)
        return {**found, catalogue.RECORDS: {(): 1.0}}
    except Exception as error:  # Whatever it is, those who watch are to learn that it is so.
        log.warning("The records cannot be read for metrics: %s", type(error).__name__)
        return {**found, catalogue.RECORDS: {(): 0.0}}


def breakers(health: Mapping[str, Json]) -> Values:
    """The breakers of this process, from ``App.health``."""
    told = health.get("breakers") or []
    return {catalogue.BREAKER: {(str(each["service"]),): _BREAKERS.get(str(each["state"]), 0.0) for each in told}}


def _read(parts: Parts, now: datetime) -> Values:
    # Not records.read, which is patient with a server that is away: here that is the answer.
    with parts.records.engine.connect() as connection:
        return {**_executions(connection), **_workers(connection, now)}


def _executions(connection: Connection) -> Values:
    import sqlalchemy as sa

    from cogwork.executions.statuses import OPEN
    from cogwork.records.tables.executions import EXECUTIONS

    columns = (EXECUTIONS.c.status, EXECUTIONS.c.reason)
    query = sa.select(*columns, sa.func.count()).where(EXECUTIONS.c.status.in_(OPEN)).group_by(*columns)
    open_: dict[tuple[str, ...], float] = {(status,): 0.0 for status in OPEN}
    paused: dict[tuple[str, ...], float] = {}
    for status, reason, count in connection.execute(query):
        open_[(status,)] += count
        if status == "paused":
            paused[(reason or "none",)] = paused.get((reason or "none",), 0.0) + count
    return {catalogue.OPEN: open_, catalogue.RESTING: paused}


def _workers(connection: Connection, now: datetime) -> Values:
    import sqlalchemy as sa

    from cogwork.metrics.probes import STALE_SECONDS
    from cogwork.records.tables.executions import EXECUTIONS
    from cogwork.records.tables.workers import WORKERS

    heard_since = now - timedelta(seconds=STALE_SECONDS)
    states: dict[tuple[str, ...], float] = {("running",): 0.0, ("draining",): 0.0, ("stale",): 0.0}
    places: dict[str, int] = {}
    for row in connection.execute(sa.select(WORKERS)).mappings():
        state = str(row["status"]) if row["beat_at"] >= heard_since else "stale"
        states[(state,)] = states.get((state,), 0.0) + 1
        if state == "running":
            places[str(row["id"])] = int(row["concurrency"])
    running = (
        sa.select(EXECUTIONS.c.worker, sa.func.count())
        .where(EXECUTIONS.c.status == "running", EXECUTIONS.c.worker != "")
        .group_by(EXECUTIONS.c.worker)
    )
    busy = sum(min(places.get(str(worker), 0), int(count)) for worker, count in connection.execute(running))
    return {
        catalogue.WORKERS: states,
        catalogue.PLACES: {(): float(sum(places.values()))},
        catalogue.BUSY: {(): float(busy)},
    }


def _queues(lengths: list[tuple[str, int, int, datetime | None]], names: list[str], now: datetime) -> Values:
    """The queues, those of the settings also where they are empty: a series that comes and goes is hard to watch."""
    from cogwork.engine.queue import DEFAULT

    empty: dict[tuple[str, ...], float] = {(name,): 0.0 for name in (DEFAULT, *names)}
    waiting, running, oldest = dict(empty), dict(empty), dict(empty)
    for name, waits, runs, since in lengths:
        waiting[(name,)], running[(name,)] = float(waits), float(runs)
        oldest[(name,)] = max(0.0, (now - since).total_seconds()) if since is not None else 0.0
    return {catalogue.WAITING: waiting, catalogue.RUNNING: running, catalogue.OLDEST: oldest}
