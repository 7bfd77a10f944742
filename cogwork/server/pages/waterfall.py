"""Pictures of time as SVG for pages: the steps of an execution one below the other, and a workflow's figures by day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any, Final

from markupsafe import Markup

from cogwork.metrics.axes import axis, money, span
from cogwork.server.pages.story import Told

WIDTH, LABEL, ROW, TOP = 860.0, 190.0, 24.0, 26.0
MOST: Final = 200
"""Steps that are drawn."""
_STACK: Final = ("completed", "running", "pending", "paused", "cancelled", "failed")


def waterfall(steps: Sequence[Told], now: datetime) -> Markup:
    """The attempts of each step as bars on one scale of time; what has not ended reaches to ``now``."""
    timed = [step for step in steps if step.attempts][:MOST]
    if not timed:
        return Markup("")
    begin = min(step.attempts[0].began for step in timed)
    end = max((attempt.ended or now) for step in timed for attempt in step.attempts)
    total = max((end - begin).total_seconds(), 0.001)
    marks = [mark for mark in axis(total)[0] if mark <= total * 1.02]
    height = TOP + ROW * len(timed) + 6
    scale = (WIDTH - LABEL - 130) / total
    parts = [_head("waterfall", WIDTH, height, f"Timeline of {len(timed)} steps over {span(total)}")]
    for mark in marks:
        x = LABEL + mark * scale
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP - 6:.1f}V{height - 4:.1f}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="12" text-anchor="middle">{escape(span(mark))}</text>')
    for index, step in enumerate(timed):
        parts += _bars(step, TOP + index * ROW, begin, now, scale)
    return Markup("\n".join([*parts, "</svg>"]))


def _bars(step: Told, y: float, begin: datetime, now: datetime, scale: float) -> Iterator[str]:
    name = step.path if len(step.path) <= 27 else f"{step.path[:26]}…"
    yield f'<g><title>{escape(_said(step, now))}</title><text class="name" x="0" y="{y + 15:.1f}">{escape(name)}</text>'
    right = LABEL
    for attempt in step.attempts:
        x = LABEL + (attempt.began - begin).total_seconds() * scale
        wide = max(2.5, ((attempt.ended or now) - attempt.began).total_seconds() * scale)
        outcome = attempt.outcome if attempt.ended else step.state
        yield f'<rect class="bar s-{_class(outcome)}" x="{x:.1f}" y="{y + 4:.1f}" width="{wide:.1f}" height="14" rx="3"/>'
        right = max(right, x + wide)
    took = sum(((each.ended or now) - each.began).total_seconds() for each in step.attempts)
    tries = f" · {len(step.attempts)} attempts" if len(step.attempts) > 1 else ""
    yield f'<text class="took" x="{right + 6:.1f}" y="{y + 15:.1f}">{escape(span(took) + tries)}</text></g>'


def _said(step: Told, now: datetime) -> str:
    took = sum(((each.ended or now) - each.began).total_seconds() for each in step.attempts)
    return f"{step.path}: {step.state}, {span(took)} in {len(step.attempts)} attempts"


def _class(outcome: str) -> str:
    return outcome.replace(" ", "-") if outcome.replace(" ", "").isalpha() else "none"


# -- figures ---------------------------------------------------------------------------------------------------------


def over_time(buckets: Sequence[Mapping[str, Any]]) -> Markup:
    """Executions by status, durations (median and 95th percentile) and cost by day, one above the other."""
    if not buckets:
        return Markup("")
    counts = [sum(bucket["status_counts"].values()) for bucket in buckets]
    slow = [bucket["p95_duration"] or 0.0 for bucket in buckets]
    cost = [bucket["cost_usd"] or 0.0 for bucket in buckets]
    panels: list[tuple[Any, ...]] = [(_stacks, buckets, max(counts))]
    panels += [(_lines, buckets, max(slow))] if any(slow) else []
    panels += [(_costs, cost)] if any(cost) else []
    height = 12 + len(panels) * _STEP
    parts = [
        _head("figures", WIDTH, height, f"Executions, durations and cost over {len(buckets)} days, as in the table")
    ]
    for row, (draw, *given) in enumerate(panels):
        parts += draw(row, *given)
    for index in _labelled(len(buckets)):
        day = str(buckets[index]["from"])[5:10]
        parts.append(
            f'<text class="tick" x="{_x(index + 0.5, len(buckets)):.1f}" y="{height - 4:.0f}" text-anchor="middle">{day}</text>'
        )
    return Markup("\n".join([*parts, "</svg>"]))


_LEFT, _RIGHT, _TALL, _STEP = 70.0, 12.0, 84.0, 120.0


def _x(place: float, count: int) -> float:
    return _LEFT + place * (WIDTH - _LEFT - _RIGHT) / count


def _panel(row: int, title: str, most: float, write: Any, *, whole: bool = False) -> tuple[list[str], float, float]:
    """The frame of one panel, its base line and the height of one unit."""
    marks, top = axis(most, whole=whole)
    base = 26 + row * _STEP + _TALL
    parts = [f'<text class="title" x="0" y="{base - _TALL - 12:.1f}">{escape(title)}</text>']
    for mark in marks:
        y = base - mark * _TALL / top
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(
            f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(write(mark))}</text>'
        )
    return parts, base, _TALL / top


def _stacks(row: int, buckets: Sequence[Mapping[str, Any]], most: int) -> Iterator[str]:
    parts, base, unit = _panel(row, "Executions", most, lambda mark: f"{mark:.0f}", whole=True)
    yield from parts
    for index, bucket in enumerate(buckets):
        y, left, right = base, _x(index + 0.15, len(buckets)), _x(index + 0.85, len(buckets))
        for name in _STACK:
            if count := bucket["status_counts"].get(name, 0):
                y -= count * unit
                title = f"{str(bucket['from'])[:10]}: {count} {name}"
                yield (
                    f'<rect class="bar s-{name}" x="{left:.1f}" y="{y:.1f}" width="{right - left:.1f}" '
                    f'height="{count * unit:.1f}"><title>{title}</title></rect>'
                )


def _lines(row: int, buckets: Sequence[Mapping[str, Any]], most: float) -> Iterator[str]:
    parts, base, unit = _panel(row, "Duration: median (solid) and 95th percentile (dashed)", most, span)
    yield from parts
    for name in ("p50_duration", "p95_duration"):
        known = [(i, bucket[name]) for i, bucket in enumerate(buckets) if bucket[name] is not None]
        points = [(_x(i + 0.5, len(buckets)), base - value * unit) for i, value in known]
        if len(points) > 1:
            yield f'<path class="line {name[:3]}" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>'
        for x, y in points:
            yield f'<circle class="dot {name[:3]}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'


def _costs(row: int, cost: Sequence[float]) -> Iterator[str]:
    parts, base, unit = _panel(row, "Cost", max(cost, default=0.0), money)
    yield from parts
    for index, value in enumerate(cost):
        if value:
            left, right = _x(index + 0.25, len(cost)), _x(index + 0.75, len(cost))
            yield (
                f'<rect class="bar cost" x="{left:.1f}" y="{base - value * unit:.1f}" '
                f'width="{right - left:.1f}" height="{value * unit:.1f}"/>'
            )


def _labelled(count: int) -> range:
    return range(0, count, max(1, -(-count // 8)))


def _head(kind: str, width: float, height: float, name: str) -> str:
    return f'<svg class="{kind}" viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(name)}">'
