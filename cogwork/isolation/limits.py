"""What an isolated execution may use, and what keeps it to that on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field

Hold: TypeAlias = Literal[
    "environment",
    "handles",
    "memory",
    "cpu",
    "wall",
    "output",
    "privileges",
    "files",
    "disk",
    "processes",
    "signals",
    "orphans",
    "user",
    "network",
]
"""Something that an isolated execution cannot get around."""
HOLDS: Final[tuple[Hold, ...]] = get_args(Hold)
ALWAYS: Final[frozenset[Hold]] = frozenset({"environment", "handles", "memory", "cpu", "wall", "output"})
"""What holds on every Linux."""
Limit: TypeAlias = Literal["memory", "cpu", "wall", "output", "files", "processes", "protocol", "killed"]
"""What ended an isolated execution before its time."""
MB: Final = 1024 * 1024


class Isolation(BaseModel):
    """The limits of one stretch of an isolated execution: from its start, or from an answer, to where it ends or rests.

    Its processes together may use ``memory_mb`` beside what a fork has from the start, and ``cpu_s`` of processor time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory_mb: int = Field(512, ge=16, le=1_048_576, description="Memory beyond that of a fresh fork, in MiB.")
    cpu_s: int = Field(300, ge=1, le=31_536_000, description="Processor time of all its processes, in seconds.")
    wall_s: float = Field(3600.0, gt=0, le=31_536_000, description="Time by the clock, in seconds.")
    output_bytes: int = Field(4 * MB, ge=1024, description="What it may print; more ends it.")
    file_mb: int = Field(64, ge=1, le=1_048_576, description="The largest file that it may write, in MiB.")
    disk_mb: int = Field(256, ge=1, le=1_048_576, description="What its folder may hold, in MiB.")
    processes: int = Field(64, ge=8, le=10_000, description="Processes and threads at once.")
    open_files: int = Field(256, ge=32, le=65_536, description="Files and sockets that each process may have open.")
    message_mb: int = Field(
        32, ge=1, le=256, description="The largest message to its worker, in MiB: a checkpoint is one."
    )
    heed_s: float = Field(10.0, ge=0, le=3600, description="How long it may go on once it was cancelled, in seconds.")
    network: bool = Field(False, description="Whether it may reach the network of the machine.")
    require: frozenset[Hold] = Field(
        frozenset(), description="What must hold; where the machine lacks it, the execution is refused."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Containment:
    """What holds here: ``held`` of ``HOLDS``, and why the others do not."""

    held: tuple[Hold, ...]
    reasons: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[Hold, ...]:
        """What an execution is not kept from."""
        return tuple(each for each in HOLDS if each not in self.held)

    def without(self, *names: Hold) -> Containment:
        """The same, where these were waived."""
        return Containment(held=tuple(each for each in self.held if each not in names), reasons=self.reasons)

    def to_dict(self) -> dict[str, Any]:
        """The containment as plain JSON, as the last event carries it."""
        told: dict[str, Any] = {"held": list(self.held), "missing": list(self.missing)}
        return {**told, "reasons": list(self.reasons)} if self.reasons else told
