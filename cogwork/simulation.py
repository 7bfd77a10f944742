"""Simulating workflows and running their tests, with the tools, models and prompts of the settings as patterns for mocks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from graphs.simulation.cases import CaseResult, run_cases
from graphs.simulation.report import Report
from graphs.simulation.simulate import Bounds, simulate

if TYPE_CHECKING:
    from cogwork.app import App, Source
    from state.values import Json


def simulated(app: App, source: Source, bounds: Bounds | None = None) -> Report:
    """Every path through a workflow, as far as the bounds allow; nothing real is called.

    Raises:
        SpecError: it cannot be loaded or built.
        InputRefused: an input that is given does not fit.
    """
    return simulate(app.load(source), app.services, app.resolve, bounds)


def tested(app: App, source: Source, only: Collection[str] | None = None) -> list[CaseResult]:
    """The results of the tests that a workflow holds, in their order; nothing real is called.

    Raises:
        SpecError: it cannot be loaded or built.
    """
    return run_cases(app.load(source), app.services, app.resolve, only)


def bounds_of(
    *,
    input: Mapping[str, Json] | None,
    context: Mapping[str, Json] | None,
    recording: Mapping[str, Json] | None,
    runs: int,
    seconds: float,
    prices: Mapping[str, tuple[float, float]] | None,
) -> Bounds:
    """The bounds of a walk, from what may be left out."""
    return Bounds(
        runs=runs,
        seconds=seconds,
        input=input or {},
        context=context or {},
        recording=recording,
        prices=prices or {},
    )
