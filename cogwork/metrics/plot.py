"""A report as an SVG: executions by status, durations and cost over time, in light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import Final

from cogwork.errors import EngineError
from cogwork.metrics.axes import axis, money, span
from cogwork.metrics.figures import THROUGHPUT
from cogwork.metrics.metrics import Report
from state.values import Json

WIDTH, LEFT, RIGHT, TOP, HEIGHT, GAP = 880.0, 82.0, 24.0, 92.0, 132.0, 66.0
LABELS: Final = 8
STATUSES: Final = (*("completed", "done", "running", "pending", "paused", "skipped", "cancelled", "ignored", "failed"),)
"""From the bottom of a stack to its top, where failures are seen best."""
_LIGHT: Final = {
    "paper": "#ffffff",
    "ink": "#1f2328",
    "faint": "#59636e",
    "line": "#d8dee4",
    "completed": "#2da44e",
    "running": "#54aeff",
    "pending": "#b6c7d9",
    "paused": "#8250df",
    "skipped": "#d0d7de",
    "cancelled": "#8c959f",
    "ignored": "#d4a72c",
    "failed": "#cf222e",
    "p50": "#0969da",
    "p95": "#bc4c00",
    "cost": "#6e7781",
}
_DARK: Final = {
    "paper": "#0d1117",
    "ink": "#e6edf3",
    "faint": "#9198a1",
    "line": "#30363d",
    "completed": "#3fb950",
    "running": "#58a6ff",
    "pending": "#4d5d70",
    "paused": "#a371f7",
    "skipped": "#3d444d",
    "cancelled": "#6e7681",
    "ignored": "#d29922",
    "failed": "#f85149",
    "p50": "#58a6ff",
    "p95": "#f0883e",
    "cost": "#9198a1",
}
_FONT: Final = (
    "text{font:12px system-ui,'Segoe UI',sans-serif;fill:var(--ink)}.t{font-size:16px;font-weight:600}"
    ".h{font-size:13px;font-weight:600}.f{fill:var(--faint);font-size:11px}.g{stroke:var(--line);stroke-width:1}"
    ".l{fill:none;stroke-width:2;stroke-linejoin:round}"
)


@dataclass(frozen=True, slots=True)
class _Panel:
    """One of the drawings, at ``top``; ``scale`` is what its height stands for."""

    top: float
    count: int
    scale: float

    @property
    def column(self) -> float:
        """The width of a bucket."""
        return (WIDTH - LEFT - RIGHT) / self.count

    def x(self, index: float) -> float:
        return LEFT + index * self.column

    def y(self, value: float) -> float:
        return self.top + HEIGHT * (1 - value / self.scale)


def plot(report: Report) -> str:
    """The SVG document; it follows the reader's choice of light or dark.

    Raises:
        EngineError: ``invalid_input``; the report was made without ``throughput``.
    """
    buckets: Sequence[Mapping[str, Json]] = report.figures.get(THROUGHPUT) or ()
    if not buckets:
        raise EngineError("invalid_input", "There is nothing to plot: ask for the metric throughput", field="metrics")
    counted = "steps" if {"node", "agent", "tool", "model"} & set(report.subject) else "executions"
    parts = (_counts(counted), _durations, _costs)
    height = TOP + len(parts) * (HEIGHT + GAP)
    return "\n".join([*_head(report, height), *_drawn(parts, buckets), "</svg>"]) + "\n"


_Draw = Callable[[float, Sequence[Mapping[str, Json]]], Iterator[str]]


def _drawn(parts: Sequence[_Draw], buckets: Sequence[Mapping[str, Json]]) -> Iterator[str]:
    for index, draw in enumerate(parts):
        top = TOP + index * (HEIGHT + GAP)
        yield from draw(top, buckets)
        yield from _dates(_Panel(top, len(buckets), 1.0), buckets)


def _head(report: Report, height: float) -> Iterator[str]:
    subject = ", ".join(f"{kind} {name}" for kind, name in report.subject.items()) or "all workflows"
    when = f"{report.range.start:%Y-%m-%d %H:%M} to {report.range.end:%Y-%m-%d %H:%M} UTC"
    rate = report.figures.get("success_rate")
    told = when if rate is None else f"{when} · {rate:.1%} succeeded"
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" aria-label="{escape(f"{subject}, {told}")}">'
    )
    light, dark = (";".join(f"--{name}:{colour}" for name, colour in each.items()) for each in (_LIGHT, _DARK))
    yield f"<style>:root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}{_FONT}</style>"
    yield f'<rect width="{WIDTH:.0f}" height="{height:.0f}" fill="var(--paper)"/>'
    yield f'<text class="t" x="20" y="28">{escape(subject)}</text><text class="f" x="20" y="45">{escape(told)}</text>'


# -- the three drawings ----------------------------------------------------------------------------------------------


def _counts(what: str) -> _Draw:
    def draw(top: float, buckets: Sequence[Mapping[str, Json]]) -> Iterator[str]:
        most = max(sum(bucket["status_counts"].values()) for bucket in buckets)
        ticks, scale = axis(most, whole=True)
        panel = _Panel(top, len(buckets), scale)
        there = [status for status in STATUSES if any(status in bucket["status_counts"] for bucket in buckets)]
        yield from _frame(panel, f"{what} by status", ticks, lambda value: f"{value:,.0f}")
        yield from _legend(panel, [(status, _colour(status)) for status in reversed(there)])
        for index, bucket in enumerate(buckets):
            counts, low = bucket["status_counts"], 0
            told = ", ".join(f"{counts[status]:,} {status}" for status in STATUSES if status in counts)
            yield f"<g><title>{_when(bucket)}: {escape(told or 'none')}</title>"
            for status in there:
                if count := counts.get(status, 0):
                    yield _bar(panel, index, low, low + count, _colour(status))
                    low += count
            yield "</g>"

    return draw


def _durations(top: float, buckets: Sequence[Mapping[str, Json]]) -> Iterator[str]:
    longest = max((bucket["p95_duration"] or 0.0 for bucket in buckets), default=0.0)
    unit = 3600.0 if longest >= 7200 else 60.0 if longest >= 120 else 1.0
    ticks, scale = axis(longest / unit)
    panel = _Panel(top, len(buckets), scale * unit)
    yield from _frame(panel, "duration", [tick * unit for tick in ticks], span)
    yield from _legend(panel, [("p95", "p95"), ("p50", "p50")])
    for name in ("p95", "p50"):
        yield from _line(panel, [bucket[f"{name}_duration"] for bucket in buckets], name)
    for index, bucket in enumerate(buckets):
        if bucket["p50_duration"] is not None:
            told = f"{_when(bucket)}: p50 {span(bucket['p50_duration'])}, p95 {span(bucket['p95_duration'])}"
            yield _bar(panel, index, 0, panel.scale, "none", told)


def _costs(top: float, buckets: Sequence[Mapping[str, Json]]) -> Iterator[str]:
    ticks, scale = axis(max((bucket["cost_usd"] or 0.0 for bucket in buckets), default=0.0))
    panel = _Panel(top, len(buckets), scale)
    unknown = sum(bucket["unpriced_steps"] for bucket in buckets)
    note = f"cost, without {unknown:,} steps of unknown price" if unknown else "cost"
    yield from _frame(panel, note, ticks, money)
    for index, bucket in enumerate(buckets):
        cost = bucket["cost_usd"]
        told = f"{_when(bucket)}: {money(cost) if cost is not None else 'unknown'}"
        if cost is None:
            yield f'<text class="f" x="{panel.x(index + 0.5):.1f}" y="{top + HEIGHT - 4:.1f}" text-anchor="middle">?</text>'
        yield _bar(panel, index, 0, cost or 0.0, _colour("cost"), told)


# -- what they are made of -------------------------------------------------------------------------------------------


def _frame(panel: _Panel, title: str, ticks: Sequence[float], text: Callable[[float], str]) -> Iterator[str]:
    yield f'<text class="h" x="20" y="{panel.top - 14:.1f}">{escape(title)}</text>'
    for tick in ticks:
        y = panel.y(tick)
        yield f'<line class="g" x1="{LEFT:.1f}" x2="{WIDTH - RIGHT:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="f" x="{LEFT - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{escape(text(tick))}</text>'


def _legend(panel: _Panel, entries: Sequence[tuple[str, str]]) -> Iterator[str]:
    x = WIDTH - RIGHT
    for name, colour in entries:
        x -= 6.4 * len(name) + 28
        fill = colour if colour.startswith("var") else f"var(--{colour})"
        yield f'<rect x="{x:.1f}" y="{panel.top - 24:.1f}" width="10" height="10" rx="2" fill="{fill}"/>'
        yield f'<text x="{x + 15:.1f}" y="{panel.top - 14:.1f}">{escape(name)}</text>'


def _bar(panel: _Panel, index: int, low: float, high: float, colour: str, told: str = "") -> str:
    wide = panel.column * (1 if colour == "none" else 0.82 if panel.column > 3 else 1)
    left, y = panel.x(index) + (panel.column - wide) / 2, panel.y(high)
    title = f"<title>{escape(told)}</title>" if told else ""
    seen = ' pointer-events="all"' if colour == "none" else ""
    return (
        f'<rect x="{left:.2f}" y="{y:.2f}" width="{max(wide, 0.5):.2f}" height="{panel.y(low) - y:.2f}" '
        f'fill="{colour}"{seen}>{title}</rect>'
    )


def _line(panel: _Panel, values: Sequence[float | None], name: str) -> Iterator[str]:
    """A line through the middles of the buckets, broken where nothing has ended; alone, a value is a dot."""
    path, before = list[str](), None
    for index, value in enumerate(values):
        if value is not None:
            x, y = panel.x(index + 0.5), panel.y(value)
            path.append(f"{'L' if before is not None else 'M'}{x:.1f} {y:.1f}")
            alone = before is None and (index + 1 == len(values) or values[index + 1] is None)
            if alone or panel.column > 12:
                yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="var(--{name})"/>'
        before = value
    yield f'<path class="l" stroke="var(--{name})" d="{"".join(path)}"/>'


def _dates(panel: _Panel, buckets: Sequence[Mapping[str, Json]]) -> Iterator[str]:
    every = -(-len(buckets) // LABELS)
    daily = all(_length(bucket) > timedelta(hours=1) for bucket in buckets[1:-1] or buckets)
    for index in range(0, len(buckets), every):
        at = datetime.fromisoformat(buckets[index]["from"])
        text = f"{at:%m-%d}" if daily else f"{at:%m-%d %H:%M}"
        x = panel.x(index + 0.5)
        yield f'<text class="f" x="{x:.1f}" y="{panel.top + HEIGHT + 18:.1f}" text-anchor="middle">{text}</text>'


def _length(bucket: Mapping[str, Json]) -> timedelta:
    return datetime.fromisoformat(bucket["to"]) - datetime.fromisoformat(bucket["from"])


def _when(bucket: Mapping[str, Json]) -> str:
    at = datetime.fromisoformat(bucket["from"])
    return f"{at:%Y-%m-%d %H:%M %Z}"


def _colour(name: str) -> str:
    return f"var(--{'completed' if name == 'done' else name})"
