"""What figures are taken of: the executions or the steps of a range, as one shape of row for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa

from cogwork.metrics.ranges import TimeRange
from cogwork.records.tables.executions import EXECUTIONS, STEPS

Kind: TypeAlias = Literal["executions", "steps"]
HOLDERS: Final = ("for_each", "repeat", "use", "stage", "undo", "agent", "frame")
"""Kinds of steps that hold others: their time is that of the steps within them."""
REAL: Final = STEPS.c.path.not_like("%]")
"""Of the rows of steps those of instances, and not of the rounds and items that hold them, such as ``answers[2]``."""
SKEW: Final = timedelta(days=1)
"""A step ends after its execution was created; the clocks of two machines may differ, but not by so much."""
IGNORED: Final = "ignored"
"""The status told of a step that failed and whose failure was passed over (``on_error: skip``)."""

Condition: TypeAlias = sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Rows with ``key`` (the group), ``execution_id``, ``status``, ``duration`` (null where it says nothing) and ``error``.

    ``per_second`` is what a second is in ``duration``. ``good``, ``bad`` and ``ended`` are statuses; a row of status ``absent``
    did not take place. ``work`` are the steps' rows behind it: ``key``, ``attempts``, tokens, ``cost_usd``; ``own`` is what joins
    the steps of executions to them.
    """

    kind: Kind
    rows: sa.Subquery
    work: sa.Subquery
    own: Condition
    per_second: float
    good: frozenset[str]
    bad: frozenset[str]
    ended: frozenset[str]
    absent: frozenset[str] = frozenset()


def executions(
    range: TimeRange,
    conditions: Sequence[Condition],
    key: sa.ColumnElement[Any] | None,
    dialect: str,
    beside: Sequence[Condition] = (),
) -> Population:
    """The executions that were created within the range; their duration is from start to end on the clock.

    ``beside`` holds for all their steps anyway, and lets PostgreSQL find these without going through all that there are.
    """
    table, group = EXECUTIONS.c, sa.literal_column("0") if key is None else key
    ended = frozenset({"completed", "failed", "cancelled"})
    start, end = (sa.type_coerce(column, sa.BigInteger) for column in (table.started_at, table.ended_at))
    known = sa.and_(table.status.in_(sorted(ended)), table.started_at.is_not(None), table.ended_at.is_not(None))
    rows = (
        sa.select(
            group.label("key"),
            table.id.label("execution_id"),
            table.status.label("status"),
            sa.case((known, sa.case((end > start, end - start), else_=0))).label("duration"),
            _error_class(dialect).label("error"),
        )
        .where(table.created_at >= range.start, table.created_at < range.end, *conditions)
        .subquery("population")
    )
    own = STEPS.c.execution_id == rows.c.execution_id
    if dialect == "postgresql":
        own = sa.and_(own, STEPS.c.ended_at >= range.start - SKEW, *beside)
    work = sa.select(rows.c.key, *_spent()).select_from(rows.join(STEPS, own)).subquery("work")
    return Population(
        kind="executions",
        rows=rows,
        work=work,
        own=own,
        per_second=1e6,
        good=frozenset({"completed"}),
        bad=frozenset({"failed"}),
        ended=ended,
    )


def steps(range: TimeRange, conditions: Sequence[Condition], key: sa.ColumnElement[Any] | None) -> Population:
    """The steps that were settled within the range; their duration is their own seconds."""
    table, group = STEPS.c, sa.literal_column("0") if key is None else key
    start, end = (sa.type_coerce(column, sa.BigInteger) for column in (table.started_at, table.ended_at))
    clock = sa.case((end > start, (end - start) / sa.literal(1e6, sa.Float)), else_=0.0)
    passed_over = sa.and_(table.status == "skipped", table.error_class.is_not(None))
    status = sa.case((passed_over, IGNORED), else_=table.status)
    took = sa.or_(table.status != "skipped", passed_over)
    rows = (
        sa.select(
            group.label("key"),
            table.execution_id,
            status.label("status"),
            sa.case(
                (sa.and_(took, table.seconds.is_not(None)), table.seconds),
                (sa.and_(took, table.started_at.is_not(None)), clock),
            ).label("duration"),
            table.error_class.label("error"),
            *_spent(),
        )
        .where(table.ended_at >= range.start, table.ended_at < range.end, REAL, *conditions)
        .subquery("population")
    )
    return Population(
        kind="steps",
        rows=rows,
        work=rows,
        own=sa.false(),
        per_second=1.0,
        good=frozenset({"done"}),
        bad=frozenset({"failed", IGNORED}),
        ended=frozenset({"done", "failed", "cancelled", IGNORED}),
        absent=frozenset({"skipped"}),
    )


def _spent() -> tuple[sa.ColumnElement[Any], ...]:
    return (STEPS.c.attempts, STEPS.c.input_tokens, STEPS.c.output_tokens, STEPS.c.cost_usd)


def _error_class(dialect: str) -> sa.ColumnElement[Any]:
    """The class in the error of a failed execution, else the reason of its status; text that is no JSON has no class."""
    table = EXECUTIONS.c
    text = sa.type_coerce(table.error, sa.Text)
    if dialect == "sqlite":
        found: sa.ColumnElement[Any] = sa.case((sa.func.json_valid(text), sa.func.json_extract(text, "$.class")))
    else:
        # No cast to JSON: it would fail the whole query for one damaged row. The class comes first in the record of a fault.
        found = sa.func.substring(text, r'"class"\s*:\s*"([^"\\]{1,64})"')
    return sa.case((table.status == "failed", sa.func.coalesce(found, sa.func.nullif(table.reason, ""))))
