"""The response that an execution's result makes, and the one that an error makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from cogwork.errors import EngineError
from cogwork.responses.actions import actions_of, whole_of
from cogwork.responses.artifacts import artifacts_of
from cogwork.responses.bounds import USUAL, Bounds, shortened_value
from cogwork.responses.parts import TextAs, error_part, parts_of, question_parts
from cogwork.responses.prose import shown
from cogwork.responses.response import Part, Response
from state.errors import (
    AnswerRefused,
    CogworkError,
    Fault,
    InputRefused,
    NotResumable,
    SpecError,
    WorkflowCancelled,
    WorkflowFailed,
)
from state.values import Json, UnfitValue, normalise

if TYPE_CHECKING:
    from cogwork.executions.record import Execution
    from cogwork.executions.result import ExecutionResult
    from cogwork.tools.roots import Roots

_CODES: Final[Mapping[str, str]] = {
    "timeout": "execution_timeout",
    "invalid_input": "invalid_input",
    "permission_denied": "permission_denied",
    "cancelled": "execution_cancelled",
}
"""The code of an execution's error by its class; any other is ``execution_failed``."""
_DETAILS: Final = ("class", "origin", "stage", "severity", "node", "pointer", "recoverable", "retry_after", "details")
_WARNINGS: Final = 50
_TOLD: Final = 16 * 1024
"""How many bytes the details of an error have at most, and characters its message."""


def response_of(
    result: ExecutionResult,
    *,
    roots: Roots | None = None,
    bounds: Bounds = USUAL,
    text_as: TextAs | None = None,
    request_id: str = "",
) -> Response:
    """What is told of an execution, however it stands.

    Args:
        result: what it has come to.
        roots: the folders that tools may write to; files that steps wrote are read under these and nowhere else, and none
            without them.
        bounds: how much of it is told.
        text_as: what texts count as; found out by ``prose.markdown_in`` without it.
        request_id: goes into the form of an error; the execution's id without it.
    """
    execution = result.execution
    artifacts = artifacts_of(result, roots, bounds)
    error = _failure(execution, request_id) if execution.error is not None else None
    return Response(
        status=status_of(execution),
        execution=execution.id,
        workflow=execution.workflow,
        reason=execution.reason,
        parts=tuple(_parts(result, error, bounds, text_as)),
        artifacts=artifacts,
        actions=actions_of(result, artifacts),
        warnings=tuple(f"{told.get('node')}: {told.get('message')}"[:500] for told in result.warnings[:_WARNINGS]),
        error=error,
        metadata=_metadata(result),
    )


def refusal_of(error: BaseException, *, request_id: str = "") -> Response:
    """What is told of a request that was refused; of an error that nobody foresaw only that there was one.

    No traceback and no cause goes into it: those are for the log, where ``request_id`` finds them.
    """
    told = _told(error)
    told["request_id"] = request_id or told.get("request_id") or None
    plain = _plain(told)
    return Response(status="refused", error=plain, parts=(error_part(plain),))


def status_of(execution: Execution) -> str:
    """The status of an execution; ``timeout`` for one that failed for want of time, as the documents have it."""
    return "timeout" if execution.status == "failed" and execution.reason == "timeout" else execution.status


def _parts(
    result: ExecutionResult, error: Mapping[str, Json] | None, bounds: Bounds, text_as: TextAs | None
) -> Iterator[Part]:
    execution = result.execution
    whole = whole_of(execution.id)
    yield from question_parts(execution.questions, bounds, whole)
    if error is not None:
        yield error_part(error)
    yield from parts_of(result.output, bounds, whole, text_as)


def _failure(execution: Execution, request_id: str) -> dict[str, Json]:
    """The error of an execution in the documents' form; what is known of it beyond that is in its details."""
    record = execution.error or {}
    details = {name: record.get(name) for name in _DETAILS if record.get(name) not in (None, "")}
    return {
        "code": _CODES.get(str(record.get("class")), "execution_failed"),
        "message": str(record.get("message") or "")[:_TOLD],
        "details": {"execution_id": execution.id, **shortened_value(details, _TOLD, "")[0]},
        "request_id": request_id or execution.id,
    }


def _told(error: BaseException) -> dict[str, Json]:
    match error:
        case EngineError():
            return dict(error.to_dict()["error"])
        case Fault():
            record = error.record(node="")
            details = {name: record[name] for name in _DETAILS if record.get(name) not in (None, "")}
            return {
                "code": _CODES.get(error.fault_class, "execution_failed"),
                "message": error.message,
                "details": details,
            }
        case SpecError():
            problems = [
                {"code": each.code, "message": each.message, "pointer": each.pointer} for each in error.problems
            ]
            return {"code": "invalid_input", "message": str(error), "details": {"problems": problems}}
        case InputRefused() | AnswerRefused():
            return {"code": "invalid_input", "message": str(error), "details": {"problems": list(error.faults)}}
        case NotResumable():
            return {"code": "illegal_move", "message": str(error), "details": {}}
        case WorkflowFailed() | WorkflowCancelled():
            code = _CODES.get(str(error.error.get("class")), "execution_failed")
            return {"code": code, "message": str(error), "details": dict(error.error)}
        case CogworkError():
            return {"code": "internal", "message": str(error), "details": {"type": type(error).__name__}}
        case _:
            return {"code": "internal", "message": "Something went wrong in cogwork itself", "details": {}}


def _plain(told: Mapping[str, Json]) -> dict[str, Json]:
    kept = {name: shown(str(told[name]))[:_TOLD] for name in ("code", "message")}
    try:
        details = shortened_value(normalise(told["details"]), _TOLD, "")[0]
    except UnfitValue as unfit:
        details = {"left_out": str(unfit)}
    return {**kept, "details": details, "request_id": told["request_id"]}


def _metadata(result: ExecutionResult) -> dict[str, Json]:
    """Times and figures, and what the execution was given to be found again by."""
    execution = result.execution
    told = execution.to_dict()
    names = (
        "workflow_id",
        "version",
        "mode",
        "created_at",
        "started_at",
        "ended_at",
        "duration",
        "deadline",
        "usage",
        "tags",
    )
    return {
        **{name: told[name] for name in names if told[name] not in (None, [])},
        "output_type": result.output_type,
        "metrics": {name: value for name, value in result.metrics.items() if value not in (None, {})},
    }
