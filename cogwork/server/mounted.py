"""The doors as a part of LangGraph's server: what ``http.app`` in ``langgraph.json`` names."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount

os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")

from cogwork.server.asgi import application
from cogwork.server.companion import companion
from cogwork.settings import Settings

PREFIX = "/cogwork"
"""Where the doors are; LangGraph's server has ``/mcp`` and others of its own."""

_settings = Settings()
_own = _settings.server.model_copy(update={"worker": False})
_doors = application(_settings.model_copy(update={"server": _own}))


@asynccontextmanager
async def _life(app: Starlette) -> AsyncIterator[None]:
    async with AsyncExitStack() as open_:
        if _settings.server.worker:
            await open_.enter_async_context(companion())
        await open_.enter_async_context(_doors.api.router.lifespan_context(_doors.api))
        yield


app = Starlette(routes=[Mount(PREFIX, app=_doors)], lifespan=_life)
