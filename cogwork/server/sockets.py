"""The connections of the server: callers that are too slow lose theirs, and a caller's certificate is made known."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from cogwork.errors import EngineError

if TYPE_CHECKING:
    from cogwork.identity.roles import Principal

Certified = Callable[[Mapping[str, Any]], "Principal | None"]
"""The principal of a verified certificate, as ``ssl`` tells it."""


def protocol(
    head_seconds: float, stall_seconds: float = 30.0, certified: Certified | None = None
) -> Callable[..., asyncio.Protocol]:
    """What makes the protocol of each connection."""
    return partial(_Connection, head_seconds=head_seconds, stall_seconds=stall_seconds, certified=certified)


class _Connection(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, for callers that may be slow on purpose."""

    def __init__(
        self, *args: Any, head_seconds: float, stall_seconds: float, certified: Certified | None, **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self._head_seconds, self._stall_seconds, self._certified = head_seconds, stall_seconds, certified
        self._waiting: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._principal: Principal | None = None

    def connection_made(self, transport: Any) -> None:
        """A caller has connected, and is expected to say what it wants."""
        super().connection_made(transport)
        _watched(transport.get_extra_info("socket"), self._stall_seconds)
        secured = transport.get_extra_info("ssl_object")
        if secured is not None and self._certified is not None and (shown := secured.getpeercert()):
            self._principal = self._certified(shown)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._expected()
        self._moving()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Something has come: a head, or a part of one."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before and self.cycle is not None:
            self._expected()
            if self._principal is not None:
                self.scope.setdefault("extensions", {})["tls"] = {"principal": self._principal}

    def on_response_complete(self) -> None:
        """An answer is out; the next head has as long as the first."""
        super().on_response_complete()
        self._expect()

    def pause_writing(self) -> None:
        """The caller takes nothing for now."""
        super().pause_writing()
        self._moving()
        self._stalled = self.loop.call_later(self._stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._moving()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the form of every error, and hang up."""
        error = EngineError("invalid_input", "This is no HTTP request that can be read")
        body = json.dumps(error.to_dict()).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        parts = (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage())
        try:
            self.transport.write(b"".join(self.conn.send(part) or b"" for part in parts))
        except h11.LocalProtocolError:  # an answer is on its way already
            self.transport.abort()
            return
        self.transport.close()

    def _moving(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _expect(self) -> None:
        self._expected()
        if not self.transport.is_closing():
            self._waiting = self.loop.call_later(self._head_seconds, self._late)

    def _expected(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _late(self) -> None:
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.abort()


def _watched(connection: socket.socket | None, seconds: float) -> None:
    """Have the kernel end the connection where what is sent is not acknowledged: the caller's machine has gone."""
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
