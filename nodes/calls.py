"""The one way of calling a tool, in which nothing is taken on trust: arguments before, the result after."""

from __future__ import annotations

from collections.abc import Mapping

from state.errors import Fault, FaultClass
from state.schemas import faults
from state.services import CallContext, Tool
from state.values import MAX_BYTES, Json, Schema, UnfitValue, normalise

MAX_MESSAGE = 2_000
"""The longest message, in characters, that a raised exception may leave in a fault."""


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
            ``connection``, ``permission_denied`` or ``tool_error`` for other exceptions; ``invalid_output`` when the
            result is no JSON, too large or does not fit.
    """
    if found := faults(tool.args_schema, dict(args)):
        raise _fault("invalid_input", f"The arguments of {tool.name} do not fit: {'; '.join(found)}", found)
    try:
        result = await tool.call(args, context)
    except Fault:
        raise
    except Exception as error:
        raise _fault(_class_of(error), _said(error)) from error
    plain = _fitting(tool, result, tool.output_schema, max_bytes)
    return _fitting(tool, plain, output, max_bytes) if output else plain


def _fitting(tool: Tool, result: object, schema: Schema, max_bytes: int) -> Json:
    try:
        plain = normalise(result, max_bytes=max_bytes)
    except UnfitValue as error:
        raise _fault("invalid_output", f"The result of {tool.name} cannot be used: {error}") from error
    if found := faults(schema, plain):
        raise _fault("invalid_output", f"The result of {tool.name} does not fit: {'; '.join(found)}", found)
    return plain


def _fault(fault_class: FaultClass, message: str, places: list[str] | None = None) -> Fault:
    return Fault(fault_class, message[:MAX_MESSAGE], origin="tool", details={"faults": places} if places else None)


def _class_of(error: Exception) -> FaultClass:
    match error:
        case TimeoutError():
            return "timeout"
        case ConnectionError():
            return "connection"
        case PermissionError():
            return "permission_denied"
        case _:
            return "tool_error"


def _said(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
