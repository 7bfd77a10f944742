"""The one way of calling a tool, in which nothing is taken on trust: arguments before, the result after."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Final

from nodes.answers import no_constant
from nodes.expression.schemas import kinds
from state.errors import Asked, Fault, FaultClass, Stage
from state.schemas import faults
from state.services import CallContext, NoSecrets, Secrets, Tool
from state.values import MAX_BYTES, Json, Schema, UnfitValue, normalise

MAX_MESSAGE = 2_000
"""The longest message, in characters, that a raised exception may leave in a fault."""

_CLIENTS: Final = frozenset({"httpx", "httpx2", "httpcore", "requests", "urllib3", "aiohttp"})
_BY_NAME: Final[tuple[tuple[str, FaultClass], ...]] = (
    ("ConnectTimeout", "unavailable"),
    ("PoolTimeout", "unavailable"),
    ("ConnectError", "unavailable"),
    ("NewConnectionError", "unavailable"),
    ("ClientConnectorError", "unavailable"),
    ("Timeout", "timeout"),
    ("ReadError", "connection"),
    ("WriteError", "connection"),
    ("CloseError", "connection"),
    ("ProtocolError", "connection"),
    ("ConnectionError", "connection"),
    ("ServerDisconnected", "connection"),
    ("NetworkError", "connection"),
)
"""Which of them never reached the other side, and which leave open what it did."""


async def checked_call(
    tool: Tool,
    args: Mapping[str, Json],
    context: CallContext,
    *,
    output: Schema | None = None,
    max_bytes: int = MAX_BYTES,
) -> Json:
    """The result of ``tool`` as plain JSON, its arguments and result checked against its schemas, and against ``output``.

    Raises:
        Fault: ``invalid_input`` before the call when the arguments do not fit; the tool's own fault; ``timeout``,
            ``connection`` (lost within the call), ``unavailable`` (never made: nothing was done), ``permission_denied`` or
            ``tool_error`` for other exceptions; ``invalid_output`` when the result is no JSON, too large or does not fit.
    """
    check_args(tool, args)
    return await perform(tool, args, context, output=output, max_bytes=max_bytes)


def check_args(tool: Tool, args: Mapping[str, Json], *, shown: Mapping[str, Json] | None = None) -> None:
    """See to it that the arguments fit the tool's schema; ``shown`` are those that the message may repeat, without secrets.

    Raises:
        Fault: ``invalid_input``.
    """
    found = faults(tool.args_schema, dict(args))
    if found:
        if shown is not None and shown != args:
            found = faults(tool.args_schema, dict(shown)) or ["a secret among them is not what the tool expects"]
        message = f"The arguments of {tool.name} do not fit: {'; '.join(found)}"
        raise _fault("invalid_input", message, found, stage="arguments")


async def perform(
    tool: Tool,
    args: Mapping[str, Json],
    context: CallContext,
    *,
    output: Schema | None = None,
    max_bytes: int = MAX_BYTES,
    secrets: Secrets | None = None,
) -> Json:
    """What ``checked_call`` does once the arguments are known to fit; no message of its own holds one of the secrets."""
    secrets = secrets or NoSecrets()
    try:
        result = await tool.call(args, context)
    except (Fault, Asked):
        raise
    except Exception as error:
        raise _fault(_class_of(error), secrets.redact(_said(error))) from error
    try:
        plain = normalise(result, max_bytes=max_bytes)
    except UnfitValue as error:
        raise _fault(
            "invalid_output", f"The result of {tool.name} cannot be used: {secrets.redact(str(error))}"
        ) from error
    return checked_result(tool, plain, output, secrets)


def checked_result(tool: Tool, plain: Json, output: Schema | None, secrets: Secrets) -> Json:
    """The plain result, held against what the tool and the step promise; text is read as JSON where the step wants none.

    Raises:
        Fault: ``invalid_output``.
    """
    _fits(tool, plain, tool.output_schema, secrets)
    if not output:
        return plain
    asked = _read(tool, plain, output) if isinstance(plain, str) else plain
    _fits(tool, asked, output, secrets)
    return asked


def _read(tool: Tool, text: str, output: Schema) -> Json:
    """The object or list that the text is in JSON, where the schema wants one of them, and no text."""
    wanted = kinds(output)
    if "string" in wanted or wanted.isdisjoint(("object", "list")):
        return text
    try:
        return normalise(json.loads(text, parse_constant=no_constant))
    except (ValueError, RecursionError) as error:
        message = f"The result of {tool.name} is text and no JSON, where the step's output wants {' or '.join(sorted(wanted))}"
        raise _fault("invalid_output", f"{message} ({type(error).__name__})") from None


def _fits(tool: Tool, plain: Json, schema: Schema, secrets: Secrets) -> None:
    found = faults(schema, plain)
    if found and (shown := secrets.redact(plain)) is not plain:
        found = faults(schema, shown) or ["it is not what the schema asks for; what it is holds a secret"]
    if found:
        raise _fault("invalid_output", f"The result of {tool.name} does not fit: {'; '.join(found)}", found)


def _fault(
    fault_class: FaultClass, message: str, places: list[str] | None = None, *, stage: Stage | None = None
) -> Fault:
    details = {"faults": places} if places else None
    return Fault(fault_class, message[:MAX_MESSAGE], origin="tool", stage=stage, details=details)


def _class_of(error: Exception) -> FaultClass:
    match error:
        case TimeoutError():
            return "timeout"
        case ConnectionRefusedError() | socket.gaierror():
            return "unavailable"
        case ConnectionError():
            return "connection"
        case PermissionError():
            return "permission_denied"
        case _:
            return _class_by_name(error)


def _class_by_name(error: Exception) -> FaultClass:
    """The class of an HTTP client's exception, which mostly derives from none of Python's own."""
    names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__.partition(".")[0] in _CLIENTS]
    for part, fault_class in _BY_NAME:
        if any(part in name for name in names):
            return fault_class
    return "tool_error"


def _said(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
