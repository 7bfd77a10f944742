"""The result of an execution in the form that the caller asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse, Response

from cogwork.errors import EngineError

if TYPE_CHECKING:
    from cogwork.executions.result import ExecutionResult

GIVES: Final = ("application/json",)
"""The types of results; what more there is to offer is added here, and made in ``rendered``."""
FORMATS: Final = ("json",)


def rendered(result: ExecutionResult, format: str | None, accept: str) -> Response:
    """The result in a format, or in the type that the caller accepts best.

    Raises:
        EngineError: ``not_acceptable``; there is no such format.
    """
    if format is not None and format not in FORMATS:
        raise EngineError("not_acceptable", f"There is no format {format!r}: there are {', '.join(FORMATS)}")
    return JSONResponse(result.to_dict())
