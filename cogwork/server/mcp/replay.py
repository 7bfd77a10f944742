"""What the streams of one session have carried, so that a client whose connection broke can read on: in memory, bounded."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from mcp.server.streamable_http import EventMessage, EventStore
from mcp_types import JSONRPCMessage

EVENTS: Final = 512
BYTES: Final = 512 * 1024


class Replay(EventStore):
    """The latest events of one session; the oldest go first. What is larger than all it may keep is not kept."""

    def __init__(self, *, events: int = EVENTS, bytes: int = BYTES) -> None:
        self._most_events, self._most_bytes = events, bytes
        self._kept: OrderedDict[str, tuple[str, JSONRPCMessage | None, int]] = OrderedDict()
        self._size = 0

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        """Keep an event; its id, which cannot be guessed."""
        id = secrets.token_urlsafe(12)
        size = len(message.model_dump_json()) if message is not None else 0
        self._kept[id] = (stream_id, message, size)
        self._size += size
        while len(self._kept) > self._most_events or self._size > self._most_bytes:
            _, (_, _, gone) = self._kept.popitem(last=False)
            self._size -= gone
        return id

    async def replay_events_after(
        self, last_event_id: str, send_callback: Callable[[EventMessage], Awaitable[None]]
    ) -> str | None:
        """Send the events of that event's stream that came after it; the stream's id, or None where it is not known any more."""
        if last_event_id not in self._kept:
            return None
        stream, later = self._kept[last_event_id][0], False
        for id, (of, message, _) in tuple(self._kept.items()):
            if later and of == stream and message is not None:
                await send_callback(EventMessage(message, id))
            later = later or id == last_event_id
        return stream
