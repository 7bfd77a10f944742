"""What happens in a run, as one typed stream; the same objects in Python, the command line and LangGraph's ``custom`` mode."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

from state.values import Json

EventKind: TypeAlias = Literal[
    "run.started",
    "run.resumed",
    "run.completed",
    "run.failed",
    "run.cancelled",
    "run.paused",
    "run.pausing",
    "step.started",
    "step.token",
    "step.progress",
    "step.handoff",
    "step.retry",
    "step.fallback",
    "step.finished",
    "step.skipped",
    "step.failed",
    "step.cancelled",
    "step.undone",
    "step.opened",
    "step.waiting",
    "item.started",
    "item.finished",
]
EVENT_KINDS: Final[tuple[str, ...]] = get_args(EventKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One happening: ``step`` is the path of the step it is about (empty for the run), ``data`` depends on the kind.

    ``step.token`` carries ``text``; ``step.progress`` ``done``, ``total`` (None where unknown) and ``message``;
    ``step.handoff`` ``source``, ``target``, ``by`` (``trigger`` or ``model``) and ``told``; ``step.retry`` ``attempt``, ``wait``
    (seconds) and ``error``; ``step.fallback`` ``fallback`` and ``error``; ``step.finished`` ``seconds``, ``attempts`` and, where
    they apply, ``usage``, ``prompt``, ``fallback``, ``cached``, ``given`` and ``truncated``; ``step.skipped`` ``cause``;
    ``step.failed``, ``run.failed`` and ``run.cancelled`` ``error``; ``step.undone`` ``of`` and, where it could not be, ``error``;
    ``step.opened`` ``count``; ``step.waiting`` the question; ``run.completed`` ``output``; ``run.pausing`` and ``run.paused``
    ``reason``, the latter also ``questions``. The last event has ``usage`` where a model was asked: what the whole run has used.
    """

    kind: EventKind
    run: str
    at: str
    step: str = ""
    data: dict[str, Json] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The event as plain JSON."""
        return {**self.data, "event": self.kind, "run": self.run, "at": self.at, "step": self.step}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Event:
        """The event that ``to_dict`` gave."""
        rest = {key: value for key, value in raw.items() if key not in ("event", "run", "at", "step")}
        return cls(kind=raw["event"], run=raw["run"], at=raw["at"], step=raw.get("step", ""), data=rest)


def is_event(chunk: Any) -> bool:
    """Whether a chunk of LangGraph's ``custom`` stream is one of ours."""
    return isinstance(chunk, dict) and chunk.get("event") in EVENT_KINDS
