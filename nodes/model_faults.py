"""What a failed model call was, told from the shape of the exception, since no provider is imported here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from state.errors import Fault, FaultClass

MAX_RETRY_AFTER: Final = 86_400.0
_SHOWN: Final = 300
_BY_STATUS: Final[dict[int, FaultClass]] = {
    400: "invalid_input",
    401: "permission_denied",
    402: "budget_exceeded",
    403: "permission_denied",
    404: "invalid_input",
    408: "timeout",
    409: "unavailable",
    413: "invalid_input",
    422: "invalid_input",
    425: "unavailable",
    429: "rate_limited",
}
_BY_NAME: Final[tuple[tuple[str, FaultClass], ...]] = (
    ("LengthFinishReason", "invalid_output"),
    ("ContentFilter", "refused"),
    ("Refusal", "refused"),
    ("RateLimit", "rate_limited"),
    ("Timeout", "timeout"),
    ("ContextOverflow", "invalid_input"),
    ("Authentication", "permission_denied"),
    ("PermissionDenied", "permission_denied"),
    ("RemoteProtocol", "connection"),
    ("Connect", "connection"),
    ("ReadError", "connection"),
    ("WriteError", "connection"),
    ("NetworkError", "connection"),
    ("JSONDecode", "unavailable"),
    ("ResponseValidation", "unavailable"),
)
_SECRET = re.compile(r"\b(?:sk|pk|key)-[\w*.-]{6,}|(?i:bearer)\s+\S+")


def fault_of(error: Exception) -> Fault:
    """The fault that stands for a provider's exception; a Fault within it is taken as it is.

    An answer that the client cannot read (no JSON, no choices) is ``unavailable``: what stands before the model answered.
    """
    for inner in _chain(error):
        if isinstance(inner, Fault):
            return inner
    fault_class = _class_of(error)
    status = getattr(error, "status_code", None)
    return Fault(
        fault_class,
        _sentence(error, fault_class, status),
        origin="model",
        retry_after=_retry_after(error) if fault_class in ("rate_limited", "unavailable") else None,
        details={"status": status, "error": type(error).__name__} if status else {"error": type(error).__name__},
    )


def class_of_status(status: int) -> FaultClass:
    """The class of an HTTP status that is no success."""
    return _BY_STATUS.get(status) or ("unavailable" if status >= 500 else "invalid_input")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        seen.append(current)
        yield current
        current = current.__cause__ or current.__context__


def _class_of(error: Exception) -> FaultClass:
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return "budget_exceeded" if _is_quota(error) else class_of_status(status)
    if isinstance(error, TimeoutError):
        return "timeout"
    names = [kind.__name__ for kind in type(error).__mro__]
    for part, fault_class in _BY_NAME:
        if any(part in name for name in names):
            return fault_class
    if isinstance(error, ConnectionError | OSError):
        return "connection"
    from_provider = type(error).__module__.partition(".")[0] in (
        "openai",
        "anthropic",
        "httpx",
        "httpx2",
        "httpcore",
        "httpcore2",
    )
    unreadable = isinstance(error, ValueError | LookupError | TypeError | AttributeError | AssertionError)
    return "unavailable" if from_provider or unreadable else "internal"


def _is_quota(error: Exception) -> bool:
    """A spent quota comes as 429 too, but waiting does not help."""
    return getattr(error, "code", None) == "insufficient_quota"


def _sentence(error: Exception, fault_class: FaultClass, status: Any) -> str:
    asked = f" with HTTP {status}" if status else ""
    if fault_class == "permission_denied":
        return f"The model's provider refused the access{asked}; check the key in the settings"
    if isinstance(status, int) and 300 <= status < 400:
        return f"The model's endpoint answered with a redirect{asked}, which is not followed; correct its base_url"
    if fault_class == "invalid_output":
        return "The model's answer ended at its token limit before it was complete; raise max_tokens or ask for less"
    told = _SECRET.sub("[secret]", " ".join(str(error).split()))[:_SHOWN] or type(error).__name__
    return f"The model call failed{asked} ({fault_class}): {told}"


def _retry_after(error: Exception) -> float | None:
    """Seconds to wait by the reply's headers; a date counts from the reply's own ``Date``."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    if not isinstance(headers, Mapping):
        return None
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return min(max(float(headers[name]) * unit, 0.0), MAX_RETRY_AFTER)
        except (KeyError, ValueError):
            continue
    try:
        wait = parsedate_to_datetime(headers["retry-after"]) - parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError, TypeError):
        return None
    return min(max(wait.total_seconds(), 0.0), MAX_RETRY_AFTER)
