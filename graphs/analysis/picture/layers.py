"""A layered layout: every arrow points down, few cross, and boxes stand near what they are tied to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

Spot: TypeAlias = str | tuple[str, str, int]
"""A box by its id; or the place where a long arrow (source, target) crosses a layer."""
SWEEPS = 12


class Layers:
    """Rows of spots, the short arrows between neighbouring rows, and the spots of every arrow."""

    def __init__(self, boxes: Sequence[str], arrows: Sequence[tuple[str, str]]) -> None:
        depth = _depths(boxes, arrows)
        self.rows: list[list[Spot]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
        self.chains: dict[tuple[str, str], list[Spot]] = {}
        self.above: dict[Spot, list[Spot]] = {}
        self.below: dict[Spot, list[Spot]] = {}
        for box in boxes:
            self.rows[depth[box]].append(box)
        for source, target in arrows:
            between: list[Spot] = [(source, target, level) for level in range(depth[source] + 1, depth[target])]
            for level, spot in enumerate(between, depth[source] + 1):
                self.rows[level].append(spot)
            chain: list[Spot] = [source, *between, target]
            self.chains[source, target] = chain
            for upper, lower in pairwise(chain):
                self.below.setdefault(upper, []).append(lower)
                self.above.setdefault(lower, []).append(upper)
        self._order()

    def _order(self) -> None:
        """Sort each row by the middle of what its spots are tied to, down and up in turn."""
        for sweep in range(SWEEPS):
            down = sweep % 2 == 0
            ties = self.above if down else self.below
            for index in range(len(self.rows)) if down else reversed(range(len(self.rows))):
                other = index - 1 if down else index + 1
                if not 0 <= other < len(self.rows):
                    continue
                at = {spot: place for place, spot in enumerate(self.rows[other])}
                own = {spot: place for place, spot in enumerate(self.rows[index])}
                self.rows[index].sort(key=lambda spot: _mean([at[t] for t in ties.get(spot, ())], own[spot]))

    def centres(self, width: Callable[[Spot], float], gap: float) -> dict[Spot, float]:
        """The horizontal middle of each spot, the leftmost edge at 0."""
        at: dict[Spot, float] = {}
        for row in self.rows:
            left = 0.0
            for spot in row:
                at[spot] = left + width(spot) / 2
                left += width(spot) + gap
        for sweep in range(SWEEPS):
            down = sweep % 2 == 0
            ties = self.above if down else self.below
            for row in self.rows if down else reversed(self.rows):
                wanted = [_mean([at[t] for t in ties.get(spot, ())], at[spot]) for spot in row]
                at.update(zip(row, _apart(wanted, [width(spot) for spot in row], gap), strict=True))
        edge = min((at[spot] - width(spot) / 2 for row in self.rows for spot in row), default=0.0)
        return {spot: centre - edge for spot, centre in at.items()}


def _depths(boxes: Sequence[str], arrows: Sequence[tuple[str, str]]) -> Mapping[str, int]:
    """The layer of each box: one below the lowest of those before it."""
    parents: dict[str, list[str]] = {box: [] for box in boxes}
    children: dict[str, list[str]] = {box: [] for box in boxes}
    for source, target in arrows:
        parents[target].append(source)
        children[source].append(target)
    depth = dict.fromkeys(boxes, 0)
    missing = {box: len(parents[box]) for box in boxes}
    ready = [box for box in boxes if not missing[box]]
    for box in ready:
        for child in children[box]:
            depth[child] = max(depth[child], depth[box] + 1)
            missing[child] -= 1
            if not missing[child]:
                ready.append(child)
    return depth


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _apart(wanted: Sequence[float], widths: Sequence[float], gap: float) -> list[float]:
    """The places nearest to those wanted (least squares) at which neighbours keep their distance."""
    offsets, total = [], 0.0
    for index, width in enumerate(widths):
        total += (widths[index - 1] + width) / 2 + gap if index else 0.0
        offsets.append(total)
    pools: list[tuple[float, int]] = []
    for place, offset in zip(wanted, offsets, strict=True):
        mean, count = place - offset, 1
        while pools and pools[-1][0] > mean:
            other, others = pools.pop()
            mean, count = (mean * count + other * others) / (count + others), count + others
        pools.append((mean, count))
    spread = [mean for mean, count in pools for _ in range(count)]
    return [place + offset for place, offset in zip(spread, offsets, strict=True)]
