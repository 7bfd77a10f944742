"""What LangGraph's saver for PostgreSQL would write as it is, kept where it is sealed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import ChannelVersions, Checkpoint


@dataclass(frozen=True, slots=True)
class Boxed:
    """A number or text that LangGraph would write into the checkpoint itself, where nothing is sealed."""

    value: Any


def boxed(checkpoint: Checkpoint, new_versions: ChannelVersions) -> tuple[Checkpoint, ChannelVersions]:
    """The checkpoint with its plain values in boxes, and the versions of all that are to be kept apart with it.

    A value that is as it was is among them: it may have been written before anything was sealed.
    """
    values = checkpoint["channel_values"]
    plain = {
        name: Boxed(value) for name, value in values.items() if value is None or isinstance(value, (str, int, float))
    }
    versions = checkpoint["channel_versions"]
    made: Any = {**checkpoint, "channel_values": {**values, **plain}}
    return made, {**{name: versions[name] for name in plain if name in versions}, **new_versions}
