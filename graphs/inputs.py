"""What a new run is given, as plain JSON: its input, checked against the workflow's schema, and its caller's context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphs.language.spec import WorkflowSpec
from state.errors import InputRefused
from state.schemas import faults, with_defaults
from state.values import Json, UnfitValue, normalise

CONTEXT = ("session", "user", "history", "project", "environment", "preferences")


def valid_input(spec: WorkflowSpec, given: Mapping[str, Any]) -> Json:
    """The input as plain JSON with its defaults.

    Raises:
        InputRefused: says each place that does not fit.
    """
    try:
        plain = with_defaults(spec.input, normalise(given))
    except UnfitValue as err:
        raise InputRefused(spec.name, [str(err)]) from err
    if found := faults(spec.input, plain):
        raise InputRefused(spec.name, found)
    return plain


def plain_context(given: Any) -> Json:
    """The caller's context as plain JSON, without what no workflow can read."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {key: normalise(given[key]) for key in CONTEXT if key in given}
    plain = normalise(given)
    return {key: plain[key] for key in CONTEXT if key in plain} if isinstance(plain, dict) else {}
