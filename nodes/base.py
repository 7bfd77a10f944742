"""What every step of a workflow has: its edges, its conditions and its failure policy; and what a node kind must offer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from nodes.execution import Compiled as Compiled
from nodes.execution import Outcome as Outcome
from nodes.execution import Recorder as Recorder
from nodes.execution import StepCall as StepCall
from state.errors import FaultClass
from state.services import Effect, Services
from state.values import Json, Schema

NAME = re.compile(r"[A-Za-z_]\w*")
"""A name that expressions can use bare; others are written ``steps['a-b']``."""
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|s|m|h|d))")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(value: Any) -> float:
    """A duration in seconds, from a number of seconds or text such as ``30s``, ``1h30m`` or ``3d``."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        amount = float(value)
    else:
        parts = _DURATION.findall(value) if isinstance(value, str) else []
        if not parts or "".join(n + u for n, u in parts) != value.replace(" ", ""):
            raise ValueError("must be a duration such as 30s, 10m, 1h30m or 3d, or a number of seconds")
        amount = sum(float(n) * _UNITS[u] for n, u in parts)
    if not 0 < amount <= 366 * 86400:
        raise ValueError("must be a duration of more than zero and at most 366 days")
    return amount


Duration: TypeAlias = Annotated[
    float,
    BeforeValidator(seconds),
    WithJsonSchema(
        {
            "description": "A duration: 30s, 10m, 1h30m, 3d, or a number of seconds.",
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d) ?)+$"},
            ],
        }
    ),
]
Condition: TypeAlias = bool | str
"""An expression that yields true or false: bare, as one island, or in the mixed form ``{{a.ok}} == true``."""


class Part(BaseModel):
    """A piece of a spec: immutable, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class AtLeast(Part):
    """A join that waits until so many parents are done."""

    at_least: int = Field(ge=1, description="How many parents must be done.")


Join: TypeAlias = Literal["default", "all", "any", "always"] | AtLeast


class Then(Part):
    """Where the flow goes on when this step fails: a node that runs only then."""

    then: str


RetryClass: TypeAlias = FaultClass | Literal["transient"]
_TRANSIENT_ONLY: list[RetryClass] = ["transient"]


class Retry(Part):
    """When a failed step is tried again; the first try counts as an attempt."""

    max_attempts: int = Field(3, ge=1, le=100)
    backoff: Duration = Field(1.0, description="The wait before the second attempt.")
    multiplier: float = Field(2.0, ge=1, le=10)
    max_backoff: Duration = 60.0
    jitter: bool = True
    on: list[RetryClass] = Field(default_factory=lambda: _TRANSIENT_ONLY)


class Fallback(Part):
    """What is tried when the step itself has failed for good: exactly one of the fields, with its settings."""

    model: str | None = None
    tool: str | None = None
    args: dict[str, Json] | None = None
    agent: str | None = None
    node: str | None = None


class Undo(Part):
    """The tool call that takes a finished step back; its references see the step's own value and create no edge."""

    tool: str
    args: dict[str, Json] = Field(default_factory=dict)
    retry: Retry = Field(default_factory=Retry)
    timeout: Duration | None = Field(None, description="The longest that one attempt may take.")


class Step(Part):
    """What nodes, loops and used workflows have in common."""

    description: str = ""
    depends_on: list[str] = Field(
        default_factory=list, description="Steps that must be settled before this one starts."
    )
    when: Condition | None = Field(
        None, description="Evaluated once the parents allow the start; false skips the step."
    )
    join: Join = Field("default", description="How many parents must be done.")
    cancel_rest: bool = Field(
        False, description="With join any or at_least: once it starts, the parents that are not done are given up."
    )
    on_error: Literal["fail", "skip"] | Then = "fail"
    metadata: dict[str, Json] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A field of a step that holds expressions: where, what, and which names it defines for itself."""

    pointer: str
    source: Json
    form: Literal["value", "condition", "expression"] = "value"
    local: frozenset[str] = frozenset()
    optional: bool = False


class Node(Step):
    """One of the five kinds; a kind is one file: its fields and its behaviour."""

    type: str

    pure: ClassVar[bool] = False
    """Whether ``compute`` gives the value at once, without waiting for anything."""
    roots: ClassVar[tuple[str, ...]] = ()
    """What it sees of the loops around it, beside what its slots refer to."""

    def slots(self) -> Iterator[Slot]:
        """The fields of this kind that hold expressions."""
        return iter(())

    def result_schema(self, services: Services) -> Schema:
        """JSON Schema of the node's value; empty where nothing is known."""
        return {}

    def effect_of(self, services: Services) -> Effect:
        """What the node does to the world."""
        return "none"

    def compute(self, call: StepCall) -> Outcome:
        """The outcome of a pure node."""
        raise NotImplementedError(self.type)

    async def run(self, call: StepCall) -> Outcome:
        """The outcome of one attempt.

        Raises:
            Fault: the attempt failed.
        """
        return self.compute(call)


class CallingNode(Node):
    """A kind whose work reaches outside, so that it can be slow, fail and be tried again."""

    def bound(self, call: StepCall) -> CallingNode:
        """The node as it runs for this call; another one where the call says what it does."""
        return self

    retry: Retry | None = None
    timeout: Duration | None = Field(None, description="The longest that one attempt may take.")
    total_timeout: Duration | None = Field(
        None, description="The longest that all attempts may take, with the waits between them."
    )
    fallback: list[Fallback] = Field(
        default_factory=list, description="What is tried, in order, when the step itself has failed for good."
    )
    undo: Undo | None = Field(None, description="How the finished step is taken back when the run fails later.")
    cache: Duration | None = Field(
        None, description="How long a result may be reused, also by other runs, for the same call."
    )
