"""Ids of checkpoints after those that are stored, although the clock went back since."""

from __future__ import annotations

import re
import threading
from typing import Final

from langgraph.checkpoint.base import id as ids

UUID6: Final = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-6([0-9a-f]{3})-[0-9a-f]{4}-[0-9a-f]{12}")
LATEST: Final = (1 << 60) - (1 << 55)
"""No clock shows this time (the year 4800); an altered file could else bring the ids of the process to their end."""
_gate = threading.Lock()


def stamp(checkpoint_id: str) -> int | None:
    """The time in an id, in LangGraph's units of 100 ns; None where it is no id of LangGraph's or an absurd one."""
    found = UUID6.fullmatch(checkpoint_id)
    if found is None:
        return None
    high, middle, low = (int(part, 16) for part in found.groups())
    time = high << 28 | middle << 12 | low
    return time if time < LATEST else None


def not_before(checkpoint_id: str) -> None:
    """All ids that this process makes from now on are greater than this one.

    LangGraph takes the greatest id of a thread for the latest, and makes ids of the time of day: greater than its own last
    one, but not than those of another process, or of this machine before its clock was put back.
    """
    time = stamp(checkpoint_id)
    if time is None:
        return
    with _gate:
        last: int | None = ids._last_v6_timestamp
        if last is None or last < time:
            vars(ids)["_last_v6_timestamp"] = time
