"""What a clean-up took away, or would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from state.values import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Counts of rows, ``threads`` whose checkpoints went, and the ``bytes`` that payloads took in the database.

    ``busy`` counts threads that somebody works on, whose checkpoints wait for the next sweep; ``finished`` is false where the
    sweep was stopped before it had come to the end.
    """

    executions: int = 0
    segments: int = 0
    steps: int = 0
    events: int = 0
    tags: int = 0
    batches: int = 0
    threads: int = 0
    busy: int = 0
    payloads: int = 0
    bytes: int = 0
    sessions: int = 0
    conversations: int = 0
    topics: int = 0
    messages: int = 0
    firings: int = 0
    finished: bool = True

    def plus(self, counts: Mapping[str, int]) -> Report:
        """The report with these counts added."""
        known = {each.name: getattr(self, each.name) for each in fields(self)}
        return Report(**{**known, **{name: known[name] + count for name, count in counts.items()}})

    def to_dict(self) -> dict[str, Json]:
        """As plain JSON."""
        return asdict(self)
