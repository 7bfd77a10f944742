"""Scales of plots, and how durations and money are written."""

from __future__ import annotations

import math


def axis(most: float, *, whole: bool = False) -> tuple[list[float], float]:
    """Round values from 0 on, at most six, and the one that the full height stands for; it is at least ``most``."""
    if most <= 0:
        return [0.0], 1.0
    raw = most / 4
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= raw * (1 - 1e-9))
    if whole:
        step = float(max(1, math.ceil(step)))
    count = math.ceil(most / step - 1e-9)
    return [index * step for index in range(count + 1)], count * step


def span(seconds: float | None) -> str:
    """A duration for people, in two units at most: ``850 ms``, ``1.5 s``, ``2 min 5 s``, ``3 h 20 min``, ``4 d 2 h``."""
    if seconds is None:
        return "–"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms" if seconds else "0 s"
    if seconds < 59.95:
        return f"{seconds:.3g} s" if seconds < 9.995 else f"{seconds:.1f} s".replace(".0 ", " ")
    whole = round(seconds)
    for name, size, below, smaller in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name} {rest} {below}" if rest else f"{whole // size} {name}"
    return f"{whole} s"


def money(cost: float | None) -> str:
    """Dollars for people, with as many digits as small sums need."""
    if cost is None:
        return "unknown"
    if cost and abs(cost) < 0.01:
        return f"${cost:.2g}" if abs(cost) >= 0.0001 else f"${cost:.6f}".rstrip("0")
    return f"${cost:,.2f}"
