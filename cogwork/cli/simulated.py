"""A simulation's report for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cogwork.cli import render
from graphs.simulation.mocks import CHARACTERS_PER_TOKEN

if TYPE_CHECKING:
    from graphs.simulation.bounds import Cost, Worst
    from graphs.simulation.report import End, Report

MOST_ENDS = 12
"""So many ends are shown; ``--json`` has them all."""


def show_report(report: Report) -> None:
    """The whole report: coverage, gaps, ends, time, cost and limits."""
    walked = "every path" if report.complete else "not every path"
    render.say((report.workflow, "bold"), f"  {report.runs} runs, {report.paths} different paths, {walked}")
    if report.bound:
        render.say(
            ("the walk was cut: ", "yellow"), f"the bound on {report.bound} was reached before all choices were tried"
        )
    for place in report.narrowed:
        render.say(("narrowed: ", "yellow"), f"{place} was chosen anew only for the first items or iterations")
    for word, (covered, total) in (("steps", report.nodes), ("branches", report.branches)):
        render.say((f"{word:9}", "dim"), f"{covered} of {total} covered", ("" if covered == total else "  ✗", "red"))
    for gap in report.gaps:
        render.say(("  not covered: ", "red"), str(gap.branch), (f"  {gap.reason}", "dim"))
    _ends(report)
    render.say(("time     ", "dim"), _time(report.worst))
    render.say(("cost     ", "dim"), _cost(report.cost))
    for excess in report.excesses:
        render.say(
            ("limit    ", "dim"),
            (f"limits.{excess.limit} is {excess.value:g}; a path may use {excess.most:g}", "yellow"),
        )
    for warning in report.warnings:
        render.note(("warning: ", "yellow"), warning)


def _ends(report: Report) -> None:
    render.say(("ends", "dim"))
    for end in report.ends[:MOST_ENDS]:
        mark, style = render.MARKS.get(end.status, "·"), render.STYLES.get(end.status, "")
        error = f"  {end.error.get('class')} at {end.error.get('node')}" if end.error else ""
        render.say((f"  {mark} {end.status}", style), (error, "red"), f"  {' → '.join(end.path) or 'no step done'}")
        render.say(("      for example: ", "dim"), _example(end))
    if len(report.ends) > MOST_ENDS:
        render.say((f"  and {len(report.ends) - MOST_ENDS} more; --json lists them", "dim"))


def _example(end: End) -> str:
    said = [f"{at.rstrip('!#%~?|')} {label}" for at, label in end.choices if not at.startswith("input")]
    given = [f"input {json.dumps(end.input, ensure_ascii=False)}"] if end.input else []
    return ", ".join([*given, *said]) or "always"


def _time(worst: Worst) -> str:
    shown = f"at most {_span(worst.seconds)}"
    if worst.seconds != worst.working:
        shown += f", {_span(worst.working)} of it work"
    if worst.unbounded:
        shown += f"; without any bound: {', '.join(worst.unbounded)}"
    return shown


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _cost(cost: Cost) -> str:
    if not cost.calls:
        return "no model is asked"
    most = "no bound" if cost.most_tokens is None else f"{cost.most_tokens:,}"
    shown = f"{cost.least_tokens:,} to {most} tokens a run ({CHARACTERS_PER_TOKEN} characters count as one token)"
    if cost.least_usd is not None:
        shown += f", {cost.least_usd:.4f} to {'no bound' if cost.most_usd is None else f'{cost.most_usd:.4f}'} USD"
    if cost.unbounded:
        shown += f"; without max_tokens: {', '.join(cost.unbounded)}"
    return shown
