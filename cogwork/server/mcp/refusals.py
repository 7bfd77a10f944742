"""Errors as MCP clients see them: in the documents' form, inside results, and never with anything of the inside."""

from __future__ import annotations

import json
import logging
import secrets
from typing import Any, Final

import mcp_types as types
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from cogwork.errors import EngineError
from state.errors import AnswerRefused, CogworkError, Fault, InputRefused, NotResumable, SpecError
from state.problems import Problem
from state.values import Json

log = logging.getLogger(__name__)
RESOURCE_NOT_FOUND: Final = -32002
"""What protocols before 2026 say of a resource that is not there; later ones call it invalid parameters."""
_KINDS: Final[tuple[tuple[type[CogworkError], str], ...]] = (
    (AnswerRefused, "invalid_answer"),
    (InputRefused, "invalid_input"),
    (NotResumable, "illegal_move"),
)


def told(error: BaseException, request_id: str = "") -> dict[str, Json]:
    """The error in the documents' form, ``{"error": {"code", "message", "details", "request_id"}}``; what is not known is told
    by its number alone, and logged under it."""
    request_id = request_id or f"req-{secrets.token_hex(6)}"
    code, message, details = _parts(error, request_id)
    about: dict[str, Json] = {"code": code, "message": message, "details": details, "request_id": request_id}
    return {"error": about}


def _parts(error: BaseException, request_id: str) -> tuple[str, str, dict[str, Json]]:
    match error:
        case EngineError():
            return error.code, error.message, error.details
        case SpecError():
            problems: Json = [problem_of(problem) for problem in error.problems]
            return "invalid_workflow", str(error.problems[0]), {"problems": problems}
        case AnswerRefused():
            return "invalid_answer", str(error), {"at": error.at, "faults": list(error.faults)}
        case Fault():
            return error.fault_class, error.message, {}
        case ValidationError():
            faults = _faults(error)
            return "invalid_input", f"The arguments do not fit: {'; '.join(faults)}", {"faults": list(faults)}
        case CogworkError():
            return next((code for kind, code in _KINDS if isinstance(error, kind)), "failed"), str(error), {}
        case _:
            log.error("A call over MCP failed with a fault of ours (%s)", request_id, exc_info=error)
            return "internal_error", "Something went wrong here; the log tells of it under this request's id", {}


def problem_of(problem: Problem) -> dict[str, Json]:
    """A problem of a workflow as plain JSON."""
    return {
        "code": problem.code,
        "severity": problem.severity,
        "message": problem.message,
        "hint": problem.hint,
        "pointer": problem.pointer,
        "file": problem.file.rpartition("/")[2],
        "line": problem.line,
        "column": problem.column,
    }


def refused(error: BaseException, request_id: str = "") -> types.CallToolResult:
    """The error as the result of a call, for the model to read."""
    return failure(told(error, request_id))


def failure(about: dict[str, Json]) -> types.CallToolResult:
    """A result that says that the call came to nothing, and why."""
    return types.CallToolResult(content=[text_of(about)], structured_content=about, is_error=True)


def text_of(value: Any) -> types.TextContent:
    """A value as text."""
    return types.TextContent(text=value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def protocol_error(error: BaseException, request_id: str = "", *, modern: bool = True) -> MCPError:
    """The error as one of the protocol, where there is no result to put it in."""
    about: Any = told(error, request_id)["error"]
    code = types.INTERNAL_ERROR if about["code"] == "internal_error" else types.INVALID_PARAMS
    if about["code"].endswith("_not_found") and not modern:
        code = RESOURCE_NOT_FOUND
    return MCPError(code, about["message"], about)


def unknown_resource(uri: str, *, modern: bool) -> MCPError:
    """The error for an address that nothing has."""
    code = types.INVALID_PARAMS if modern else RESOURCE_NOT_FOUND
    return MCPError(code, "There is no such resource", {"uri": uri[:2000]})


def _faults(error: ValidationError) -> list[str]:
    said = []
    for fault in error.errors(include_url=False, include_input=False, include_context=False)[:20]:
        place = ".".join(str(part) for part in fault["loc"])[:200]
        message = "there is no such argument" if fault["type"] == "extra_forbidden" else fault["msg"]
        said.append(f"{place}: {message}" if place else str(message))
    return said
