"""From an event to what is started: the condition, and the input that the event gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cogwork.errors import EngineError
from graphs.language.triggers import Listening, Starting
from nodes.expression import ExpressionError, Reference, compile_condition
from nodes.template import compile_value
from state.values import Json

NOTHING_ELSE = "a trigger sees only event"


def checked_mapping(trigger: Starting) -> None:
    """See that its expressions can be read, and name nothing but the event.

    Raises:
        EngineError: ``invalid_input``.
    """
    if isinstance(trigger, Listening):
        _check("when", trigger.when)
    if trigger.input is not None:
        _check("input", trigger.input)


def _check(field: str, value: Any) -> None:
    try:
        references: list[Reference] = []
        if field == "when" and isinstance(value, str):
            references = list(compile_condition(value).references)
        elif field == "input":
            references = [reference for _, reference in compile_value(value).references]
    except ExpressionError as err:
        raise EngineError("invalid_input", f"The {field} of the trigger is no expression: {err}", field=field) from err
    if foreign := sorted({each.root for each in references} - {"event"}):
        message = f"The {field} of the trigger reads {foreign[0]!r}: {NOTHING_ELSE}"
        raise EngineError("invalid_input", message, field=field)


def met(when: bool | str | None, event: Mapping[str, Json]) -> bool:
    """Whether the event starts anything.

    Raises:
        EngineError: ``invalid_input``; the condition cannot be computed from this event.
    """
    if not isinstance(when, str):
        return when is not False
    try:
        holds = compile_condition(when).evaluate({"event": dict(event)})
    except ExpressionError as err:
        raise EngineError("invalid_input", f"when cannot be computed from this event: {err}") from err
    if not isinstance(holds, bool):
        raise EngineError("invalid_input", "when must be true or false for this event, and is neither")
    return holds


def input_from(mapping: Mapping[str, Json] | None, event: Mapping[str, Json], carried: Json) -> Json:
    """The workflow's input: the mapping's values for this event, or without a mapping what the event carries.

    Raises:
        EngineError: ``invalid_input``; the mapping cannot be computed, or what is carried is no object.
    """
    if mapping is None:
        if isinstance(carried, dict):
            return carried
        raise EngineError(
            "invalid_input", "The event carries no object that could be the input: give the trigger an input mapping"
        )
    try:
        return compile_value(dict(mapping)).evaluate({"event": dict(event)})
    except ExpressionError as err:
        raise EngineError("invalid_input", f"The input cannot be computed from this event: {err}") from err
