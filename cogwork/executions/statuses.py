"""The statuses of an execution and the moves between them, as one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, get_args

from cogwork.errors import EngineError

Status: TypeAlias = Literal["pending", "running", "paused", "completed", "failed", "cancelled"]
STATUSES: Final[tuple[str, ...]] = get_args(Status)
PausedReason: TypeAlias = Literal["human", "requested", "budget", "in_doubt", "interrupted"]
"""Why it rests: a person is asked, somebody asked for it, a limit is used up, nobody knows whether a write was done, or the
process that worked on it has died or was stopped."""
MOVES: Final[Mapping[Status, frozenset[Status]]] = {
    "pending": frozenset({"running", "paused", "failed", "cancelled"}),
    "running": frozenset({"pending", "paused", "completed", "failed", "cancelled"}),
    "paused": frozenset({"pending", "running", "failed", "cancelled"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
"""From each status where it may go. A running one becomes pending again when its worker hands it on."""
OPEN: Final[tuple[Status, ...]] = ("pending", "running", "paused")
ENDED: Final[tuple[Status, ...]] = ("completed", "failed", "cancelled")


def sources(wanted: Status) -> tuple[Status, ...]:
    """The statuses from which an execution may come to ``wanted``."""
    return tuple(status for status, following in MOVES.items() if wanted in following)


class IllegalMove(EngineError):
    """An execution cannot come to the status that was wanted; nothing has changed."""

    def __init__(self, execution: str, status: str, wanted: str, verb: str = "") -> None:
        done = f"be {verb}" if verb else f"become {wanted}"
        way = " or ".join(sorted(MOVES.get(status, ()))) if status in MOVES else ""  # type: ignore[call-overload]
        rest = f"; from {status} it may become {way}" if way else ", and that is its end"
        super().__init__(
            "illegal_move",
            f"Execution {execution} is {status} and cannot {done}{rest}",
            execution_id=execution,
            status=status,
            wanted=wanted,
        )
