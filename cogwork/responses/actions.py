"""What can be done next with an execution, as commands and as calls over HTTP."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote

from cogwork.cli.answers import resume_command
from cogwork.responses.response import Action, Artifact, Verb, size_of
from state.values import Json

if TYPE_CHECKING:
    from cogwork.executions.record import Execution
    from cogwork.executions.result import ExecutionResult

API: Final = "/api/v1"
ROUTES: Final[Mapping[Verb, tuple[Literal["GET", "POST"], str]]] = {
    "answer": ("POST", "/executions/{id}/resume"),
    "resume": ("POST", "/executions/{id}/resume"),
    "cancel": ("POST", "/executions/{id}/cancel"),
    "fork": ("POST", "/executions/{id}/fork"),
    "why": ("GET", "/executions/{id}/why"),
    "follow": ("GET", "/executions/{id}/events"),
    "save": ("GET", "/executions/{id}/result"),
    "again": ("POST", "/executions"),
}
"""The call over HTTP of each verb, below ``API``."""
_COMMAND: Final = 4096
_FORMS: Final = 64 * 1024
"""Larger forms are not told with the action, and have to be asked for with the execution."""
_RESUMED: Final[Mapping[str, str]] = {
    "requested": "Go on; it was paused on request.",
    "interrupted": "Go on from the last checkpoint; the process that worked on it has gone.",
}


def actions_of(result: ExecutionResult, artifacts: Sequence[Artifact] = ()) -> tuple[Action, ...]:
    """What can be done next, the most likely first: for each status what moves it on, and where to look."""
    return tuple(_actions(result, artifacts))


def _actions(result: ExecutionResult, artifacts: Sequence[Artifact]) -> Iterator[Action]:
    execution = result.execution
    match execution.status:
        case "pending" | "running":
            yield _action(execution, "follow", "Follow it", "See what happens in it, as it happens.")
            yield _cancel(execution)
        case "paused":
            yield _onward(execution)
            yield _why(execution)
            yield _cancel(execution)
        case "failed":
            yield _why(execution)
            yield from _retried(result)
            yield _again(execution)
        case "cancelled":
            yield _why(execution)
            yield _again(execution)
        case "completed":
            yield from _saved(execution, artifacts)


def _onward(execution: Execution) -> Action:
    """Answer what it asks, or go on where it asks nothing."""
    questions = execution.questions
    if not questions:
        said = _RESUMED.get(execution.reason, "Go on with it.")
        return _action(execution, "resume", "Resume it", said)
    forms: dict[str, Json] = {str(question.get("at")): question.get("form") for question in questions}
    command = resume_command(execution.id, questions)
    asked = "; ".join(f"{question.get('at')}: {question.get('ask')}" for question in questions)
    body: dict[str, Json] = {"answers": {at: {} for at in forms}}
    return _action(
        execution,
        "answer",
        "Raise the limit" if execution.reason == "budget" else "Answer it",
        asked[:500],
        command=command if len(command) <= _COMMAND else f"cogwork resume {_quoted(execution.id)}",
        body=body,
        form=forms if size_of(forms) <= _FORMS else {},
    )


def _retried(result: ExecutionResult) -> Iterator[Action]:
    """A new run that begins at the step that failed, and takes over what had ended before it."""
    execution = result.execution
    step = str((execution.error or {}).get("node") or "")
    if step and execution.kept:
        yield _action(
            execution,
            "fork",
            f"Retry from {step}",
            f"Begin a new run at {step}; what had ended before it is taken over and not done again.",
            words=("--at", step),
            body={"at": step},
        )


def _again(execution: Execution) -> Action:
    command = f"cogwork start {_quoted(execution.workflow)}"
    body: dict[str, Json] = {"workflow": execution.workflow, "input": {}}
    said = "Begin another execution of the workflow, with an input of its own."
    return _action(execution, "again", "Start it again", said, command=command, body=body)


def _saved(execution: Execution, artifacts: Sequence[Artifact]) -> Iterator[Action]:
    if not artifacts:
        return
    yield _action(
        execution,
        "save",
        "Save the result",
        f"Write the result with its {len(artifacts)} artifact{'s' if len(artifacts) > 1 else ''} to a file.",
        command=f"cogwork result {_quoted(execution.id)} --format json --whole --output result.json",
        kind="save_file",
    )


def _why(execution: Execution) -> Action:
    said = "See which step brought it here, with its input, its calls and the chain of causes."
    return _action(execution, "why", "Look at why", said, kind="open_link")


def _cancel(execution: Execution) -> Action:
    return _action(execution, "cancel", "Cancel it", "End it; its on_failure and finally run.")


def _action(
    execution: Execution,
    verb: Verb,
    label: str,
    description: str,
    *,
    command: str = "",
    words: Sequence[str] = (),
    body: Json = None,
    form: Mapping[str, Json] | None = None,
    kind: Literal["continue_conversation", "save_file", "open_link"] = "continue_conversation",
) -> Action:
    method, path = ROUTES[verb]
    line = command or " ".join(["cogwork", verb, *(_quoted(word) for word in (execution.id, *words))])
    return Action(
        id=f"{verb}-{execution.id}",
        verb=verb,
        label=label,
        description=description,
        command=line,
        method=method,
        path=f"{API}{path.format(id=quote(execution.id, safe=''))}",
        body=body if body is not None or method == "GET" else {},
        form=form or {},
        kind=kind,
    )


def _quoted(word: str) -> str:
    return shlex.quote(word)


def whole_of(execution: str) -> str:
    """Where the whole result of an execution is, in words."""
    path = ROUTES["save"][1].format(id=quote(execution, safe=""))
    return f"cogwork result {_quoted(execution)} --json, or GET {API}{path} as JSON"
