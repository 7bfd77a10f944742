"""The figures that there are, and how each is computed by the database."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cogwork.errors import EngineError
from cogwork.metrics.populations import Kind, Population
from cogwork.metrics.waiting import overlaps, rests
from state.values import Json

PERCENTILES: Final = (50, 90, 95, 99)
COUNTS: Final = ("execution_count", "status_counts", "success_rate", "average_duration", "error_count")
DURATIONS: Final = tuple(f"p{percent}_duration" for percent in PERCENTILES)
SPENT: Final = ("retries", "input_tokens", "output_tokens", "cost_usd", "unpriced_steps")
THROUGHPUT: Final = "throughput"
OF_STEPS: Final = (*COUNTS, *DURATIONS, "errors_by_class", *SPENT, THROUGHPUT)
OF_EXECUTIONS: Final = (*OF_STEPS[:-1], "parallel_seconds_saved", "waiting_seconds", THROUGHPUT)
UNKNOWN: Final = "unknown"

Figures = dict[str, Json]


def chosen(metrics: Sequence[str] | None, kind: Kind) -> tuple[str, ...]:
    """The figures that are asked for, in our order; without names all that there are.

    Raises:
        EngineError: ``invalid_input``; one of them is none, or none of steps.
    """
    known = OF_EXECUTIONS if kind == "executions" else OF_STEPS
    if metrics is None:
        return known
    asked = [metrics] if isinstance(metrics, str) else list(metrics)
    for name in asked:
        if name in known:
            continue
        close = difflib.get_close_matches(str(name), known, 3, 0.5)
        told = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known)}"
        raise EngineError(
            "invalid_input",
            f"There is no metric {str(name)[:100]!r} of {kind}: {told}",
            field="metrics",
            suggestions=list(close or known),
        )
    return tuple(name for name in known if name in asked)


@dataclass(frozen=True, slots=True)
class _Asking:
    connection: Connection
    population: Population
    wanted: frozenset[str]
    now: datetime


def measured(
    connection: Connection, population: Population, wanted: Iterable[str], now: datetime
) -> dict[Any, Figures]:
    """The figures of each group of the population, by its key."""
    asking = _Asking(connection, population, frozenset(wanted), now)
    parts = [_counts(asking)]
    for names, part in (
        (DURATIONS, _percentiles),
        (("errors_by_class",), _errors),
        (SPENT, _spent),
        (("parallel_seconds_saved",), _saved),
        (("waiting_seconds",), _waited),
    ):
        if asking.wanted.intersection(names):
            parts.append(part(asking))
    empty = nothing(asking.wanted)
    return {
        key: {name: _first(parts, key, name, value) for name, value in empty.items()}
        for key in dict.fromkeys(key for part in parts for key in part)
    }


def nothing(wanted: Iterable[str]) -> Figures:
    """The figures where nothing happened: counts of 0, no rates, no durations."""
    asked = set(wanted)
    empty: Figures = {
        **dict.fromkeys(COUNTS, 0),
        "status_counts": {},
        "success_rate": None,
        "average_duration": None,
        **dict.fromkeys(DURATIONS),
        "errors_by_class": {},
        **dict.fromkeys(SPENT, 0),
        "cost_usd": 0.0,
        "parallel_seconds_saved": 0.0,
        "waiting_seconds": 0.0,
    }
    return {name: value for name, value in empty.items() if name in asked}


def _first(parts: Sequence[Mapping[Any, Figures]], key: Any, name: str, default: Json) -> Json:
    return next((part[key][name] for part in parts if name in part.get(key, {})), default)


def _counts(asking: _Asking) -> dict[Any, Figures]:
    of, rows = asking.population, asking.population.rows.c
    query = sa.select(
        rows.key, rows.status, sa.func.count(), sa.func.count(rows.duration), sa.func.sum(rows.duration)
    ).group_by(rows.key, rows.status)
    statuses: dict[Any, dict[str, int]] = defaultdict(dict)
    timed: dict[Any, list[float]] = defaultdict(lambda: [0, 0.0])
    for key, status, count, with_duration, duration in asking.connection.execute(query):
        statuses[key][status] = count
        timed[key][0] += with_duration
        timed[key][1] += float(duration or 0) / of.per_second
    told: dict[Any, Figures] = {}
    for key, counts in statuses.items():
        ended = sum(count for status, count in counts.items() if status in of.ended)
        number, seconds = timed[key]
        told[key] = {
            "execution_count": sum(count for status, count in counts.items() if status not in of.absent),
            "status_counts": dict(sorted(counts.items())),
            "success_rate": sum(counts.get(status, 0) for status in of.good) / ended if ended else None,
            "average_duration": seconds / number if number else None,
            "error_count": sum(counts.get(status, 0) for status in of.bad),
        }
    return told


def _percentiles(asking: _Asking) -> dict[Any, Figures]:
    """By nearest rank: the least duration that so many percent of all do not exceed."""
    rows = asking.population.rows.c
    place = sa.func.row_number().over(partition_by=rows.key, order_by=rows.duration)
    ranked = (
        sa.select(rows.key, rows.duration, place.label("place"), sa.func.count().over(partition_by=rows.key).label("n"))
        .where(rows.duration.is_not(None))
        .subquery("ranked")
    )
    query = sa.select(ranked.c.key, ranked.c.place, ranked.c.n, ranked.c.duration).where(
        sa.or_(*(ranked.c.place == _rank(ranked.c.n, percent) for percent in PERCENTILES))
    )
    told: dict[Any, Figures] = defaultdict(dict)
    for key, found, number, duration in asking.connection.execute(query):
        for percent in PERCENTILES:
            if found == _rank(number, percent):
                told[key][f"p{percent}_duration"] = float(duration) / asking.population.per_second
    return told


def _rank(n: Any, percent: int) -> Any:
    """The place of a percentile among ``n``, a number or a column."""
    return (n * percent + 99) // 100


def _errors(asking: _Asking) -> dict[Any, Figures]:
    rows = asking.population.rows.c
    query = (
        sa.select(rows.key, sa.func.coalesce(rows.error, UNKNOWN), sa.func.count())
        .where(rows.status.in_(sorted(asking.population.bad)))
        .group_by(rows.key, sa.literal_column("2"))
        .order_by(sa.func.count().desc(), sa.literal_column("2"))
    )
    told: dict[Any, dict[str, Json]] = defaultdict(dict)
    for key, error, count in asking.connection.execute(query):
        told[key][str(error)] = count
    return {key: {"errors_by_class": classes} for key, classes in told.items()}


def _spent(asking: _Asking) -> dict[Any, Figures]:
    """Retries, tokens and cost; a step that used tokens and shows no cost had no known price."""
    work = asking.population.work.c
    used = work.input_tokens + work.output_tokens > 0
    priced = sa.func.coalesce(work.cost_usd, 0) != 0
    query = sa.select(
        work.key,
        sa.func.sum(sa.case((work.attempts > 1, work.attempts - 1), else_=0)),
        sa.func.sum(work.input_tokens),
        sa.func.sum(work.output_tokens),
        sa.func.sum(work.cost_usd),
        sa.func.sum(sa.case((sa.and_(used, ~priced), 1), else_=0)),
        sa.func.sum(sa.case((priced, 1), else_=0)),
    ).group_by(work.key)
    return {
        key: {
            "retries": int(retries),
            "input_tokens": int(read),
            "output_tokens": int(written),
            "cost_usd": None if unpriced and not with_price else float(cost or 0),
            "unpriced_steps": int(unpriced),
        }
        for key, retries, read, written, cost, unpriced, with_price in asking.connection.execute(query)
    }


def _saved(asking: _Asking) -> dict[Any, Figures]:
    found = asking.connection.execute(overlaps(asking.population.rows, asking.population.own))
    return {key: {"parallel_seconds_saved": int(micros) / 1e6} for key, micros in found}


def _waited(asking: _Asking) -> dict[Any, Figures]:
    found = asking.connection.execute(rests(asking.population.rows, asking.now))
    return {key: {"waiting_seconds": int(micros) / 1e6} for key, micros in found}
