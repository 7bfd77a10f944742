"""Reports and comparisons for people: figures with bars, and what happened over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from cogwork.cli import render
from cogwork.metrics.axes import money, span
from state.values import Json

if TYPE_CHECKING:
    from cogwork.metrics import Comparison, Report

EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
SPARKS: Final = "▁▂▃▄▅▆▇█"
BAR: Final = 16
MOST: Final = 40
"""Hours or days that are told one by one; of more the latest."""
WORKFLOWS: Final = 30
_DURATIONS: Final = ("average", "p50", "p90", "p95", "p99")
Cell = str | tuple[str, str]


def show_report(report: Report, by: str) -> None:
    """The figures of one subject, or of everything."""
    subject = " ".join(f"{kind} {name}" for kind, name in report.subject.items()) or "all workflows"
    told = report.range
    render.say((subject, "bold cyan"), (f"  {told.start:%Y-%m-%d %H:%M} to {told.end:%Y-%m-%d %H:%M} UTC", "dim"))
    if told.note:
        render.note((told.note, "yellow"))
    render.say()
    for label, cells in _summary(report):
        render.say((f"{label:<22}", "dim"), *(part for cell in cells for part in (cell, "  ")))
    if report.workflows:
        render.say()
        _show_workflows(report.workflows)
    buckets = report["throughput"]
    if len(buckets) > 1 and report["execution_count"]:
        render.say()
        _show_buckets(buckets, by)


def _summary(report: Report) -> Iterator[tuple[str, list[Cell]]]:
    figures = report.figures
    steps = "waiting_seconds" not in figures
    counts = [bucket["execution_count"] for bucket in figures["throughput"]]
    yield "steps" if steps else "executions", [f"{figures['execution_count']:,}", (sparks(counts), "cyan")]
    statuses = ", ".join(f"{count:,} {status}" for status, count in figures["status_counts"].items())
    yield "by status", [statuses or "none"]
    yield "success", [rate(figures["success_rate"]), (bar(figures["success_rate"] or 0, 1), "green")]
    timed = [f"{name} {span(figures[f'{name}_duration'])}" for name in _DURATIONS]
    yield "duration", [" · ".join(timed) if figures["average_duration"] is not None else "nothing has ended"]
    errors = ", ".join(f"{count:,} {name}" for name, count in figures["errors_by_class"].items())
    yield "errors", [f"{figures['error_count']:,}{f': {errors}' if errors else ''}"]
    yield "retries", [f"{figures['retries']:,}"]
    yield "tokens", [f"{figures['input_tokens']:,} in, {figures['output_tokens']:,} out"]
    unpriced = figures["unpriced_steps"]
    yield "cost", [money(figures["cost_usd"]) + (f" ({unpriced:,} steps of unknown price)" if unpriced else "")]
    if not steps:
        yield "saved by parallelism", [span(figures["parallel_seconds_saved"])]
        yield "waited for people", [span(figures["waiting_seconds"])]


def _show_workflows(workflows: Mapping[str, Mapping[str, Json]]) -> None:
    shown = list(workflows.items())[:WORKFLOWS]
    most = max((each["execution_count"] for _, each in shown), default=0)
    rows = [[(name, "cyan"), *_row(each, most)] for name, each in shown]
    render.columns(rows, ("WORKFLOW", "RUNS", "", "OK", "ERRORS", "P50", "P95", "COST"))
    if len(workflows) > len(shown):
        render.note((f"and {len(workflows) - len(shown):,} more: --json shows all", "dim"))


def _show_buckets(buckets: Sequence[Mapping[str, Json]], by: str) -> None:
    shown = buckets[-MOST:]
    most = max(bucket["execution_count"] for bucket in shown)
    pattern = "%Y-%m-%d" if by == "day" else "%m-%d %H:%M %Z"
    rows = [[f"{datetime.fromisoformat(bucket['from']):{pattern}}", *_row(bucket, most)] for bucket in shown]
    render.columns(rows, (by.upper(), "RUNS", "", "OK", "ERRORS", "P50", "P95", "COST"))
    if len(buckets) > len(shown):
        render.note((f"the latest {MOST} of {len(buckets):,}: --json shows all", "dim"))


def _row(figures: Mapping[str, Json], most: int) -> list[Cell]:
    count, errors = figures["execution_count"], figures["error_count"]
    return [
        f"{count:>5,}",
        (bar(count, most).ljust(BAR), "cyan"),
        f"{rate(figures['success_rate']):>7}",
        (f"{errors:,}", "red") if errors else "",
        span(figures["p50_duration"]),
        span(figures["p95_duration"]),
        money(figures["cost_usd"]) if figures["cost_usd"] != 0 else "",
    ]


def show_comparison(comparison: Comparison) -> None:
    """Two reports side by side, with the difference, and whether it is more than chance."""
    first, second = comparison.first, comparison.second
    rows: list[list[Cell]] = []
    for name, difference in comparison.differences.items():
        told = "" if not difference else f"{'+' if difference > 0 else '−'}{_shown(name, abs(difference))}"
        rows.append([(name, "dim"), _shown(name, first[name]), _shown(name, second[name]), told])
    render.columns(rows, ("", _title(first), _title(second), "DIFFERENCE"))
    if comparison.difference is not None:
        low, high = comparison.difference
        sure = "more than chance" if comparison.clear else "may be chance"
        render.say()
        render.say(f"The success rates differ by {low:+.1%} to {high:+.1%} with 95 % confidence: {sure}.")


def _title(report: Report) -> str:
    version = report.subject.get("version")
    return f"VERSION {version}" if version is not None else f"{report.range.start:%Y-%m-%d}"


def _shown(name: str, value: Json) -> str:
    if value is None:
        return "–"
    if name.endswith(("_duration", "_seconds", "_saved")):
        return span(value)
    if name == "success_rate":
        return rate(value)
    return money(value) if name == "cost_usd" else f"{value:,}"


def rate(value: float | None) -> str:
    """A rate in percent; 100 % only where it is."""
    if value is None:
        return "–"
    shown = f"{value:.1%}"
    return "99.9%" if shown == "100.0%" and value < 1 else "100%" if value == 1 else shown


def bar(value: float, most: float, width: int = BAR) -> str:
    """A bar, as long as ``value`` is of ``most``; whatever is not 0 can be seen."""
    if most <= 0 or value <= 0:
        return ""
    eighths = max(1, round(min(value / most, 1) * width * 8))
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def sparks(values: Sequence[float], width: int = 32) -> str:
    """Values as a row of little columns, gathered where there are more than ``width``."""
    each = -(-len(values) // width) or 1
    sums = [sum(values[start : start + each]) for start in range(0, len(values), each)]
    most = max(sums, default=0)
    return "".join(" " if not value else SPARKS[round(value / most * 7)] for value in sums).rstrip() if most else ""
