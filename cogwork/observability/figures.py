"""The counters and histograms of a process."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cogwork.observability.catalogue import COUNTED, Metric

OTHER: Final = "other"
MOST_SERIES: Final = 5_000
"""How many combinations of labels a metric has at the most; whatever comes after them is counted under ``other``."""
Labels: TypeAlias = tuple[str, ...]
Further: TypeAlias = Callable[[Metric, float, Labels], None]
"""Told of each figure as well: whoever sends it elsewhere."""


@dataclass(slots=True)
class Spread:
    """How values are spread: how many lie in each bucket (the last one has no bound), and their sum."""

    counts: list[int]
    total: float = 0.0


@dataclass(slots=True)
class Figures:
    """What is counted here, by metric and labels; may be used from any thread."""

    further: Further | None = None
    _amounts: dict[Metric, dict[Labels, float]] = field(default_factory=dict)
    _spreads: dict[Metric, dict[Labels, Spread]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, metric: Metric, *labels: str, amount: float = 1.0) -> None:
        """Count a counter, or move a gauge, by ``amount``."""
        with self._lock:
            kept = self._amounts.setdefault(metric, {})
            named = _bounded(kept, labels)
            kept[named] = kept.get(named, 0.0) + amount
        if self.further is not None:
            self.further(metric, amount, named)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Put a value into a histogram."""
        with self._lock:
            kept = self._spreads.setdefault(metric, {})
            named = _bounded(kept, labels)
            spread = kept.setdefault(named, Spread([0] * (len(metric.buckets) + 1)))
            spread.counts[bisect.bisect_left(metric.buckets, value)] += 1
            spread.total += value
        if self.further is not None:
            self.further(metric, value, named)

    def amounts(self) -> Mapping[Metric, Mapping[Labels, float]]:
        """The counters and gauges as they stand."""
        with self._lock:
            return {metric: dict(self._amounts.get(metric, {})) for metric in COUNTED if metric.kind != "histogram"}

    def spreads(self) -> Mapping[Metric, Mapping[Labels, tuple[Sequence[int], float]]]:
        """The histograms as they stand: the count of each bucket, and the sum."""
        with self._lock:
            return {
                metric: {
                    labels: (tuple(each.counts), each.total) for labels, each in self._spreads.get(metric, {}).items()
                }
                for metric in COUNTED
                if metric.kind == "histogram"
            }


def _bounded(kept: Mapping[Labels, object], labels: Labels) -> Labels:
    """The labels, or ``other`` in place of each where there are too many."""
    return labels if labels in kept or len(kept) < MOST_SERIES else (OTHER,) * len(labels)


@dataclass(slots=True)
class Capped:
    """The first so many names that come; ``other`` for those after them."""

    most: int
    _known: set[str] = field(default_factory=set)

    def of(self, name: str) -> str:
        """The name as a label."""
        if name not in self._known:
            if len(self._known) >= self.most:
                return OTHER
            self._known.add(name)
        return name
