"""What of the things that LangGraph hands to a saver is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

NO_WRITES: Final = "__no_writes__"
"""LangGraph's channel of a task that wrote nothing."""
WAKING: Final = "branch:to:"
"""How LangGraph's channels begin that name the nodes to call next."""
KEPT_OF_CONFIG: Final = frozenset({"thread_id", "checkpoint_ns", "checkpoint_id", "run_id", "assistant_id", "graph_id"})


def kept_of(configurable: Mapping[str, Any]) -> dict[str, Any]:
    """What of a caller's ``configurable`` may be stored; LangGraph would store all of it, keys and passwords too."""
    return {key: value for key, value in configurable.items() if key in KEPT_OF_CONFIG}


def only_wakes(writes: Iterable[tuple[str, Any]]) -> bool:
    """Whether the writes do no more than wake nodes: they need not be kept, as a task that is repeated wakes the same."""
    return all(channel == NO_WRITES or channel.startswith(WAKING) for channel, _ in writes)
