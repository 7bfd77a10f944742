"""What a call of the benchmarks is to do."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How much to measure, and on what."""

    data: Path = ROOT.parent / "shared" / "data" / "workflow_dags"
    runs: int = 20
    critical_path: float = 3.0
    """Seconds that the longest path of every real graph is scaled to."""
    only_graphs: tuple[str, ...] = ()
    """Parts of the names of the real graphs to run; empty runs all."""
    repetitions: int = 40
    """Of the overhead figures."""
    size: int = 100
    """Nodes of the overhead graphs; those of the language's big workflow, and of the long chain that is kept, are ten times
    as many."""
    pauses: int = 20
    """Of a node that takes ``pause_seconds``."""
    pause_seconds: float = 3.0

    def tell(self, text: str) -> None:
        """Say on the error stream what is being measured, as some figures take minutes."""
        print(text, file=sys.stderr, flush=True)


def quick(settings: Settings) -> Settings:
    """Small figures within a minute or two: enough to see that all runs, too few to quote."""
    return Settings(
        data=settings.data,
        only_graphs=settings.only_graphs,
        runs=2,
        critical_path=0.5,
        repetitions=5,
        size=settings.size,
        pauses=3,
        pause_seconds=1.0,
    )
