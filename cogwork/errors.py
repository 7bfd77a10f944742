"""The errors of the engine's verbs, with the codes that every door shows."""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias, get_args

from state.errors import CogworkError
from state.values import Json

ErrorCode: TypeAlias = Literal[
    "workflow_not_found",
    "version_not_found",
    "execution_not_found",
    "agent_not_found",
    "handoff_not_found",
    "session_not_found",
    "conversation_not_found",
    "memory_not_found",
    "schedule_not_found",
    "trigger_not_found",
    "batch_not_found",
    "invalid_input",
    "invalid_cursor",
    "illegal_move",
    "conflict",
    "in_use",
    "execution_timeout",
    "database_error",
    "permission_denied",
    "unauthenticated",
    "rate_limited",
    "too_large",
    "not_found",
    "not_acceptable",
    "method_not_allowed",
    "unsupported_media_type",
    "internal",
]
ERROR_CODES: Final[tuple[str, ...]] = get_args(ErrorCode)


class EngineError(CogworkError):
    """What a verb of the engine refuses: a ``code`` for programs, a sentence for people, and ``details`` as plain JSON.

    ``request_id`` is drawn anew for each, so that what a caller saw can be found in the log.
    """

    def __init__(self, code: ErrorCode, message: str, **details: Json) -> None:
        self.code: ErrorCode = code
        self.message = message
        self.details: dict[str, Json] = details
        self.request_id = f"req-{secrets.token_hex(6)}"
        super().__init__(message)

    def to_dict(self) -> dict[str, Json]:
        """The documents' form: ``{"error": {"code", "message", "details", "request_id"}}``."""
        told: dict[str, Json] = {
            "code": self.code,
            "message": self.message,
            "details": self.details,
            "request_id": self.request_id,
        }
        return {"error": told}

    def dict(self) -> Mapping[str, str]:
        """What LangGraph's server tells its clients."""
        return {"error": self.code, "message": self.message}


def not_found(code: ErrorCode, what: str, name: str, known: Iterable[str] = (), **details: Json) -> EngineError:
    """The error for a name that nothing has, with the nearest of the known ones."""
    close = difflib.get_close_matches(name, list(known), 3, 0.5)
    hint = f": did you mean {' or '.join(close)}?" if close else ""
    told: dict[str, Json] = {"suggestions": list(close), **details}
    return EngineError(code, f"There is no {what} {name[:200]!r}{hint}", **told)
