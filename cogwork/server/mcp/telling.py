"""Subscriptions, streams of changes and log levels as clients ask for them."""

from __future__ import annotations

from collections.abc import Sequence

import mcp_types as types
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError

from cogwork.server.mcp.door import Context, Door
from cogwork.server.mcp.watching import Watch


class Telling:
    """What the methods of subscriptions do."""

    def __init__(self, door: Door, watch: Watch) -> None:
        self._door, self._watch = door, watch
        self._streams = ListenHandler(door.bus, max_subscriptions=door.rules.max_subscriptions)

    async def subscribe(self, ctx: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Tell the connection when that resource changes."""
        known = self._watch.greet(ctx)
        if len(known.uris) >= self._door.rules.max_subscriptions:
            raise MCPError(
                types.INVALID_PARAMS, f"At most {self._door.rules.max_subscriptions} subscriptions per session"
            )
        self._require(ctx)
        self._watch.subscribe(ctx, str(params.uri))
        return types.EmptyResult()

    async def unsubscribe(self, ctx: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """Tell it no more."""
        self._watch.unsubscribe(ctx, str(params.uri))
        return types.EmptyResult()

    async def listen(
        self, ctx: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """A stream of changes, as long as the client reads it."""
        uris: Sequence[str] = [str(uri) for uri in params.notifications.resource_subscriptions or ()]
        if len(uris) > self._door.rules.max_subscriptions:
            raise MCPError(
                types.INVALID_PARAMS, f"At most {self._door.rules.max_subscriptions} subscriptions per stream"
            )
        self._require(ctx)
        self._watch.listen(self._door.acting(ctx), uris)
        try:
            return await self._streams(ctx, params)
        finally:
            self._watch.leave(uris)

    async def level(self, ctx: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
        """From which level the connection wants to be told."""
        self._watch.greet(ctx).level = params.level
        return types.EmptyResult()

    def _require(self, ctx: Context) -> None:
        """Changes are told to those who may read."""
        self._door.acting(ctx).principal.require("executions.read")
