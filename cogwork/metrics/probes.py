"""Probes of the dependencies: the records, their disk, checkpoints, workers, and the services that were called."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from cogwork.metrics.health import Part, Probe, Status, aside
from cogwork.records.grouped import database_error
from cogwork.records.schema import HEAD, revision
from cogwork.records.tables.executions import EXECUTIONS
from cogwork.records.tables.workers import WORKERS
from state.values import Json

if TYPE_CHECKING:
    from cogwork.records import Records

STALE_SECONDS: Final = 30.0
"""A worker of which nothing was heard for so long, six of its beats, is taken for dead."""
LONG_SECONDS: Final = 300.0
"""An execution that a worker could take up, and that has waited for longer, says that there are too few workers."""
LITTLE_BYTES: Final = 2 * 1024**3
HARDLY_ANY_BYTES: Final = 256 * 1024**2


def records_probe(records: Records) -> Probe:
    """Whether the records can be read, at which revision they are, and what they take; unhealthy at another revision."""
    return lambda: aside(lambda: looked_at(records))


def opened_probes(
    opening: Callable[[], AbstractContextManager[Records]], now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> dict[str, Probe]:
    """Probes of records that are not open yet: ``records``, ``queue`` and ``workers``; each opens and closes them for itself."""

    def of(look: Callable[[Records], Part]) -> Probe:
        def call() -> Part:
            with opening() as records:
                return look(records)

        return lambda: aside(call)

    return {
        "records": of(looked_at),
        "queue": of(lambda records: looked_for_queue(records, now)),
        "workers": of(lambda records: looked_for_workers(records, now)),
    }


def looked_at(records: Records) -> Part:
    """How the records stand."""
    # Not records.read, which is patient with a server that is away: here that is the answer.
    try:
        with records.engine.connect() as connection:
            found, size = revision(connection), connection.execute(_size(records.dialect)).scalar()
    except SQLAlchemyError as err:
        return Part(status="unhealthy", detail=str(database_error(records.where, err)))
    figures: dict[str, Json] = {"database": records.dialect, "where": records.where, "revision": found}
    figures["size_bytes"] = int(size or 0)
    if found != HEAD:
        detail = f"its schema has revision {found}, and this cogwork needs {HEAD}"
        return Part(status="unhealthy", detail=detail, figures=figures)
    return Part(status="healthy", detail=f"{records.dialect}, revision {found}", figures=figures)


def _size(dialect: str) -> sa.TextClause:
    if dialect == "sqlite":
        return sa.text("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
    return sa.text("SELECT pg_database_size(current_database())")


def disk_probe(
    folder: Path,
    *,
    little: int = LITTLE_BYTES,
    hardly_any: int = HARDLY_ANY_BYTES,
    usage: Callable[..., Any] = shutil.disk_usage,
) -> Probe:
    """How much is free where ``folder`` is: degraded below ``little`` bytes, unhealthy below ``hardly_any``."""

    def look() -> Part:
        there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        room = usage(there)
        status: Status = "unhealthy" if room.free < hardly_any else "degraded" if room.free < little else "healthy"
        detail = f"{room.free / 1024**3:.1f} GiB free of {room.total / 1024**3:.1f} at {there}"
        return Part(status=status, detail=detail, figures={"free_bytes": room.free, "total_bytes": room.total})

    return lambda: aside(look)


def store_probe(opening: Callable[[], AbstractContextManager[Any]], what: str) -> Probe:
    """Whether something that is kept (checkpoints, memory) can be opened; it is closed again."""

    def look() -> Part:
        with opening():
            return Part(status="healthy", detail=f"{what} can be opened")

    return lambda: aside(look)


def workers_probe(
    records: Records,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    stale: float = STALE_SECONDS,
) -> Probe:
    """Which workers are alive, and how many of their places are taken.

    Degraded where one is stale, or none takes new work; unhealthy where none is alive although executions wait for one.
    """
    return lambda: aside(lambda: looked_for_workers(records, now, stale))


def looked_for_workers(records: Records, now: Callable[[], datetime], stale: float = STALE_SECONDS) -> Part:
    """How the workers stand that have put themselves down."""
    try:
        with records.engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(sa.select(WORKERS)).mappings()]
            waiting = int(connection.execute(_waiting(now())).scalar() or 0)
            running = (
                sa.select(EXECUTIONS.c.worker, sa.func.count())
                .where(EXECUTIONS.c.status == "running", EXECUTIONS.c.worker != "")
                .group_by(EXECUTIONS.c.worker)
            )
            busy = {row[0]: int(row[1]) for row in connection.execute(running)}
    except SQLAlchemyError as err:
        return Part(status="unhealthy", detail=str(database_error(records.where, err)))
    return judged_workers(rows, busy, waiting, now() - timedelta(seconds=stale))


def looked_for_queue(records: Records, now: Callable[[], datetime]) -> Part:
    """How many executions wait for a worker, and since when: degraded where the first of them has waited for too long."""
    table, at = EXECUTIONS.c, now()
    since = sa.func.coalesce(table.not_before, table.created_at)
    query = sa.select(sa.func.count(), sa.func.min(since)).where(
        table.status == "pending", table.mode != "sync", since <= at
    )
    try:
        with records.engine.connect() as connection:
            count, oldest = connection.execute(query).one()
    except SQLAlchemyError as err:
        return Part(status="unhealthy", detail=str(database_error(records.where, err)))
    seconds = max(0.0, (at - oldest).total_seconds()) if oldest is not None else 0.0
    figures: dict[str, Json] = {"waiting": int(count), "oldest_seconds": round(seconds, 3)}
    if seconds > LONG_SECONDS:
        told = f"{count} wait, the first of them since {oldest.isoformat()}: start workers"
        return Part(status="degraded", detail=told, figures=figures)
    return Part(status="healthy", detail=f"{count} wait" if count else "nothing waits", figures=figures)


def _waiting(now: datetime) -> sa.Select[Any]:
    """How many executions a worker could take up."""
    table = EXECUTIONS.c
    due = sa.or_(table.not_before.is_(None), table.not_before <= now)
    return (
        sa.select(sa.func.count()).select_from(EXECUTIONS).where(table.status == "pending", table.mode != "sync", due)
    )


def judged_workers(
    rows: Sequence[Mapping[str, Any]], busy: Mapping[str, int], waiting: int, heard_since: datetime
) -> Part:
    """What the rows of workers mean; ``busy`` is how many executions each runs."""
    alive = [row for row in rows if row["beat_at"] >= heard_since]
    taking = [row for row in alive if row["status"] == "running"]
    places = sum(row["concurrency"] for row in taking)
    taken = sum(min(busy.get(row["id"], 0), row["concurrency"]) for row in taking)
    figures: dict[str, Json] = {
        "alive": len(alive),
        "stale": len(rows) - len(alive),
        "draining": len(alive) - len(taking),
        "places": places,
        "busy": taken,
        "free": places - taken,
        "waiting": waiting,
    }
    if not rows and not waiting:
        return Part(status="healthy", detail="no worker runs, and nothing waits for one", figures=figures)
    if not alive:
        status: Status = "unhealthy" if waiting else "degraded"
        detail = f"no worker is alive, and {waiting} executions wait: start one with cogwork worker"
        return Part(status=status, detail=detail, figures=figures)
    status = "degraded" if len(alive) < len(rows) or not taking else "healthy"
    detail = f"{len(alive)} alive, {len(rows) - len(alive)} stale, {taken} of {places} places taken"
    return Part(status=status, detail=detail, figures=figures)


def service_probes(health: Callable[[], Mapping[str, Json]]) -> dict[str, Probe]:
    """Probes of the services that were called, from ``App.health``: ``breakers``, ``models`` and ``mcp``.

    Degraded where a breaker is not closed, or a server cannot be reached; they ask nobody, and tell of what was found out last.
    """

    def probe(name: str) -> Probe:
        async def look() -> Part:
            return judged_services(name, (await aside(health)).get(name) or [])

        return look

    return {name: probe(name) for name in ("breakers", "models", "mcp")}


def judged_services(name: str, services: Sequence[Mapping[str, Json]]) -> Part:
    """What the state of services means."""
    ill = [trouble for each in services if (trouble := _trouble(each))]
    detail = "; ".join(ill) if ill else f"{len(services)} called" if services else "none was called yet"
    return Part(status="degraded" if ill else "healthy", detail=detail[:500], figures={"services": list(services)})


def _trouble(service: Mapping[str, Json]) -> str:
    """What is wrong with a service, if anything."""
    breaker: Mapping[str, Json] = service.get("breaker") or service
    name = service.get("service") or service.get("endpoint") or service.get("server") or "?"
    if service.get("state") == "unreachable":
        return f"{name} cannot be reached: {service.get('trouble') or 'nobody knows why'}"
    if (state := breaker.get("state")) in ("open", "half_open"):
        return f"{name} is left alone ({str(state).replace('_', '-')}): {breaker.get('last_fault') or 'it failed'}"
    return ""
