"""The messages that an isolated execution may send: each is held against its form before anything is done about it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints, TypeAdapter, ValidationError

from cogwork.isolation.frames import Broken

Name: TypeAlias = Annotated[str, StringConstraints(max_length=1_000)]
Long: TypeAlias = Annotated[str, StringConstraints(max_length=100_000)]
Typed: TypeAlias = Annotated[tuple[Name, bytes], Strict(False)]
"""A value as LangGraph's serialiser gives it: its form, and its bytes."""
Number: TypeAlias = Annotated[int, Field(ge=0, lt=1 << 53)]


class Message(BaseModel):
    """What is common to all: nothing but what is foreseen, of exactly the types foreseen."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Request(Message):
    """A message that wants an answer, which bears its number."""

    id: Number


class Plain(Request):
    """A request that says nothing more."""

    do: Literal["facts", "tool_names", "prompt_names", "secret_names", "open_request"]


class ByName(Request):
    """A request about something that has a name."""

    do: Literal["find_tool", "tool_problem", "context_length", "price", "model_problem", "own", "disown", "alive"]
    name: Name


class ByRun(Request):
    """A request about a run."""

    do: Literal["release_tools", "calls_of"]
    run: Name


class ToolsMatching(Request):
    """The tools that a pattern fits."""

    do: Literal["tools_matching"]
    pattern: Name


class CallTool(Request):
    """A call of a tool; ``secrets`` are the places of references that the spec itself names."""

    do: Literal["call_tool"]
    name: Name
    args: dict[str, Any]
    secrets: Annotated[list[list[str | int]], Field(max_length=1_000)]
    run: Name
    step: Name
    key: Name
    attempt: Number
    answers: dict[str, Any]


class FindModel(Request):
    """Whether there is such a model, and what it calls itself."""

    do: Literal["find_model"]
    name: Name | None
    mode: Name | None
    settings: dict[str, Any]


class AskModel(Request):
    """A question to a model: its messages, the functions it is offered, and what it is bound to."""

    do: Literal["ask_model", "stream_model"]
    name: Name | None
    mode: Name | None
    settings: dict[str, Any]
    messages: list[dict[str, Any]]
    offered: list[dict[str, Any]] | None
    bound: dict[str, Any]


class ByMode(Request):
    """The models that serve in a mode."""

    do: Literal["fallbacks"]
    mode: Name | None


class FindPrompt(Request):
    """What is known of a prompt."""

    do: Literal["find_prompt"]
    name: Name
    mode: Name | None


class Render(Request):
    """A prompt, to be filled in."""

    do: Literal["render"]
    name: Name
    mode: Name | None
    values: dict[str, Any]
    context: dict[str, Any]
    tokens: int | None
    model: Name


class Search(Request):
    """The tools that fit a query."""

    do: Literal["search"]
    query: Long
    k: Annotated[int, Field(ge=1, le=1_000)]
    among: list[Name] | None


class SecretProblem(Request):
    """Why a secret cannot be used, or not for that tool."""

    do: Literal["secret_problem"]
    name: Name
    tool: Name


class GetTuple(Request):
    """A checkpoint of the thread, or its newest."""

    do: Literal["get_tuple"]
    namespace: Name
    checkpoint: Name | None


class ListTuples(Request):
    """The next checkpoints of the thread, newest first."""

    do: Literal["list_tuples"]
    namespace: Name | None
    before: Name | None
    limit: Annotated[int, Field(ge=1, le=16)]
    filter: dict[str, Any] | None


class Put(Request):
    """A checkpoint to keep."""

    do: Literal["put"]
    namespace: Name
    parent: Name | None
    checkpoint: Typed
    metadata: Typed
    versions: dict[Name, str | int | float]


class PutWrites(Request):
    """What a task wrote, to keep."""

    do: Literal["put_writes"]
    namespace: Name
    checkpoint: Name
    writes: Annotated[list[Annotated[tuple[Name, Typed], Strict(False)]], Field(max_length=100_000)]
    task: Name
    task_path: Name


class KeepCall(Request):
    """A call to record."""

    do: Literal["keep_call"]
    key: Name
    run: Name
    step: Name
    target: Name
    effect: Literal["none", "read", "write"]
    repeatable: bool
    attempt: Number
    status: Literal["begun", "done", "failed"]
    result: Any
    error: dict[str, Any] | None
    args: Any
    begun_at: Name
    ended_at: Name


class ForgetCall(Request):
    """A call to take out of the record."""

    do: Literal["forget_call"]
    key: Name


class CloseRequest(Request):
    """A request to the execution that is fulfilled."""

    do: Literal["close_request"]
    request: Name


class CutOff(Message):
    """A request is given up; ``fate`` says what becomes of a run within it."""

    do: Literal["cut_off"]
    of: Number
    fate: Literal["rest", "cancel", "undo"]


class Happened(Message):
    """An event of the run."""

    do: Literal["event"]
    event: dict[str, Any]


class Refused(Message):
    """The run raised something instead of ending."""

    do: Literal["refused"]
    raised: dict[str, Any]


class Done(Message):
    """There are no more events."""

    do: Literal["done"]


Requested: TypeAlias = (
    Plain
    | ByName
    | ByRun
    | ToolsMatching
    | CallTool
    | FindModel
    | AskModel
    | ByMode
    | FindPrompt
    | Render
    | Search
    | SecretProblem
    | GetTuple
    | ListTuples
    | Put
    | PutWrites
    | KeepCall
    | ForgetCall
    | CloseRequest
)
Sent: TypeAlias = Requested | CutOff | Happened | Refused | Done
_ADAPTER: TypeAdapter[Sent] = TypeAdapter(Annotated[Sent, Field(discriminator="do")])


def understood(message: dict[str, Any]) -> Sent:
    """The message in its form.

    Raises:
        Broken: it has none.
    """
    try:
        return _ADAPTER.validate_python(message)
    except ValidationError as err:
        first = err.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(each)[:40] for each in first["loc"][:4])
        raise Broken(f"a message of no known form, at {where or 'its top'}: {first['msg']}"[:300]) from None
    except RecursionError:
        raise Broken("a message that is too deep") from None
