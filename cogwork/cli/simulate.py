"""The commands that try workflows on mocks: ``simulate`` and ``test``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cogwork.cli import context, exits, render
from cogwork.cli.exits import Refusal

if TYPE_CHECKING:
    from cogwork.app import App
    from graphs.simulation.cases import CaseResult

Pairs = Annotated[list[str] | None, typer.Option("-i", metavar="NAME=VALUE", help="Fix an input.", show_default=False)]
Runs = Annotated[int, typer.Option("--runs", min=1, help="Simulate at most so many runs.")]
Seconds = Annotated[float, typer.Option("--seconds", min=0.1, help="Simulate for at most so long.")]
Price = Annotated[
    list[str] | None,
    typer.Option("--price", metavar="MODEL=IN,OUT", help="USD per million tokens; * for any.", show_default=False),
]


def simulate(
    workflow: context.WorkflowName,
    inputs: Pairs = None,
    input: Annotated[
        str | None,
        typer.Option("--input", help="Fix inputs: JSON, a file, or - for standard input.", show_default=False),
    ] = None,
    recording: Annotated[
        str | None, typer.Option(metavar="RUN", help="Take the results of this run for mocks.", show_default=False)
    ] = None,
    runs: Runs = 1000,
    seconds: Seconds = 60.0,
    price: Price = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if a branch is not covered or a limit may be exceeded.")
    ] = False,
    json: context.Json = False,
) -> None:
    """Walk every path through a workflow on mocks, and tell what no path covers, and what it may take."""
    from cogwork.cli.simulated import show_report
    from cogwork.cli.values import gathered
    from cogwork.simulation import bounds_of, simulated

    app = context.opened()
    loaded = app.load(workflow)
    given = gathered(loaded.spec.input, inputs or [], input)
    bounds = bounds_of(
        input=given,
        context=None,
        recording=_recording(app, recording),
        runs=runs,
        seconds=seconds,
        prices=dict(_price(text) for text in price or []),
    )
    report = simulated(app, loaded, bounds)
    if json:
        render.write_json(report.to_dict())
    else:
        show_report(report)
    raise typer.Exit(exits.FAILED if strict and (report.gaps or report.excesses) else exits.DONE)


def _recording(app: App, name: str | None) -> Any:
    """The state that an earlier run left.

    Raises:
        UnknownRun: there is no such run.
    """
    if name is None:
        return None
    with context.kept_runs(app) as kept:
        return kept.find(name).values


def _price(text: str) -> tuple[str, tuple[float, float]]:
    model, _, amounts = text.rpartition("=")
    try:
        told, said = (float(amount) for amount in amounts.split(","))
    except ValueError:
        told = said = -1.0
    if not model or told < 0 or said < 0:
        raise Refusal(
            f"--price {text!r} is not of the form model=in,out", "such as --price openai:gpt-4o-mini=0.15,0.6"
        )
    return model, (told, said)


def test(
    names: Annotated[list[str], typer.Argument(metavar="WORKFLOW...", help="Files or names.", show_default=False)],
    only: Annotated[
        list[str] | None, typer.Option("--only", "-k", metavar="TEST", help="Run only this test.", show_default=False)
    ] = None,
    json: context.Json = False,
) -> None:
    """Run the tests that workflows hold, on mocks. Exits with 1 if one fails."""
    from cogwork.simulation import tested

    app = context.opened()
    found = {name: tested(app, name, only) for name in names}
    results = [result for each in found.values() for result in each]
    if json:
        render.write_json([result.to_dict() for result in results])
    else:
        for name, each in found.items():
            _show_tests(name, each)
    if only and not results:
        raise Refusal(f"There is no test {', '.join(only)}", "leave out --only to run all", exits.MISSING)
    raise typer.Exit(exits.DONE if all(result.passed for result in results) else exits.FAILED)


test.__test__ = False  # type: ignore[attr-defined]


def _show_tests(name: str, results: list[CaseResult]) -> None:
    render.say((Path(name).name, "bold"), ("" if results else "  no tests", "dim"))
    for result in results:
        mark, style = ("✓", "green") if result.passed else ("✗", "bold red")
        render.say(("  " + mark + " ", style), result.name, (f"  {result.description}", "dim"))
        for difference in result.differences:
            for line in str(difference).splitlines():
                render.say("      ", (line, "green" if line.startswith("+") else "red" if line.startswith("-") else ""))
        for warning in result.warnings:
            render.note(("      warning: ", "yellow"), warning)
    if results:
        passed = sum(result.passed for result in results)
        render.say(f"  {passed} of {len(results)} passed")
