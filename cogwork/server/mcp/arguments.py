"""The arguments of the verbs, under the documents' names; cogwork's own names for them are understood too."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from cogwork.server.mcp.pursuing import GivenUp
from state.values import Json

NAME_LENGTH: Final = 400
Id = Annotated[str, Field(min_length=1, max_length=255, description="The id of the execution.")]
Cursor = Annotated[
    str | None, Field(max_length=4096, description="Where the page begins: the cursor of the one before.")
]


class Arguments(BaseModel):
    """What a verb takes."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @classmethod
    def schema_shown(cls) -> dict[str, Any]:
        """JSON Schema as clients see it; other names that are understood are not forbidden by it."""
        schema = cls.model_json_schema(by_alias=False)
        schema.pop("additionalProperties", None)
        schema.pop("description", None)
        schema.pop("title", None)
        schema.setdefault("properties", {})
        return schema


def also(*names: str) -> Any:
    """The field's own name, and others."""
    return AliasChoices(*names)


class Memory(BaseModel):
    """Whose history and memory the execution sees."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    session_id: str | None = Field(None, max_length=255)
    conversation_id: str | None = Field(None, max_length=255)
    user_id: str | None = Field(None, max_length=255)


class Running(Arguments):
    """How an execution runs."""

    input_data: dict[str, Json] = Field(
        default_factory=dict,
        validation_alias=also("input_data", "input"),
        description="The input of the workflow; list_workflows and cogwork://workflows/NAME/schema tell its schema.",
    )
    execution_mode: Literal["sync", "async", "isolated"] = Field(
        "sync",
        validation_alias=also("execution_mode", "mode"),
        description="sync waits for the end; async returns an id at once; isolated is async, in a process of its own.",
    )
    timeout: float | str | None = Field(
        None,
        validation_alias=also("timeout", "timeout_seconds"),
        description="Seconds of work (or text such as 10m) after which it has failed, with the status timeout.",
    )
    wait: float | None = Field(
        None,
        ge=0,
        le=86_400,
        description="Seconds to wait for the end; after them the execution goes on, and its id is told.",
    )
    when_cancelled: GivenUp = Field(
        "pause", description="What becomes of the execution when this call is cancelled while it waits."
    )
    config_override: dict[str, Json] = Field(
        default_factory=dict,
        validation_alias=also("config_override", "overrides"),
        description="Model, mode, limits, fields of steps and agents, and memory, for this execution alone.",
    )
    memory: Memory | None = Field(None, description="Session, conversation and user whose history and memory it sees.")
    session_id: str | None = Field(None, max_length=255)
    conversation_id: str | None = Field(None, max_length=255)
    user_id: str | None = Field(None, max_length=255)
    idempotency_key: str | None = Field(
        None, min_length=1, max_length=255, description="Asked again with it, it is the same execution."
    )
    priority: Literal["high", "normal", "low"] | int | None = None
    queue: str | None = Field(None, max_length=255)
    deadline: str | None = Field(None, max_length=64, description="An instant (ISO 8601) after which it has failed.")
    delay: float | str | None = Field(None, description="Time that passes before it may begin.")
    tags: list[str] = Field(default_factory=list, max_length=64)
    metadata: dict[str, Json] = Field(default_factory=dict)
    tenant: str | None = Field(None, max_length=255)
    trace: bool = False
    debug: bool = False
    retry: dict[str, Json] | None = Field(None, validation_alias=also("retry", "retry_policy"))
    isolation: dict[str, Json] | None = None


class ExecuteWorkflow(Running):
    """A workflow by name."""

    workflow_name: str = Field(
        min_length=1,
        max_length=NAME_LENGTH,
        validation_alias=also("workflow_name", "workflow", "workflow_id"),
        description="Id, name, name@version, or the path of a file in the folders of workflows.",
    )


class ExecuteGenerated(Running):
    """A workflow that is handed in."""

    workflow: dict[str, Json] | str | None = Field(
        None,
        validation_alias=also("workflow", "spec", "workflow_config", "source"),
        description="The workflow itself, as YAML or JSON text or as an object.",
    )
    workflow_description: str | None = Field(
        None, max_length=20_000, description="Needs a generator; there is none yet."
    )


class Which(Arguments):
    """One execution."""

    execution_id: Id


class Pause(Which):
    """Let an execution rest."""

    reason: str = Field("", max_length=1000)


class Cancel(Pause):
    """End an execution."""

    undo: bool = Field(False, description="Take its finished steps back.")


class Resume(Which):
    """Go on with an execution."""

    answers: Json = Field(
        None,
        validation_alias=also("answers", "answer"),
        description="The answers by the step that asks, or the one answer to the one question, each by its form.",
    )
    wait: float = Field(0, ge=0, le=86_400, description="Seconds to wait for its end or next rest.")
    when_cancelled: GivenUp = "pause"


class ListWorkflows(Arguments):
    """Which workflows."""

    folder: str | None = Field(
        None,
        max_length=NAME_LENGTH,
        validation_alias=also("folder", "config_path"),
        description="library, catalog, or one of the settings' folders; all of them without it.",
    )
    pattern: str | None = Field(
        None, max_length=200, description="A pattern of names or files, such as report_* or *.yaml."
    )
    limit: int = Field(50, ge=1, le=200)
    cursor: Cursor = None


class ListExecutions(Arguments):
    """Which executions."""

    workflow_name: str | None = Field(
        None, max_length=NAME_LENGTH, validation_alias=also("workflow_name", "workflow", "workflow_id")
    )
    status: Literal["pending", "running", "paused", "completed", "failed", "cancelled"] | None = None
    since: str | None = Field(None, max_length=64, validation_alias=also("since", "start_time"))
    until: str | None = Field(None, max_length=64, validation_alias=also("until", "end_time"))
    tags: list[str] = Field(default_factory=list, max_length=64)
    session_id: str | None = Field(None, max_length=255)
    limit: int = Field(20, ge=1, le=200)
    cursor: Cursor = None


class Validate(Arguments):
    """A workflow by name, or handed in."""

    workflow_name: str | None = Field(
        None, max_length=NAME_LENGTH, validation_alias=also("workflow_name", "workflow_id")
    )
    workflow: dict[str, Json] | str | None = Field(
        None,
        validation_alias=also("workflow", "spec", "workflow_config", "source"),
        description="The workflow itself, as YAML or JSON text or as an object.",
    )


class Publish(Arguments):
    """A workflow for the library."""

    workflow: dict[str, Json] | str = Field(
        validation_alias=also("workflow", "spec", "workflow_config", "source"),
        description="The workflow itself, as YAML or JSON text or as an object.",
    )
    name: str | None = Field(None, max_length=128, description="Its name in the library, where that is another.")
    note: str = Field("", max_length=1000)


class Batch(Arguments):
    """One workflow on many inputs."""

    workflow_name: str = Field(
        min_length=1, max_length=NAME_LENGTH, validation_alias=also("workflow_name", "workflow", "workflow_id")
    )
    inputs: list[dict[str, Json]] = Field(min_length=1, max_length=1000)
    name: str = Field("", max_length=255)
    priority: Literal["high", "normal", "low"] | int | None = None
    tags: list[str] = Field(default_factory=list, max_length=64)


class WhichBatch(Arguments):
    """One batch."""

    batch_id: str = Field(min_length=1, max_length=255)


class Usage(Arguments):
    """An execution, or this server."""

    execution_id: str | None = Field(None, max_length=255)


class Nothing(Arguments):
    """Nothing."""
