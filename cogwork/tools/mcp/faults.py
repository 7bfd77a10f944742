"""What goes wrong with a server, as faults whose class says what may be done about it.

```text
nothing was done       unavailable (not started, refused, closed), rate_limited, permission_denied, invalid_input
nobody knows           timeout, connection: a write is in doubt
it was done            tool_error, invalid_output
```
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, INVALID_PARAMS, METHOD_NOT_FOUND, PARSE_ERROR, REQUEST_TIMEOUT
from pydantic import ValidationError

from cogwork.tools.mcp.redaction import Redaction
from state.errors import Fault, FaultClass

TOO_LARGE: Final = -32098
"""Our own code for an answer that was too large to read."""
FAILED: Final = -32097
"""Our own code for a request that failed on its way; ``data`` says how, as ``failure`` makes it."""
MAX_MESSAGE: Final = 1_000
_BY_CODE: Final[Mapping[int, FaultClass]] = {
    CONNECTION_CLOSED: "connection",
    INVALID_PARAMS: "invalid_input",
    METHOD_NOT_FOUND: "invalid_input",
    PARSE_ERROR: "invalid_output",
    REQUEST_TIMEOUT: "timeout",
    TOO_LARGE: "invalid_output",
}
_UNKNOWN_SESSION: Final = re.compile(r"session", re.IGNORECASE)
_REFUSED_BY_TOOL: Final = re.compile(r"^(Error: )?MCP error -32602|^Unknown tool", re.IGNORECASE)


class Gone(Exception):
    """The session is no more, and nothing was sent on it: a new one may be tried."""


def failure(fault_class: FaultClass, status: int | None = None, retry_after: float | None = None) -> dict[str, Any]:
    """The data of an error of the code ``FAILED``."""
    return {"class": fault_class, "status": status, "retry_after": retry_after}


def fault_of(error: BaseException, server: str, doing: str, redaction: Redaction) -> Fault:
    """The fault that an exception of the SDK stands for; ``doing`` is what was asked, such as ``calling read_file``."""
    cause = innermost(error) or error
    if isinstance(cause, Fault):
        return cause
    fault_class, told, retry_after = _told(cause)
    message = f"MCP server {server}, {doing}: {told}"
    return Fault(fault_class, redaction.told(message)[:MAX_MESSAGE], origin="tool", retry_after=retry_after)


def is_gone(error: BaseException) -> bool:
    """Whether the server no longer knows the session, and so has not looked at the request."""
    if isinstance(error, Gone):
        return True
    status = _data(error).get("status") if isinstance(error, MCPError) else None
    return status == 404 or (status == 400 and bool(_UNKNOWN_SESSION.search(str(error))))


def tool_fault(text: str, server: str, tool: str, redaction: Redaction) -> Fault:
    """The fault of a result that the server itself calls an error."""
    fault_class: FaultClass = "invalid_input" if _REFUSED_BY_TOOL.search(text) else "tool_error"
    told = redaction.told(f"{server}.{tool}: {text or 'the tool failed and does not say why'}")
    return Fault(fault_class, told[: 2 * MAX_MESSAGE], origin="tool")


def _told(error: BaseException) -> tuple[FaultClass, str, float | None]:
    match error:
        case MCPError() if error.code == FAILED:
            data = _data(error)
            return data.get("class", "connection"), error.message, data.get("retry_after")
        case MCPError():
            return _BY_CODE.get(error.code, "tool_error"), f"{error.message} ({error.code})", None
        case Gone():
            return "unavailable", str(error) or "the session is closed", None
        case ValidationError():
            return "invalid_output", "its answer is not what MCP asks for", None
        case TimeoutError():
            return "timeout", str(error) or "it did not answer in time", None
        case OSError():
            what = f" ({error.filename})" if error.filename else ""
            return "unavailable", f"it cannot be started: {error.strerror or error}{what}", None
        case _:
            return "invalid_output", f"{type(error).__name__}: {error}", None


def _data(error: MCPError) -> Mapping[str, Any]:
    return error.data if error.code == FAILED and isinstance(error.data, Mapping) else {}


def innermost(error: BaseException | None) -> BaseException | None:
    """The first cause within groups of exceptions."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
