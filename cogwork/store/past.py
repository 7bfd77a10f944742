"""The past of a run: the state in which it was before one of its steps began, or once that step had ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from langgraph.checkpoint.base import BaseCheckpointSaver

ENDED: Final = frozenset({"done", "skipped", "failed", "cancelled"})
"""The statuses of a step that has come to its end."""
State = Mapping[str, Any]
"""The values of a thread's channels: ``input``, ``run``, ``nodes``, ``results``, ``path`` …"""


def states(saver: BaseCheckpointSaver[Any], thread: str) -> Iterator[State]:
    """The states of the thread's latest run, each as its checkpoint holds it, the latest first.

    A run that was forked on its thread has the states that it was forked from among them.
    """
    found = saver.get_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})
    while found is not None and (found.metadata or {}).get("source") != "input":
        values = found.checkpoint.get("channel_values") or {}
        if isinstance(values.get("run"), dict):
            yield values
        found = saver.get_tuple(found.parent_config) if found.parent_config else None


def before(saver: BaseCheckpointSaver[Any], thread: str, path: str) -> State | None:
    """The latest state in which the step had not begun; None where no state of the thread goes back so far."""
    return next((state for state in states(saver, thread) if path not in state.get("nodes", {})), None)


def after(saver: BaseCheckpointSaver[Any], thread: str, path: str) -> State | None:
    """The earliest state in which the step had ended; None where it has not ended."""
    found: State | None = None
    for state in states(saver, thread):
        if state.get("nodes", {}).get(path, {}).get("status") not in ENDED:
            return found
        found = state
    return found
