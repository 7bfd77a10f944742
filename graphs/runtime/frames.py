"""The parts of one run in memory: its frames, one for each opening of a scope, and the instances of steps in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from graphs.analysis.plan import PlannedStep, Scope
from graphs.runtime.joins import Settled, Verdict
from state.values import Json

Record = dict[str, Json]
_INDEX = re.compile(r"\[\d+\]")
CALLING = ("llm", "tool")
"""The kinds that call models and tools."""
FINAL = frozenset({"done", "skipped", "failed"})
OVER = FINAL | {"cancelled"}
STAGES = ("on_failure", "undo", "finally")
"""What follows a workflow's own steps, in this order."""


@dataclass(slots=True, kw_only=True, eq=False)
class Frame:
    """One opening of a scope: the workflow itself, one item of a loop, or a used workflow."""

    scope: Scope
    path: str
    parent: Frame | None
    header: Instance | None
    index: int = 0
    locals: Mapping[str, Json] = field(default_factory=dict)
    input: Json = None
    members: dict[str, Instance] = field(default_factory=dict)
    view: dict[str, Settled] = field(default_factory=dict)
    """What is settled and in the checkpoint, by step id."""
    ahead: dict[str, Settled] = field(default_factory=dict)
    """``view`` and what has finished since, checkpointed or not."""
    error: Record | None = None
    stages: dict[str, Instance] = field(default_factory=dict)
    """The holders of what follows its steps, by the names in ``STAGES``."""
    active: int = 0
    """Instances at work or finished but not yet in the checkpoint, at any depth below."""
    open: set[str] = field(default_factory=set)
    """Paths of its loops, used workflows and blocks that have begun, and of its calls of which nobody knows how they ended."""

    @property
    def prefix(self) -> str:
        """What the paths of its members begin with."""
        return f"{self.path}." if self.path else ""

    @property
    def busy(self) -> bool:
        """Whether something in it has yet to come to rest, also after a failure."""
        return bool(self.active or self.open)

    @property
    def settled(self) -> bool:
        """Whether nothing in it can go on."""
        return len(self.view) == len(self.scope.names) or (self.error is not None and not self.busy)

    def outward(self) -> Iterator[Frame]:
        """The frame and those around it."""
        current: Frame | None = self
        while current is not None:
            yield current
            current = current.parent


@dataclass(slots=True, kw_only=True, eq=False)
class Instance:
    """One execution of a step at its path."""

    planned: PlannedStep
    path: str
    frame: Frame
    state: Literal["new", "ready", "active", "open", "waiting", "settled"] = "new"
    verdict: Verdict = "wait"
    given: Json = None
    """What a loop or used workflow began with: its items, the first ``previous``, or the input."""
    opened: int = 0
    frames: dict[int, Frame] = field(default_factory=dict)
    """The open frames of a loop or used workflow, by index."""


def bare(path: str) -> str:
    """The id of the step whose instance has this path: the path without the indices of items and iterations."""
    return _INDEX.sub("", path)


def within(frame: Frame) -> Iterator[Frame]:
    """The frame and those around it, up to the stage that it is in: what happens before a stage does not reach into it."""
    for around in frame.outward():
        yield around
        if around.scope.kind == "stage":
            return


def in_stage(frame: Frame) -> bool:
    """Whether the frame belongs to what follows a workflow's steps."""
    return any(around.scope.kind == "stage" for around in frame.outward())


def settled(member: Instance, record: Record, value: Json) -> Settled:
    """What the joins see of a record, ``value`` being the instance's."""
    status = record["status"]
    selected: frozenset[str] = frozenset()
    if status == "done" and member.planned.kind == "condition":
        selected = frozenset((value or {}).get("selected", ()))
    elif status == "failed" and record.get("handled_by"):
        selected = frozenset({record["handled_by"]})
    return Settled(status, record.get("cause"), selected, member.path)


def handled(record: Record) -> bool:
    """Whether a failure was dealt with by the step's own ``on_error``."""
    return record.get("handled_by") is not None
