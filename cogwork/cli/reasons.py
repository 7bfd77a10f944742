"""Causes and errors, as they stand in records, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from state.values import Json

RESTS: Final[Mapping[str, str]] = {
    "human": "asks a person",
    "requested": "on request",
    "budget": "at its limit",
    "in_doubt": "a call is in doubt",
}
"""Why a run is paused, by the reason in its record."""


def brief_status(status: str, reason: str = "") -> str:
    """What a run is, with the reason of its rest."""
    return f"{status}, {RESTS.get(reason, reason)}" if status == "paused" and reason else status


def brief_usage(usage: Mapping[str, Any] | None) -> str:
    """Tokens and money, in a few words; empty where no model was asked."""
    if not usage:
        return ""
    said = [f"{usage['total_tokens']:,} tokens"] if usage.get("total_tokens") else []
    return ", ".join([*said, *([money(usage["cost_usd"])] if "cost_usd" in usage else [])])


def money(usd: float) -> str:
    """USD, with as many digits as small sums need."""
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.6f}".rstrip("0").ljust(5, "0") if usd else "$0.00"


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
        "race_lost": f"{by} went on without it",
    }
    return sentences.get(str(reason), f"{reason} by {by}")


def brief_error(error: Any) -> str:
    """A failure in one line."""
    if not isinstance(error, Mapping):
        return "failed"
    return f"{error.get('message', 'failed')} [{error.get('class', 'internal')}]"


def remarks(record: Mapping[str, Any]) -> list[str]:
    """What is worth knowing of a step besides its state: attempts, what served in its stead, where its value is from."""
    told = [str(record["tool"])] if record.get("tool") else []
    told += [f"{record['attempts']} attempts"] if (record.get("attempts") or 1) > 1 else []
    if record.get("fallback"):
        told.append(f"served by {record['fallback']}")
    if record.get("truncated"):
        told.append("cut at its token limit")
    if record.get("cached"):
        told.append("from the cache")
    if record.get("given"):
        told.append("handed in with the run")
    if record.get("resolved"):
        told.append(f"a person said: {str(record['resolved']).replace('_', ' ')}")
    if record.get("set_by"):
        told.append("its value was given by hand")
    if left := shortened(record):
        told.append(f"prompt shortened: {', '.join(left)}")
    if record.get("taken_back"):
        told.append(str(record["taken_back"]))
    return told


def shortened(record: Mapping[str, Any]) -> list[str]:
    """What was left out of what the step's model was told: the variables with their tokens."""
    cuts = (record.get("prompt") or {}).get("shortened") or ()
    return [f"{cut['variable']} −{cut['dropped']:,} tokens" for cut in cuts]


def aftermath(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a run did once it had failed or was cancelled, a line each with its style: what was undone and what could not
    be, and the failures of ``on_failure`` and ``finally`` beside the first one."""
    undo = run.get("undo") or {}
    lines = [(f"undone: {', '.join(undo['done'])}", "green")] if undo.get("done") else []
    for each in undo.get("not_done") or ():
        lines.append((f"NOT undone: {each.get('step')}: {brief_error(each.get('error'))}", "bold red"))
    for error in run.get("also") or ():
        where = f" at {error['node']}" if error.get("node") else ""
        lines.append((f"also failed{where}: {brief_error(error)}", "red"))
    return lines
