"""Taking away payloads that nothing names; each function is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.records.tables.executions import BUNDLES, EXECUTIONS
from cogwork.records.tables.library import VERSIONS
from cogwork.records.tables.payloads import PAYLOADS

NAMING: Final[tuple[sa.Column[Any], ...]] = (
    EXECUTIONS.c.input,
    EXECUTIONS.c.output,
    VERSIONS.c.spec,
    BUNDLES.c.spec,
)
"""Every column that holds digests of payloads; each has an index, or belongs to a table that stays small."""
Key = tuple[datetime, str]


def unnamed(before: datetime) -> sa.ColumnElement[bool]:
    """Whether a payload was last used before then, and no row names it.

    Whoever names one stores or holds it in the same transaction, which renews ``stored_at`` and locks the row; so one that is
    about to be named is never old here, and a deletion that waits for such a lock finds it renewed.
    """
    digest = PAYLOADS.c.digest
    unnamed = [sa.not_(sa.exists().where(column == digest)) for column in NAMING if column.table is EXECUTIONS]
    few = [
        digest.not_in(sa.select(column).where(column.is_not(None)))
        for column in NAMING
        if column.table is not EXECUTIONS
    ]
    return sa.and_(PAYLOADS.c.stored_at < before, *unnamed, *few)


def next_digests(
    connection: Connection, before: datetime, after: Key | None, limit: int
) -> tuple[list[str], Key | None]:
    """The next payloads that are to go, the oldest first, and where those behind them begin."""
    at, key = PAYLOADS.c.stored_at, PAYLOADS.c.digest
    query = sa.select(key, at).where(unnamed(before))
    if after is not None:
        query = query.where(at >= after[0], (at > after[0]) | (key > after[1]))
    rows = connection.execute(query.order_by(at, key).limit(limit)).all()
    return [row.digest for row in rows], (rows[-1].stored_at, rows[-1].digest) if rows else None


def take_away(connection: Connection, before: datetime, digests: Sequence[str]) -> dict[str, int]:
    """Take away those of the payloads that nothing names."""
    gone = sa.delete(PAYLOADS).where(PAYLOADS.c.digest.in_(digests), unnamed(before))
    rows = connection.execute(gone.returning(sa.func.length(PAYLOADS.c.data))).all()
    return {"payloads": len(rows), "bytes": sum(row[0] for row in rows)}


def counted(connection: Connection, before: datetime) -> dict[str, int]:
    """How many would go, and what they take."""
    total = sa.func.coalesce(sa.func.sum(sa.func.length(PAYLOADS.c.data)), 0)
    number, size = connection.execute(sa.select(sa.func.count(), total).where(unnamed(before))).one()
    return {"payloads": number, "bytes": int(size)}
