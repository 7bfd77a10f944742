"""Lists of executions: how long the first page and a page far behind take among a million, on both databases."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from benchmarks.databases import DATABASES, database
from benchmarks.figures import Cell, Table, median, verdict
from benchmarks.settings import Settings
from cogwork.executions.listing import Filter, listed
from cogwork.records import Records
from cogwork.records.columns import instant, micros
from cogwork.records.database import opened
from cogwork.records.pages import Place, sealed_place
from cogwork.records.tables.executions import EXECUTION_TAGS, EXECUTIONS

ROWS: Final = 1_000_000
LIMIT: Final = 0.05
"""Seconds of a page."""
PAGE: Final = 20
NEWEST: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
SPAN: Final = timedelta(days=90)
WITHIN: Final = (NEWEST - timedelta(days=60), NEWEST - timedelta(days=30))
FILTERS: Final[Mapping[str, Filter]] = {
    "all": Filter(),
    "workflow (half of them)": Filter(workflow="flow-0"),
    "workflow (1 %)": Filter(workflow="flow-7"),
    "workflow by id": Filter(workflow="wf-0"),
    "workflow by id, status": Filter(workflow="wf-0", status="failed"),
    "workflow, version": Filter(workflow="wf-0", version=2),
    "workflow, status": Filter(workflow="flow-0", status="failed"),
    "status (4 %)": Filter(status="failed"),
    "status (0.1 %)": Filter(status="running"),
    "two statuses": Filter(status=("failed", "cancelled")),
    "tag (10 %)": Filter(tags=("team-3",)),
    "tag (0.1 %)": Filter(tags=("rare",)),
    "two tags": Filter(tags=("team-7", "rare")),
    "session": Filter(session_id="session-77"),
    "user": Filter(user_id="user-77"),
    "tenant": Filter(tenant="tenant-7"),
    "batch": Filter(batch_id="batch-7"),
    "time range": Filter(since=WITHIN[0], until=WITHIN[1]),
    "time range, workflow (1 %)": Filter(workflow="flow-7", since=WITHIN[0], until=WITHIN[1]),
    "time range, workflow, status": Filter(workflow="flow-0", status="failed", since=WITHIN[0], until=WITHIN[1]),
    "time range, tag (0.1 %)": Filter(tags=("rare",), since=WITHIN[0], until=WITHIN[1]),
    "two tags that never meet": Filter(tags=("team-3", "rare")),
    "a tenant without any": Filter(tenant="nobody"),
    "workflow, status without any": Filter(workflow="flow-0", status="pending"),
    "workflow by id, status without any": Filter(workflow="wf-0", status="pending"),
}
"""What is listed. ``flow-0`` has half of all executions, fifty other workflows the rest."""


async def listing(settings: Settings) -> list[Table]:
    """Milliseconds of the first page, and of one in the middle of the list."""
    rows = ROWS if settings.repetitions > 5 else max(1_000, settings.size * 1_000)
    table = Table(
        name="listing",
        title=f"milliseconds of a page of {PAGE} among {rows:,} executions: median (slowest)",
        columns=("database", "listed by", "listed", "first page", "first max", "deep page", "deep max", "<= 50 ms"),
    )
    for name in DATABASES:
        settings.tell(f"listing: filling {name} with {rows:,} executions")
        begun = time.perf_counter()
        try:
            with _filled(name, rows) as records:
                table.notes.append(f"{name}: filled in {time.perf_counter() - begun:.0f} s")
                table.rows.extend(_measured(name, records, min(20, settings.repetitions)))
        except LookupError as missing:
            table.notes.append(str(missing))
    return [table]


@contextmanager
def _filled(name: str, rows: int) -> Iterator[Records]:
    with database(name) as (folder, url), opened(folder / "records.sqlite", url or None, synchronous="NORMAL") as made:
        made.write(lambda connection: _fill(connection, rows))
        if made.dialect == "postgresql":  # It does so by itself after a while; SQLite does not.
            with made.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("VACUUM ANALYZE")
        yield made


def _fill(connection: Connection, rows: int) -> None:
    """Executions at equal distances, a few of them at the same instant; what they are is drawn from a hash of the number."""
    numbers = (
        f"generate_series(1, {rows}) AS g(n)"
        if connection.dialect.name == "postgresql"
        else f"(WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < {rows}) SELECT n FROM g) AS g"
    )
    columns = _columns(rows)
    chosen = ", ".join(f"{expression} AS {column}" for column, expression in columns.items())
    hashed = f"SELECT n, (n * 2654435761) % 1000003 AS h, (n * 2654404619) % 999983 AS k FROM {numbers}"
    _run(connection, f"INSERT INTO {EXECUTIONS.name} ({', '.join(columns)}) SELECT {chosen} FROM ({hashed}) AS d")
    for tag, among in (("'team-' || (priority % 10)", "true"), ("'rare'", "priority % 1000 = 7")):
        of = f"SELECT id, {tag}, created_at FROM {EXECUTIONS.name} WHERE {among}"
        _run(connection, f"INSERT INTO {EXECUTION_TAGS.name} (execution_id, tag, created_at) {of}")


def _run(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement.replace("%", "%%") if connection.dialect.name == "postgresql" else statement)


def _columns(rows: int) -> dict[str, str]:
    """The expression of each column, by the number ``n`` and two hashes of it."""
    first, step = micros(NEWEST - SPAN), int(SPAN / timedelta(microseconds=1) / rows)
    at = f"{first} + (n - n % 3) * CAST({step} AS bigint)"
    status = (
        "CASE WHEN h % 1000 < 40 THEN 'failed' WHEN h % 1000 < 60 THEN 'cancelled' WHEN h % 1000 = 60 THEN 'running' "
        "WHEN h % 1000 < 65 THEN 'paused' ELSE 'completed' END"
    )
    workflow = "CASE WHEN k % 2 = 0 THEN 0 ELSE 1 + (k / 2) % 50 END"
    return {
        "id": "'exec-' || h || '-' || n",
        "thread": "'exec-' || h || '-' || n",
        "run": "'run-' || n",
        "workflow": f"'flow-' || {workflow}",
        "workflow_id": f"'wf-' || {workflow}",
        "version": "1 + h % 3",
        "digest": f"'digest-' || {workflow}",
        "status": status,
        "mode": "'async'",
        "priority": "1 + n % 9999",
        "tenant": "'tenant-' || (k % 40)",
        "session_id": "CASE WHEN n % 2 = 0 THEN 'session-' || (h % 5000) END",
        "user_id": "'user-' || (k % 2000)",
        "batch_id": "CASE WHEN n % 4 = 0 THEN 'batch-' || (k % 300) END",
        "options": "'{}'",
        "metadata": '\'{"why": "benchmark"}\'',
        "created_at": at,
        "started_at": f"{at} + 200000",
        "ended_at": f"CASE WHEN h % 1000 BETWEEN 60 AND 64 THEN NULL ELSE {at} + 3000000 END",
        "updated_at": f"{at} + 3000000",
        "input": "'digest-of-input-' || h",
    }


def _measured(name: str, records: Records, repetitions: int) -> Iterator[tuple[Cell, ...]]:
    for title, wanted in FILTERS.items():
        count, cursor = records.read(lambda c, wanted=wanted: _middle(c, wanted))  # type: ignore[misc]
        first = [_page(records, wanted, None) for _ in range(max(2, repetitions))]
        deep = [_page(records, wanted, cursor) for _ in range(max(2, repetitions))] if cursor else []
        times = [[each * 1000 for each in some] for some in (first, deep)]
        figures = [figure for some in times for figure in ((median(some), max(some)) if some else (None, None))]
        held = all(median(some) <= LIMIT * 1000 for some in times if some)
        yield (name, title, count, *figures, verdict(held))


def _page(records: Records, wanted: Filter, cursor: str | None) -> float:
    begun = time.perf_counter()
    records.read(lambda connection: listed(connection, wanted, limit=PAGE, cursor=cursor))
    return time.perf_counter() - begun


def _middle(connection: Connection, wanted: Filter) -> tuple[int, str | None]:
    """How many there are, and the cursor of the place in their middle."""
    from cogwork.executions.listing import _conditions

    rows = sa.select(EXECUTIONS.c.created_at, EXECUTIONS.c.id).where(*_conditions(wanted))
    if wanted.since is not None and wanted.until is not None:
        rows = rows.where(EXECUTIONS.c.created_at >= wanted.since, EXECUTIONS.c.created_at < wanted.until)
    for tag in wanted.tags:
        has = sa.select(EXECUTION_TAGS.c.execution_id).where(EXECUTION_TAGS.c.tag == tag)
        rows = rows.where(EXECUTIONS.c.id.in_(has))
    count = int(connection.execute(sa.select(sa.func.count()).select_from(rows.subquery())).scalar_one())
    if count < 2 * PAGE:
        return count, None
    of = rows.order_by(EXECUTIONS.c.created_at.desc(), EXECUTIONS.c.id.desc()).offset(count // 2).limit(1)
    row = connection.execute(of).one()
    place = Place.of(instant(micros(row.created_at)), row.id)
    return count, sealed_place(connection, place, asdict(wanted))
