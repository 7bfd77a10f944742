"""The command ``diff``: what differs between two runs, for people and for programs."""

from __future__ import annotations

import json as _json
from collections.abc import Mapping, Sequence, Set
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from cogwork.cli import context, exits, render
from cogwork.cli.differences import ABSENT, NOT_BEGUN, Difference, differences, excerpts, order, times
from cogwork.cli.reasons import brief_cause, brief_error, brief_status

if TYPE_CHECKING:
    from cogwork.store.runs import RunSummary
    from state.values import Json

First = Annotated[str, typer.Argument(metavar="RUN_A", help="Thread id, run id, or its beginning.", show_default=False)]
Second = Annotated[str, typer.Argument(metavar="RUN_B", help="The run to compare it with.", show_default=False)]
Times = Annotated[
    bool, typer.Option("--times", help="Also what each step took, and in which order they ended; equal or not.")
]
MOST: Final = 12
"""How many differences of one step, or of the input or output, are shown to people."""
WIDE: Final = 160
"""The width of the text where it goes to no terminal."""


def diff(run_a: First, run_b: Second, with_times: Times = False, json: context.Json = False) -> None:
    """What differs between two runs: workflow, input, steps with their values, and output.

    Prints nothing where nothing differs. Exits with 0 if they are the same, with 1 if they differ. Durations, and the
    order in which parallel steps ended, are no differences.
    """
    with context.kept_runs(context.opened()) as runs:
        one, other = runs.find(run_a), runs.find(run_b)
    found = differences(one, other)
    if json:
        render.write_json(_as_json(one, other, found))
    else:
        if found or with_times:
            _show_runs(one, other)
        _show_differences(found)
        if with_times:
            _show_times(one, other)
    raise typer.Exit(exits.DIFFERENT if found else exits.DONE)


def _as_json(one: RunSummary, other: RunSummary, found: Sequence[Difference]) -> dict[str, Json]:
    a, b = order(one, other)
    return {
        "equal": not found,
        "a": one.to_dict(),
        "b": other.to_dict(),
        "differences": [each.to_dict() for each in found],
        "order": {"a": a, "b": b} if a else None,
        "seconds": {path: {"a": left, "b": right} for path, (left, right) in times(one, other).items()},
    }


def _show_runs(one: RunSummary, other: RunSummary) -> None:
    for sign, style, summary in (("−", "red", one), ("+", "green", other)):
        mark = f"{render.MARKS[summary.status]} {brief_status(summary.status, summary.reason)}"
        render.say((f"{sign} {summary.thread}", style), "  ", (mark, render.STYLES[summary.status]))


def _show_differences(found: Sequence[Difference]) -> None:
    for section, members in groupby(found, key=lambda each: each.section):
        render.say()
        render.say((section.capitalize(), "bold"))
        inner = {each.step for each in found if each.step}
        for step, group in groupby(members, key=lambda each: each.step):
            listed = list(group)
            shown = _of_step(step, listed, inner) if step else [_line(each) for each in listed]
            for line in shown[:MOST]:
                _show_line(*line)
            if len(shown) > MOST:
                render.say((f"  … and {len(shown) - MOST} more differences; --json has them all", "dim"))


Line: TypeAlias = tuple[str, str, str]
"""A place and what either run has there."""


def _of_step(step: str, found: Sequence[Difference], differing: Set[str]) -> list[Line]:
    """The lines of one step: how it ended, if that differs, else its value; a loop's value is told by its items."""
    by_name = {each.what: each for each in found}
    ended = "status" in by_name
    told = [each for each in found if each.what not in ("status", "cause", "error", "value")]
    lines = [_line(each) for each in told]
    if ended or by_name.keys() & {"cause", "error"}:
        sides = [{name: getattr(each, side) for name, each in by_name.items() if not each.path} for side in "ab"]
        return [(f"  {step}", _ending(sides[0]), _ending(sides[1])), *lines]
    loop = any(other.startswith((f"{step}[", f"{step}.")) for other in differing)
    return [*lines, *(_line(each) for each in found if each.what == "value" and not loop)]


def _ending(side: Mapping[str, Any]) -> str:
    """How a step ended, in a few words, by those of its properties that differ."""
    status = str(side.get("status", "")) if side.get("status") is not ABSENT else NOT_BEGUN
    if side.get("cause", ABSENT) is not ABSENT:
        return f"{status or 'skipped'}: {brief_cause(side['cause'], side.get('error'))}"
    if side.get("error", ABSENT) is not ABSENT:
        return f"{status or 'failed'}: {brief_error(side['error'])}"
    return f"{status}: {text(side['value'])}" if side.get("value", ABSENT) is not ABSENT else status or "no error"


def _line(each: Difference) -> Line:
    return f"  {each.where}", text(each.a), text(each.b)


def text(value: Any) -> str:
    """A value on one line: a failure as its sentence, anything else as JSON."""
    if value is ABSENT:
        return "nothing"
    if isinstance(value, dict) and {"class", "message"} <= value.keys():
        return brief_error(value)
    return _json.dumps(value, ensure_ascii=False)


def _show_line(place: str, left: str, right: str) -> None:
    """On one line where both sides fit beside the place, else on a line for each side."""
    console = render.out()
    width = console.width if console.is_terminal else WIDE
    left, right = excerpts(left, right, max(24, width - 6))
    if len(place) + len(left) + len(right) + 5 <= width:
        render.say((place, "cyan"), "  ", (left, "red"), (" → ", "dim"), (right, "green"))
        return
    render.say((place, "cyan"))
    render.say((f"    − {left}", "red"))
    render.say((f"    + {right}", "green"))


def _show_times(one: RunSummary, other: RunSummary) -> None:
    render.say()
    spent = times(one, other)
    rows = [[path or "(the run)", _took(a), _took(b)] for path, (a, b) in spent.items()]
    render.columns(rows, ("TOOK", "−", "+"))
    a, b = order(one, other)
    if a:
        render.say()
        render.say(("Ended in this order", "bold"))
        for sign, style, paths in (("−", "red", a), ("+", "green", b)):
            render.say((f"  {sign} ", style), " ".join(paths))


def _took(spent: float | None) -> str:
    return "" if spent is None else f"{spent:.3f} s"
