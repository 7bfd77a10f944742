"""What a simulation found: the ends that a workflow can come to, what no path covers, and what it may take."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from graphs.simulation.bounds import Cost, Worst
from graphs.simulation.coverage import Branch
from state.values import Json

Bound: TypeAlias = Literal["", "runs", "seconds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One way in which the workflow ends, with an example of how it comes to it.

    ``path`` holds the steps that were done, in order; ``nodes`` the status of every step by path; ``choices`` pairs of what
    was chosen and how; ``runs`` counts the simulated runs that ended so.
    """

    status: str
    path: tuple[str, ...]
    nodes: dict[str, str]
    error: dict[str, Json] | None
    input: Json
    choices: tuple[tuple[str, str], ...]
    output: Json
    worst: Worst
    cost: Cost
    runs: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A branch that no simulated path took, and why as far as that is known."""

    branch: Branch
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """A limit of the workflow that some path may exceed: its name, its value, and the most that a path may use."""

    limit: str
    value: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of ``simulate``.

    ``complete`` says that every choice was tried; else ``bound`` tells what ended the walk, or ``narrowed`` at which points
    the later of many items and iterations only repeated the choice before. Times and costs are over all paths.
    """

    workflow: str
    runs: int
    paths: int
    complete: bool
    bound: Bound
    narrowed: tuple[str, ...]
    ends: tuple[End, ...]
    covered: tuple[Branch, ...]
    gaps: tuple[Gap, ...]
    worst: Worst
    cost: Cost
    excesses: tuple[Excess, ...]
    warnings: tuple[str, ...]

    @property
    def nodes(self) -> tuple[int, int]:
        """How many steps were done in some path, and how many there are."""
        return _counts(self, steps=True)

    @property
    def branches(self) -> tuple[int, int]:
        """How many branches were taken in some path, and how many there are; the steps themselves left out."""
        return _counts(self, steps=False)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON."""
        plain = asdict(self)
        plain["covered"] = [str(branch) for branch in self.covered]
        plain["gaps"] = [{"branch": str(gap.branch), "reason": gap.reason} for gap in self.gaps]
        for end in plain["ends"]:
            end["choices"] = [{"at": at, "choice": choice} for at, choice in end["choices"]]
        return plain


def _counts(report: Report, *, steps: bool) -> tuple[int, int]:
    covered = sum(1 for branch in report.covered if (branch.way == "") == steps)
    return covered, covered + sum(1 for gap in report.gaps if (gap.branch.way == "") == steps)
