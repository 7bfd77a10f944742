"""The connections of the server: a head that does not come in time ends one, and a caller's certificate is made known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from cogwork.identity.roles import Principal

Certified = Callable[[Mapping[str, Any]], "Principal | None"]
"""The principal of a verified certificate, as ``ssl`` tells it."""


def protocol(head_seconds: float, certified: Certified | None = None) -> Callable[..., asyncio.Protocol]:
    """What makes the protocol of each connection."""
    return partial(_Connection, head_seconds=head_seconds, certified=certified)


class _Connection(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, for callers that may be slow on purpose."""

    def __init__(self, *args: Any, head_seconds: float, certified: Certified | None, **more: Any) -> None:
        super().__init__(*args, **more)
        self._head_seconds, self._certified = head_seconds, certified
        self._waiting: asyncio.TimerHandle | None = None
        self._principal: Principal | None = None

    def connection_made(self, transport: Any) -> None:
        """A caller has connected, and is expected to say what it wants."""
        super().connection_made(transport)
        secured = transport.get_extra_info("ssl_object")
        if secured is not None and self._certified is not None and (shown := secured.getpeercert()):
            self._principal = self._certified(shown)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._expected()
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
