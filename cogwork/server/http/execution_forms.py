"""What is asked and told of executions over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import Field, JsonValue

from cogwork.server.http.forms import Form, Instant, Line, Moment, Name, Object, Prose, Tag, Text, View
from cogwork.server.sources import Given
from graphs.language.spec import Label

MOST_WAIT = 60
"""Seconds that a caller may have an answer wait for the end of an execution."""
Status = Literal["pending", "running", "paused", "completed", "failed", "cancelled"]
Duration = Annotated[float | str, Field(description="Seconds, or such as 90s, 10m, 2h, 3d.", examples=["10m", 30])]


class Options(Form):
    """How an execution runs."""

    mode: Literal["async", "sync", "isolated"] = Field(
        "async", description="Through the queue, in the server's process, or in a process of its own."
    )
    priority: Literal["high", "normal", "low"] | int = Field("normal", description="The lowest number goes first.")
    queue: Name | None = None
    timeout: Duration | None = None
    deadline: Moment | None = Field(None, description="Instant after which it has failed.")
    delay: Duration | None = None
    retry: Object | None = Field(None, description="The policy of the steps that have none of their own.")
    tenant: Line = ""
    tags: list[Tag] = Field(default_factory=list, max_length=64)
    metadata: Object = Field(default_factory=dict)
    overrides: Object = Field(default_factory=dict, description="Model, mode, limits, fields of steps and agents.")
    session_id: Name | None = None
    conversation_id: Name | None = None
    user_id: Name | None = None
    trace: bool = False
    debug: bool = False
    streaming: bool = False
    isolation: Object = Field(default_factory=dict)
    target: Name | None = Field(
        None, description="The instance that runs it, by its name in the settings; local: this one."
    )
    labels: list[Label] = Field(default_factory=list, max_length=32, description="What its instance must have.")
    policy: Literal["local", "label", "least_loaded", "round_robin"] | None = Field(
        None, description="How its instance is chosen."
    )

    def given(self) -> dict[str, Any]:
        """What the caller has said, as the engine takes it."""
        return self.model_dump(exclude_unset=True, exclude_none=True)


class Start(Form):
    """An execution that is asked for."""

    workflow: Given
    input: Object = Field(default_factory=dict)
    context: Object = Field(default_factory=dict)
    options: Options = Field(default_factory=Options)
    wait: float = Field(0, ge=0, le=MOST_WAIT, description="Seconds to wait for its end or rest.")


class DryRun(Form):
    """An execution that is only tried out."""

    workflow: Given
    input: Object = Field(default_factory=dict)
    context: Object = Field(default_factory=dict)
    options: Options = Field(default_factory=Options)


class StartBatch(Form):
    """Many executions of one workflow."""

    workflow: Given
    inputs: list[Object] = Field(min_length=1, max_length=10_000)
    options: Options = Field(default_factory=Options)
    name: Line = ""


class Reason(Form):
    """Why."""

    reason: Prose = ""


class Cancel(Reason):
    """Why, and whether what is done is taken back."""

    undo: bool = Field(False, description="Take back its finished steps.")


class Resume(Form):
    """The answers to what an execution asks."""

    answers: JsonValue = Field(
        None, description="By step, `{step: answer}`; or the answer itself where one thing is asked; null for none."
    )
    wait: float = Field(0, ge=0, le=MOST_WAIT, description="Seconds to wait for its end or next rest.")


class Fork(Form):
    """Where a new execution begins that takes over what another has done."""

    at: Name = Field(description="The step of the past execution.")
    side: Literal["before", "after"] = Field("before", description="So that the step runs again, or with its result.")
    values: dict[str, JsonValue] = Field(
        default_factory=dict, description="Other results of steps that have ended by then, by step."
    )
    input: Object | None = Field(None, description="Another input.")


class Question(View):
    """What an execution asks a person."""

    at: str | None = Field(None, description="The step that asks.")


class ExecutionView(View):
    """An execution as it stands."""

    execution_id: str
    workflow: str
    workflow_id: str | None = None
    version: int | None = None
    status: Status
    reason: str | None = Field(None, description="Why it is paused, or has failed where that is no step's fault.")
    mode: str
    priority: int
    created_at: Instant
    started_at: Instant | None = None
    ended_at: Instant | None = None
    duration: float | None = Field(None, description="Seconds.")
    not_before: Instant | None = None
    deadline: Instant | None = None
    questions: list[Question] = Field(default_factory=list)
    error: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    tags: list[str] = Field(default_factory=list)
    metadata: dict[str, Any] = Field(default_factory=dict)
    session_id: str | None = None
    user_id: str | None = None
    tenant: str | None = None
    parent_id: str | None = None
    batch_id: str | None = None
    origin: str | None = None
    worker: str | None = None
    segment: int


class Executions(View):
    """A page of executions."""

    executions: list[ExecutionView]
    cursor: str | None = None


class StepView(View):
    """A step of an execution as it stands."""

    path: str
    node: str | None = None
    kind: str
    status: str
    cause: Any = Field(None, description="Why it was skipped or cancelled.")
    seconds: float | None = None
    attempts: int
    started_at: Instant | None = None
    ended_at: Instant | None = None


class Steps(View):
    """The steps of an execution, in the order in which they began."""

    execution_id: str
    status: Status
    steps: list[StepView]


class Output(View):
    """What an execution has come to."""

    primary_result: Any = None
    artifacts: list[dict[str, Any]] = Field(default_factory=list)
    intermediate_results: dict[str, Any] = Field(default_factory=dict)
    formatted_output: str
    output_type: str


class ResultView(ExecutionView):
    """An execution with all that it has come to, up to now."""

    output: Output
    steps: list[StepView]
    errors: list[dict[str, Any]]
    warnings: list[dict[str, Any]]
    metrics: dict[str, Any]
    resources_used: dict[str, Any]


class EventView(View):
    """Something that happened in an execution."""

    seq: int = Field(description="Its number, from 1 without gaps.")
    event: str
    at: Instant


class Events(View):
    """Events of an execution, in their order."""

    events: list[EventView]
    after: int = Field(description="Ask for those after this one next.")
    more: bool = Field(description="Whether there are more now.")


class Moved(View):
    """An execution, and whether the call has moved it."""

    moved: bool
    execution: ExecutionView


class Why(View):
    """Why an execution, or a step of it, is where it is."""

    execution_id: str
    step: str | None
    status: str | None = None
    cause: Any = None
    error: Any = None
    lines: list[str] = Field(description="For people; the first one is the answer.")


class Usage(View):
    """What an execution has used."""

    seconds: float | None = None
    step_seconds: float = 0
    calls: int = 0


class Tried(View):
    """What an execution would be."""

    dry_run: bool
    status: str
    workflow: str
    workflow_id: str | None = None
    version: int | None = None
    input: Any = None
    writes: list[str]
    simulation: Any = None


class BatchView(View):
    """A batch, and how far it has come."""

    batch_id: str
    total: int
    done: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which executions are wanted."""

    workflow: Text = None
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None
    status: Annotated[tuple[Status, ...], Query(max_length=6, description="One of these.")] = ()
    tag: Annotated[tuple[Tag, ...], Query(max_length=16, description="All of these.")] = ()
    since: Annotated[Moment | None, Query(description="Asked for at that instant or later.")] = None
    until: Annotated[Moment | None, Query(description="Asked for before that instant.")] = None
    session_id: Text = None
    user_id: Text = None
    tenant: Text = None
    batch_id: Text = None
    parent_id: Text = None
    mode: Annotated[Literal["sync", "async", "isolated", "remote"] | None, Query()] = None

    def given(self) -> dict[str, Any]:
        """As ``list_executions`` takes it."""
        names = ("version", "session_id", "user_id", "tenant", "batch_id", "parent_id", "mode")
        more = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        status: Any = tuple(self.status) or None
        return {
            **more,
            "workflow_id": self.workflow,
            "status": status,
            "tags": tuple(self.tag),
            "start_time": self.since,
            "end_time": self.until,
        }
