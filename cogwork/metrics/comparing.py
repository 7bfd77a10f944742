"""Two reports side by side: differences, and how sure a difference of success rates is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from state.values import Json

if TYPE_CHECKING:
    from cogwork.metrics.metrics import Report

Z: Final = 1.959963984540054
"""For 95 % of confidence."""


class Interval(NamedTuple):
    """From ``low`` to ``high``, both within."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The figures of two reports side by side; differences are the second less the first, None where one is unknown.

    ``rates`` are Wilson's intervals of the two success rates, ``difference`` Newcombe's of their difference, all at 95 %; None
    where nothing has ended. ``clear`` is whether the difference is not explained by chance: its interval leaves out 0.
    """

    first: Report
    second: Report
    differences: Mapping[str, float | None]
    rates: tuple[Interval | None, Interval | None]
    difference: Interval | None

    @property
    def clear(self) -> bool:
        """Whether one of the two success rates is better beyond chance."""
        return self.difference is not None and not self.difference.low <= 0 <= self.difference.high

    def to_dict(self) -> dict[str, Json]:
        """As plain JSON."""
        return {
            "first": self.first.to_dict(),
            "second": self.second.to_dict(),
            "differences": dict(self.differences),
            "success_rate_intervals": [list(rate) if rate is not None else None for rate in self.rates],
            "difference_interval": list(self.difference) if self.difference is not None else None,
            "clear": self.clear,
        }


def compared(first: Report, second: Report) -> Comparison:
    """The comparison of two reports."""
    numbers = {
        name: _less(second.figures[name], value)
        for name, value in first.figures.items()
        if name in second.figures and not isinstance(value, dict | list)
    }
    (good, n), (other_good, m) = first.ended, second.ended
    return Comparison(
        first=first,
        second=second,
        differences=numbers,
        rates=(wilson(good, n), wilson(other_good, m)),
        difference=newcombe(good, n, other_good, m),
    )


def wilson(good: int, n: int) -> Interval | None:
    """Wilson's score interval of a rate; None of nothing."""
    if not n:
        return None
    rate, square = good / n, Z * Z
    middle = (rate + square / (2 * n)) / (1 + square / n)
    half = Z / (1 + square / n) * math.sqrt(rate * (1 - rate) / n + square / (4 * n * n))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def newcombe(good: int, n: int, other_good: int, m: int) -> Interval | None:
    """Newcombe's interval of the difference of two rates, the second less the first, made of Wilson's; None of nothing."""
    first, second = wilson(good, n), wilson(other_good, m)
    if first is None or second is None:
        return None
    p, q = good / n, other_good / m
    below = math.hypot(q - second.low, first.high - p)
    above = math.hypot(second.high - q, p - first.low)
    return Interval(max(-1.0, q - p - below), min(1.0, q - p + above))


def _less(second: Json, first: Json) -> float | None:
    return None if first is None or second is None else second - first
