"""Causes and errors, as they stand in records, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from state.values import Json


def brief_cause(cause: Json, error: Json = None) -> str:
    """Why a step was skipped, in a few words."""
    if not isinstance(cause, Mapping):
        return "skipped"
    reason, by = cause.get("reason"), cause.get("by")
    if reason == "error_ignored" and error:
        return f"its error is ignored: {brief_error(error)}"
    sentences = {
        "not_selected": f"not chosen by {by}",
        "when_false": "its `when` is false" if by is None else f"`when` of {by} is false",
        "upstream_failed": f"{by} failed",
        "upstream_skipped": f"{by} was skipped",
        "error_ignored": f"the error of {by} is ignored",
    }
    return sentences.get(str(reason), f"{reason} by {by}")


def brief_error(error: Any) -> str:
    """A failure in one line."""
    if not isinstance(error, Mapping):
        return "failed"
    return f"{error.get('message', 'failed')} [{error.get('class', 'internal')}]"
