"""Errors as callers over HTTP get them: a status, and the documents' form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from cogwork.errors import EngineError
from state.errors import AnswerRefused, CogworkError, Fault, InputRefused, NotResumable, Owned, SpecError
from state.problems import Problem
from state.values import Json

STATUS: Final[Mapping[str, int]] = {
    "invalid_input": 422,
    "invalid_cursor": 400,
    "illegal_move": 409,
    "conflict": 409,
    "in_use": 409,
    "execution_timeout": 408,
    "database_error": 503,
    "permission_denied": 403,
    "unauthenticated": 401,
    "rate_limited": 429,
    "too_large": 413,
    "not_found": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "unsupported_media_type": 415,
    "internal": 500,
}
"""The HTTP status of each code; those that end in ``_not_found`` are 404."""


def status_of(code: str) -> int:
    """The HTTP status of an error's code."""
    return 404 if code.endswith("_not_found") else STATUS.get(code, 500)


def engine_error(error: CogworkError) -> EngineError:
    """Any error that cogwork raises on purpose, as one with a code."""
    match error:
        case EngineError():
            return _with_problems(error)
        case SpecError():
            problems: list[Json] = [problem_of(problem) for problem in error.problems]
            return EngineError("invalid_input", str(error), problems=problems)
        case AnswerRefused():
            return EngineError("invalid_input", str(error), at=error.at, problems=_faults("answer", error.faults))
        case InputRefused():
            return EngineError("invalid_input", str(error), problems=_faults("input", error.faults))
        case NotResumable() | Owned():
            return EngineError("illegal_move", str(error))
        case Fault():
            denied = error.fault_class == "permission_denied"
            return EngineError("permission_denied" if denied else "invalid_input", str(error))
        case _:
            return EngineError("internal", str(error))


def _with_problems(error: EngineError) -> EngineError:
    """The error with the places of an input that did not fit, where that is what it was raised for."""
    if isinstance(error.__cause__, InputRefused):
        error.details.setdefault("problems", _faults("input", error.__cause__.faults))
    return error


def _faults(code: str, faults: Sequence[str]) -> list[Json]:
    return [{"code": code, "severity": "error", "message": fault} for fault in faults]


def problem_of(problem: Problem) -> dict[str, Json]:
    """A problem as callers are told of it."""
    return {
        "code": problem.code,
        "severity": problem.severity,
        "message": problem.message,
        "file": problem.file or None,
        "line": problem.line or None,
        "column": problem.column or None,
        "pointer": problem.pointer or None,
        "hint": problem.hint or None,
    }
