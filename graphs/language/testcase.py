"""What a spec says of its own tests: the input, what stands in for tools, models and people, and what is expected."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nodes.base import Condition, Part
from state.values import Json


class Expected(Part):
    """What a test holds a run against; what is left out is not compared."""

    status: Literal["completed", "failed", "paused", "cancelled"] | None = None
    output: Json = Field(None, description="The exact result; for null write it into holds.")
    error: str | None = Field(None, description="The class of the failure that ended the run.")
    path: list[str] = Field(
        default_factory=list, description="Steps that were done, in this order; others may be done between them."
    )
    nodes: dict[str, str] = Field(default_factory=dict, description="Step to its status, such as done or skipped.")
    calls: dict[str, int | list[Json]] = Field(
        default_factory=dict, description="Step to the number of its calls, or to what each call was given."
    )
    holds: list[Condition] = Field(
        default_factory=list, description="Expressions that are true of output, input, run, results and steps."
    )


class TestCase(Part):
    """One run of the workflow whose tools, models and people are stood in for."""

    __test__ = False

    description: str = ""
    input: dict[str, Json] = Field(default_factory=dict)
    context: dict[str, Json] = Field(default_factory=dict)
    mocks: dict[str, Json] = Field(
        default_factory=dict,
        description="Step to the result of each of its calls, {fault: class}, or a list of these for one call after the other.",
    )
    answers: dict[str, Json] = Field(
        default_factory=dict,
        description="Human step to its answer, {fault: timeout}, or a list of these for one question after the other.",
    )
    strict: bool = Field(False, description="Refuse calls that no mock answers, instead of making a result up.")
    expect: Expected = Expected()
