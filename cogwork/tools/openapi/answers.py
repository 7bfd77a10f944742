"""What an answer of an HTTP service means: a result, or a failure with its class."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from cogwork.tools.net import Answer
from cogwork.tools.openapi.operations import is_json
from state.errors import Fault, FaultClass
from state.values import Json

MAX_WAIT: Final = 24 * 3600.0
"""The longest ``retry_after``, in seconds."""
SHOWN: Final = 400
"""Characters of a failed answer's body that its fault shows."""
_CLASSES: Final[Mapping[int, FaultClass]] = {
    401: "permission_denied",
    402: "permission_denied",
    403: "permission_denied",
    407: "permission_denied",
    408: "timeout",
    425: "unavailable",
    429: "rate_limited",
    501: "tool_error",
}


def without(secrets: Iterable[str], body: bytes) -> bytes:
    """The body without those texts, should a service send back what it was sent."""
    for secret in secrets:
        body = body.replace(secret.encode(), b"***")
    return body


def result(answer: Answer) -> Json:
    """What a successful answer holds: JSON, else text, else null.

    Raises:
        Fault: ``invalid_output`` where it says that it is JSON and is not, or is neither JSON nor text.
    """
    if not answer.body:
        return None
    media = answer.headers.get("content-type", "")
    if is_json(media):
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise _fault("invalid_output", f"The answer says it is JSON and is not: {error}") from error
    kind = media.partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind in ("", "application/xml") or kind.endswith("+xml"):
        try:
            return answer.body.decode()
        except UnicodeDecodeError as error:
            raise _fault("invalid_output", "The answer says it is text and is not UTF-8") from error
    raise _fault("invalid_output", f"The answer is {kind[:60]}, and neither JSON nor text")


def failure(answer: Answer, *, said: str, repeatable: bool) -> Fault:
    """The fault that a status other than 2xx means; ``said`` names the call.

    ``repeatable`` calls read, or do the same thing once. For the others a broken answer of the server leaves open what was
    done: ``connection``, about which a person is asked, unless it says itself when to come back.
    """
    status = answer.status
    wait = retry_after(answer.headers.get("retry-after"))
    if status >= 500 and status not in _CLASSES:
        comes_back = status == 503 and wait is not None
        fault_class: FaultClass = "unavailable" if repeatable or comes_back else "connection"
    elif 300 <= status < 400:
        fault_class = "tool_error"
    else:
        fault_class = _CLASSES.get(status, "invalid_input")
    more = " (redirects are not followed)" if 300 <= status < 400 else ""
    text = " ".join(answer.body[: 4 * SHOWN].decode(errors="replace").split())[:SHOWN]
    message = f"{said} answered {status} {_phrase(status)}{more}{f': {text}' if text else ''}"
    return _fault(fault_class, message, wait)


def retry_after(text: str | None) -> float | None:
    """The seconds that ``Retry-After`` means, given as such or as a date; None where it says nothing."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return min(float(text.strip()[:9]), MAX_WAIT)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return min(max(0.0, (at - datetime.now(UTC)).total_seconds()), MAX_WAIT)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _fault(fault_class: FaultClass, message: str, wait: float | None = None) -> Fault:
    return Fault(fault_class, message, origin="tool", retry_after=wait)
